class_name MusterLobbies
extends Node
## Lobbies: matches that players choose. Make one, find one, join one by its code.
##
## Each answers with a [MusterTicket], as a queue does: wait for it ([method
## MusterClient.wait_for_match]) and connect ([method MusterClient.connect_to_match]).

const Json := preload("../core/json.gd")

var _client: MusterClient = null


func _init(client: MusterClient = null) -> void:
	_client = client


## Makes a lobby on a server of [param fleet].
func create(
	fleet: String,
	player: String,
	spec := MusterLobbySpec.new(),
	latencies_ms: Dictionary = {},
	party: Dictionary = {},
	timeout_s := 0.0
) -> MusterTicket:
	var body := {"fleet": fleet, "player": player, "lobby": spec.to_json()}
	body["latencies_ms"] = MusterMatchRequest.whole(latencies_ms)
	if not party.is_empty():
		body["party"] = MusterMatchRequest.members(party)
	return await _post("/v1/lobbies", body, player, timeout_s, false)


## Joins the fullest public lobby with [param tags]; makes [param otherwise] if none fits and it is
## given.
func find(
	fleet: String,
	player: String,
	tags: Dictionary = {},
	otherwise: MusterLobbySpec = null,
	latencies_ms: Dictionary = {},
	party: Dictionary = {},
	timeout_s := 0.0
) -> MusterTicket:
	var body := {
		"fleet": fleet, "player": player, "latencies_ms": MusterMatchRequest.whole(latencies_ms)
	}
	if not tags.is_empty():
		body["tags"] = tags
	if otherwise != null:
		body["create"] = otherwise.to_json()
	if not party.is_empty():
		body["party"] = MusterMatchRequest.members(party)
	return await _post("/v1/lobbies/find", body, player, timeout_s)


## Joins a lobby by its code, however it is typed, or its id.
func join(
	lobby_code: String, player: String, party: Dictionary = {}, timeout_s := 0.0
) -> MusterTicket:
	var path := "/v1/lobbies/%s/join" % lobby_code.strip_edges().uri_encode()
	return await _join(path, player, party, timeout_s)


## Joins a server by its id, if its fleet allows that.
func join_server(
	server_id: String, player: String, party: Dictionary = {}, timeout_s := 0.0
) -> MusterTicket:
	var path := "/v1/servers/%s/join" % server_id.strip_edges().uri_encode()
	return await _join(path, player, party, timeout_s)


## A page of the public lobbies; [param after] is the page's before [member MusterLobbyList.next].
func list(
	fleet := "", tags: Dictionary = {}, only_open := true, after := "", timeout_s := 0.0
) -> MusterLobbyList:
	var query: Array[String] = []
	if fleet != "":
		query.append("fleet=" + fleet.uri_encode())
	for tag: String in tags:
		query.append("tag.%s=%s" % [tag.uri_encode(), str(tags[tag]).uri_encode()])
	if only_open:
		query.append("open=true")
	if after != "":
		query.append("after=" + after.uri_encode())
	var path := "/v1/lobbies"
	if not query.is_empty():
		path += "?" + "&".join(query)
	var answer := MusterLobbyList.new()
	var reply := await _client.fetch(path, timeout_s)
	if not reply.ok:
		answer.fail_as(reply)
		return answer
	for item in Json.objects(reply.body, "items"):
		var lobby := MusterLobby.from_json(item)
		if lobby.ok:
			answer.lobbies.append(lobby)
	answer.next = Json.text(reply.body, "next")
	return answer


## One lobby, public or private, by its code or id.
func fetch(lobby_code: String, timeout_s := 0.0) -> MusterLobby:
	var reply := await _client.fetch(
		"/v1/lobbies/" + lobby_code.strip_edges().uri_encode(), timeout_s
	)
	if reply.ok:
		return MusterLobby.from_json(reply.body)
	var refused := MusterLobby.new()
	refused.fail_as(reply)
	return refused


func _join(path: String, player: String, party: Dictionary, timeout_s: float) -> MusterTicket:
	var body := {"player": player}
	if not party.is_empty():
		body["party"] = MusterMatchRequest.members(party)
	return await _post(path, body, player, timeout_s)


func _post(
	path: String, body: Dictionary, player: String, timeout_s: float, may_return := true
) -> MusterTicket:
	_client.prepare(body, player)
	if not may_return:
		# A new lobby has no seat to come back to.
		body.erase("previous_tokens")
	return await _client.post_ticket(path, body, player, timeout_s)
