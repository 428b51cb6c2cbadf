class_name MusterLobby
extends MusterResult
## A lobby: a match that players choose.

const Json := preload("../core/json.gd")

var id := ""
## Letters by which players tell each other of it.
var lobby_code := ""
var fleet := ""
var region := ""
## Whether its server runs already; players may join before.
var is_running := false
## Name that players see; may be empty.
var name := ""
## Neither listed nor found: joined by its code or id.
var is_private := false
## Whether the game lets players in.
var is_open := false
## Seats that are held.
var players := 0
## Most of them.
var max_players := 0
## The player who made it.
var owner := ""
## JSON of the game's own; [code]null[/code] if it gave none.
var config: Variant = null
## What it can be searched by.
var tags: Dictionary = {}
## Its server; empty while it has none.
var server_id := ""


## Reads what the API says of it.
static func from_json(from: Dictionary) -> MusterLobby:
	var lobby := MusterLobby.new()
	lobby.id = Json.text(from, "id")
	lobby.lobby_code = Json.text(from, "code")
	lobby.fleet = Json.text(from, "fleet")
	lobby.region = Json.text(from, "region")
	lobby.is_running = Json.text(from, "state") == "running"
	lobby.name = Json.text(from, "name")
	lobby.is_private = Json.text(from, "visibility") == "private"
	lobby.is_open = Json.boolean(from, "open")
	lobby.players = Json.integer(from, "players")
	lobby.max_players = Json.integer(from, "max_players")
	lobby.owner = Json.text(from, "owner")
	lobby.config = from.get("config")
	lobby.tags = Json.texts(from, "tags")
	lobby.server_id = Json.text(from, "server_id")
	if lobby.id == "":
		lobby.fail(BAD_ANSWER, "the answer is no lobby")
	return lobby
