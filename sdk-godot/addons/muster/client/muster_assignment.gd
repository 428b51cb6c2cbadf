class_name MusterAssignment
extends RefCounted
## A seat on a server, and the ways there: what a match is to one player.

const Json := preload("../core/json.gd")

## Most endpoints of a seat that are looked at.
const MAX_ENDPOINTS := 64

var player := ""
var match_id := ""
var server_id := ""
var region := ""
var seat_id := ""
## The team that the ticket's players are in; empty if the queue has none.
var team := ""
## Where to connect: by port, and within a port the preferred edge first.
var endpoints: Array[MusterEndpoint] = []
## The seats of those who came along. Give each to its player's game, by [method to_text].
var party: Array[MusterAssignment] = []

var _json := {}


## As text, for another player's game to read with [method from_text]. It carries the player's
## session token: send it to that player alone.
func to_text() -> String:
	return JSON.stringify(_json)


## Reads what [method to_text] gave; [code]null[/code] if it is nothing of the kind.
static func from_text(text: String) -> MusterAssignment:
	var found: Variant = Json.object_in(text)
	if not found is Dictionary:
		return null
	var json: Dictionary = found
	return from_json(json)


## Reads what the API says of it; [code]null[/code] if there is no seat in it.
static func from_json(from: Dictionary) -> MusterAssignment:
	var assignment := MusterAssignment.new()
	assignment._json = from
	assignment.player = Json.text(from, "player")
	assignment.match_id = Json.text(from, "match_id")
	assignment.server_id = Json.text(from, "server_id")
	assignment.region = Json.text(from, "region")
	assignment.seat_id = Json.text(from, "seat_id")
	assignment.team = Json.text(from, "team")
	if assignment.seat_id == "":
		return null
	for endpoint: Dictionary in Json.objects(from, "endpoints").slice(0, MAX_ENDPOINTS):
		assignment.endpoints.append(MusterEndpoint.from_json(endpoint))
	for member in Json.objects(from, "party"):
		# What is the same for all of them is said once.
		var whole := member.merged(
			{
				"match_id": assignment.match_id,
				"server_id": assignment.server_id,
				"region": assignment.region,
				"team": assignment.team
			}
		)
		var seat := from_json(whole)
		if seat != null:
			assignment.party.append(seat)
	return assignment
