extends "calls.gd"
## Calls about lobbies.

const ClientCalls := preload("client_calls.gd")

var clients: ClientCalls = null


static func _spec(from: Dictionary) -> MusterLobbySpec:
	var spec := MusterLobbySpec.new(Json.text(from, "name"))
	spec.is_private = Json.text(from, "visibility") == "private"
	spec.max_players = Json.integer(from, "max_players")
	spec.config = from.get("config")
	spec.tags = Json.texts(from, "tags")
	return spec


func _lobbies(client: MusterClient) -> MusterLobbies:
	var lobbies := MusterLobbies.new(client)
	client.add_child(lobbies)
	return lobbies


func _on_lobby_create(request: Dictionary) -> Dictionary:
	var client := clients.client_of(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var made := await _lobbies(client).create(
		Json.text(from, "fleet"),
		Json.text(from, "player"),
		_spec(Json.object(from, "lobby")),
		Json.object(from, "latencies_ms"),
		ClientCalls.party_in(from),
		_seconds(request)
	)
	return clients.keep_ticket(request, made)


func _on_lobby_find(request: Dictionary) -> Dictionary:
	var client := clients.client_of(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var otherwise: MusterLobbySpec = null
	if from.has("create"):
		otherwise = _spec(Json.object(from, "create"))
	var found := await _lobbies(client).find(
		Json.text(from, "fleet"),
		Json.text(from, "player"),
		Json.texts(from, "tags"),
		otherwise,
		Json.object(from, "latencies_ms"),
		ClientCalls.party_in(from),
		_seconds(request)
	)
	return clients.keep_ticket(request, found)


func _on_lobby_join(request: Dictionary) -> Dictionary:
	var client := clients.client_of(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var joined := await _lobbies(client).join(
		Json.text(request, "lobby"),
		Json.text(from, "player"),
		ClientCalls.party_in(from),
		_seconds(request)
	)
	return clients.keep_ticket(request, joined)


func _on_server_join(request: Dictionary) -> Dictionary:
	var client := clients.client_of(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var joined := await _lobbies(client).join_server(
		Json.text(request, "server_id"),
		Json.text(from, "player"),
		ClientCalls.party_in(from),
		_seconds(request)
	)
	return clients.keep_ticket(request, joined)


func _on_lobby_list(request: Dictionary) -> Dictionary:
	var client := clients.client_of(request)
	if client == null:
		return _closed("the client")
	var lobbies: Array[Dictionary] = []
	var deadline := Deadline.new(_seconds(request))
	var page := MusterLobbyList.new()
	while true:
		page = await _lobbies(client).list(
			Json.text(request, "fleet"),
			Json.texts(request, "tags"),
			Json.boolean(request, "open"),
			page.next,
			deadline.left_s()
		)
		for lobby in page.lobbies:
			lobbies.append(ClientCalls.lobby_json(lobby))
		if not page.ok or page.next == "" or deadline.is_over():
			break
	return _outcome(page, {"lobbies": lobbies})


func _on_lobby_read(request: Dictionary) -> Dictionary:
	var client := clients.client_of(request)
	if client == null:
		return _closed("the client")
	var lobby := await _lobbies(client).fetch(Json.text(request, "lobby"), _seconds(request))
	return _outcome(lobby, {"lobby": ClientCalls.lobby_json(lobby)})
