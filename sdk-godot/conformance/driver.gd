extends Node
## The addon's driver for `muster-loadtest sdk-conformance` (docs/sdk/conformance.md): does what a
## line of JSON on stdin tells it, and answers with a line on stdout. Each call has a function whose
## name is the call's.

const Json := preload("../addons/muster/core/json.gd")
const Deadline := preload("../addons/muster/core/clock.gd")
const Preface := preload("../addons/muster/protocol/preface.gd")
const Beacon := preload("../addons/muster/protocol/beacon.gd")
const SessionToken := preload("../addons/muster/protocol/session_token.gd")
const Session := preload("session.gd")

const PROTOCOL := 1
const MAX_LINE_BYTES := 65_536

var _clients := {}
var _tickets := {}
var _told := {}
var _owners := {}
var _sessions := {}
var _servers := {}
var _reader := Thread.new()
var _lock := Mutex.new()
var _lines: Array[String] = []
var _is_at_end := false


func _ready() -> void:
	_reader.start(_read)


func _read() -> void:
	while true:
		var line := OS.read_string_from_stdin(MAX_LINE_BYTES)
		_lock.lock()
		if line == "":
			_is_at_end = true
		else:
			_lines.append(line)
		_lock.unlock()
		if line == "":
			return


func _process(_delta: float) -> void:
	_lock.lock()
	var lines := _lines.duplicate()
	_lines.clear()
	var is_at_end := _is_at_end
	_lock.unlock()
	for line: String in lines:
		var found: Variant = Json.object_in(line)
		if found is Dictionary:
			var request: Dictionary = found
			@warning_ignore("missing_await")
			_answer(request)
	if is_at_end:
		_quit()


func _quit() -> void:
	for name_of: String in _sessions:
		_session(name_of).close()
	set_process(false)
	get_tree().quit()


func _answer(request: Dictionary) -> void:
	var call_name := Json.text(request, "call")
	var method := "_on_" + call_name.replace(".", "_")
	var answer := {
		"error": {"code": "unsupported", "message": "this driver has no call " + call_name}
	}
	if has_method(method):
		answer = await call(method, request)
	answer["id"] = Json.integer(request, "id")
	_say(answer)
	if call_name == "quit":
		_quit()


func _say(line: Dictionary) -> void:
	print(JSON.stringify(line))


static func _ok(value := {}) -> Dictionary:
	return {"ok": value}


static func _outcome(result: MusterResult, value := {}) -> Dictionary:
	if result.ok:
		return _ok(value)
	var error := {"code": result.code, "message": result.message}
	if result.retry_after_s > 0.0:
		error["retry_after_s"] = int(result.retry_after_s)
	return {"error": error}


static func _closed(what: String) -> Dictionary:
	return {"error": {"code": "closed", "message": "%s was closed, or was never opened" % what}}


static func _seconds(request: Dictionary) -> float:
	return Json.number(request, "timeout_ms", 5_000.0) / 1000.0


func _client(request: Dictionary) -> MusterClient:
	return _clients.get(Json.text(request, "client"))


func _session(name_of: String) -> Session:
	return _sessions.get(name_of)


func _server(request: Dictionary) -> MusterServer:
	return _servers.get(Json.text(request, "server"))


func _on_hello(_request: Dictionary) -> Dictionary:
	var features: Array[String] = ["udp", "ws", "server", "lobbies", "accept", "ca"]
	return _ok({"sdk": "godot", "version": "0.1.0", "protocol": PROTOCOL, "features": features})


func _on_quit(_request: Dictionary) -> Dictionary:
	return _ok()


func _on_client_open(request: Dictionary) -> Dictionary:
	_on_client_close(request)
	var client := MusterClient.new()
	add_child(client)
	# A conformance run leaves nothing behind that the next would find.
	client._memory.path = "user://conformance_%d.json" % randi()
	_clients[Json.text(request, "client")] = client
	var opened := client.configure(
		Json.text(request, "url"), Json.text(request, "token"), Json.text(request, "ca_pem")
	)
	client.ticket_progressed.connect(_tell_progress)
	return _outcome(opened)


func _on_client_close(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client != null:
		client.queue_free()
		_clients.erase(Json.text(request, "client"))
	return _ok()


func _on_regions(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var list := await client.fetch_regions(_seconds(request))
	var regions: Array[Dictionary] = []
	for region in list.regions:
		regions.append({"name": region.name, "served": region.is_served, "beacons": region.beacons})
	return _outcome(list, {"regions": regions})


func _on_measure(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var measured := await client.measure_latencies(minf(1.0, _seconds(request)))
	return _outcome(measured, {"latencies_ms": measured.by_region})


func _tell_progress(ticket: MusterTicket) -> void:
	for match_name: String in _tickets:
		if _tickets[match_name] == ticket:
			var words := ticket.state_text() + " " + ticket.explanation
			if _told.get(match_name) != words:
				_told[match_name] = words
				var event := {"event": "progress", "match": match_name}
				event["state"] = ticket.state_text()
				event["explanation"] = ticket.explanation
				_say(event)


static func _party(from: Dictionary) -> Dictionary:
	var party := {}
	for member in Json.objects(from, "party"):
		party[Json.text(member, "player")] = Json.object(member, "attributes")
	return party


static func _texts(from: Dictionary, key: String) -> Array[String]:
	var texts: Array[String] = []
	var list: Variant = from.get(key)
	if list is Array:
		var items: Array = list
		for item: Variant in items:
			texts.append(str(item))
	return texts


func _on_match_find(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var asked := MusterMatchRequest.new(Json.text(from, "queue"), Json.text(from, "player"))
	asked.attributes = Json.object(from, "attributes")
	asked.party = _party(from)
	asked.latencies_ms = Json.object(from, "latencies_ms")
	asked.filter = Json.text(from, "filter")
	asked.blocks = _texts(from, "blocks")
	asked.rejoin = Json.boolean(from, "rejoin", true)
	asked.previous_tokens = _texts(from, "previous_tokens")
	asked.idempotency_key = Json.text(from, "idempotency_key")
	var priority := MusterMatchRequest.PRIORITIES.find(Json.text(from, "priority", "normal"))
	asked.priority = maxi(priority, 0) as MusterMatchRequest.Priority
	return _keep_ticket(request, await client.request_match(asked, _seconds(request)))


## Keeps a ticket under the request's name for it, and tells it.
func _keep_ticket(request: Dictionary, ticket: MusterTicket) -> Dictionary:
	if ticket.ok or ticket.id != "":
		var match_name := Json.text(request, "match")
		_tickets[match_name] = ticket
		_owners[match_name] = _client(request)
		_told.erase(match_name)
		_tell_progress(ticket)
	return _outcome(ticket, {"ticket": _ticket_json(ticket)})


static func _ticket_json(ticket: MusterTicket) -> Dictionary:
	var json := {
		"id": ticket.id,
		"queue": ticket.queue,
		"player": ticket.player,
		"state": ticket.state_text(),
		"explanation": ticket.explanation,
		"accepted": ticket.accepted,
	}
	if ticket.token != "":
		json["token"] = ticket.token
	if ticket.accept_by_ms > 0:
		json["accept_by_ms"] = ticket.accept_by_ms
	if ticket.assignment != null:
		json["assignment"] = JSON.parse_string(ticket.assignment.to_text())
	if ticket.lobby != null:
		json["lobby"] = _lobby_json(ticket.lobby)
	return json


static func _lobby_json(lobby: MusterLobby) -> Dictionary:
	return {
		"id": lobby.id,
		"code": lobby.lobby_code,
		"fleet": lobby.fleet,
		"region": lobby.region,
		"state": "running" if lobby.is_running else "waiting",
		"name": lobby.name,
		"visibility": "private" if lobby.is_private else "public",
		"open": lobby.is_open,
		"players": lobby.players,
		"max_players": lobby.max_players,
		"owner": lobby.owner,
		"config": lobby.config,
		"tags": lobby.tags,
	}


## Has `what` done with the match's ticket and its client.
func _with_match(request: Dictionary, what: Callable) -> Dictionary:
	var match_name := Json.text(request, "match")
	var ticket: MusterTicket = _tickets.get(match_name)
	var owner_of: Variant = _owners.get(match_name)
	if ticket == null or not is_instance_valid(owner_of):
		return _closed("the match")
	return await what.call(owner_of, ticket)


func _on_match_wait(request: Dictionary) -> Dictionary:
	var wait := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		ticket.ok = true
		await client.wait_for_match(ticket, _seconds(request))
		return _outcome(ticket, {"ticket": _ticket_json(ticket)})
	return await _with_match(request, wait)


func _on_match_read(request: Dictionary) -> Dictionary:
	var read := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		var fresh := await client.read_ticket(ticket, _seconds(request))
		if fresh.ok:
			_tickets[Json.text(request, "match")] = fresh
		return _outcome(fresh, {"ticket": _ticket_json(fresh)})
	return await _with_match(request, read)


func _on_match_cancel(request: Dictionary) -> Dictionary:
	var cancel := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		return _outcome(await client.cancel(ticket, _seconds(request)))
	return await _with_match(request, cancel)


func _on_match_accept(request: Dictionary) -> Dictionary:
	var accept := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		return _outcome(await client.accept_match(ticket, _seconds(request)))
	return await _with_match(request, accept)


func _on_match_decline(request: Dictionary) -> Dictionary:
	var decline := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		return _outcome(await client.decline_match(ticket, _seconds(request)))
	return await _with_match(request, decline)


func _on_match_explain(request: Dictionary) -> Dictionary:
	var explain := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		var reply := await client.explain_ticket(ticket, _seconds(request))
		return _outcome(reply, {"words": _texts(reply.body, "words")})
	return await _with_match(request, explain)


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
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var made := await _lobbies(client).create(
		Json.text(from, "fleet"),
		Json.text(from, "player"),
		_spec(Json.object(from, "lobby")),
		Json.object(from, "latencies_ms"),
		_party(from),
		_seconds(request)
	)
	return _keep_ticket(request, made)


func _on_lobby_find(request: Dictionary) -> Dictionary:
	var client := _client(request)
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
		_party(from),
		_seconds(request)
	)
	return _keep_ticket(request, found)


func _on_lobby_join(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var joined := await _lobbies(client).join(
		Json.text(request, "lobby"), Json.text(from, "player"), _party(from), _seconds(request)
	)
	return _keep_ticket(request, joined)


func _on_server_join(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var joined := await _lobbies(client).join_server(
		Json.text(request, "server_id"), Json.text(from, "player"), _party(from), _seconds(request)
	)
	return _keep_ticket(request, joined)


func _on_lobby_list(request: Dictionary) -> Dictionary:
	var client := _client(request)
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
			lobbies.append(_lobby_json(lobby))
		if not page.ok or page.next == "" or deadline.is_over():
			break
	return _outcome(page, {"lobbies": lobbies})


func _on_lobby_read(request: Dictionary) -> Dictionary:
	var client := _client(request)
	if client == null:
		return _closed("the client")
	var lobby := await _lobbies(client).fetch(Json.text(request, "lobby"), _seconds(request))
	return _outcome(lobby, {"lobby": _lobby_json(lobby)})


func _on_connect(request: Dictionary) -> Dictionary:
	var open := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		if ticket.assignment == null:
			return _closed("the match has no seat yet, or it")
		var session_name := Json.text(request, "session")
		if _sessions.has(session_name):
			_session(session_name).close()
		var session := Session.new()
		session.client = client
		session.ticket = ticket
		session.transport = Json.text(request, "transport", "auto")
		session.port_name = Json.text(request, "port")
		session.told.connect(_tell_session.bind(session_name))
		add_child(session)
		_sessions[session_name] = session
		var opened := await session.open(_seconds(request))
		return _outcome(
			opened, {"transport": session.open_by, "seat_id": ticket.assignment.seat_id}
		)
	return await _with_match(request, open)


func _tell_session(state: String, why: MusterResult, session_name: String) -> void:
	var event := {"event": "session", "session": session_name, "state": state}
	if not why.ok:
		event["error"] = {"code": why.code, "message": why.message}
	_say(event)


func _on_session_send(request: Dictionary) -> Dictionary:
	var session := _session(Json.text(request, "session"))
	if session == null:
		return _closed("the session")
	return _outcome(session.send(Json.text(request, "text")))


func _on_session_receive(request: Dictionary) -> Dictionary:
	var session := _session(Json.text(request, "session"))
	if session == null:
		return _closed("the session")
	var is_there := func() -> bool: return not session.messages.is_empty()
	if await Deadline.new(_seconds(request)).until(get_tree(), is_there):
		return _ok({"text": session.messages.pop_front()})
	return {"error": {"code": "timeout", "message": "no message came within the call's time"}}


func _on_session_break(request: Dictionary) -> Dictionary:
	var session := _session(Json.text(request, "session"))
	if session == null:
		return _closed("the session")
	session.break_off()
	return _ok()


func _on_session_close(request: Dictionary) -> Dictionary:
	var session := _session(Json.text(request, "session"))
	if session == null:
		return _closed("the session")
	session.close()
	session.queue_free()
	_sessions.erase(Json.text(request, "session"))
	return _ok()


func _on_server_open(request: Dictionary) -> Dictionary:
	_on_server_close(request)
	var server := MusterServer.new()
	server.environment = MusterEnvironment.read(Json.object(request, "env"))
	add_child(server)
	var server_name := Json.text(request, "server")
	_servers[server_name] = server
	if not server.is_under_muster():
		return _ok({"under_muster": false})
	server._events.told.connect(_tell_server.bind(server_name))
	server.listen_to_agent()
	var ports := {}
	for port: String in server.environment.ports:
		ports[port.to_lower().replace("_", "-")] = server.environment.ports[port]
	return _ok(
		{
			"under_muster": true,
			"server_id": server.environment.server_id,
			"namespace": server.environment.namespace_name,
			"region": server.environment.region,
			"ports": ports,
		}
	)


func _tell_server(told: Dictionary, server_name: String) -> void:
	var event := {"event": "server", "server": server_name, "type": Json.text(told, "type")}
	event["data"] = told
	_say(event)


func _on_server_close(request: Dictionary) -> Dictionary:
	var server := _server(request)
	if server != null:
		server.queue_free()
		_servers.erase(Json.text(request, "server"))
	return _ok()


func _on_server_ready(request: Dictionary) -> Dictionary:
	var server := _server(request)
	return (
		_closed("the server")
		if server == null
		else _outcome(await server.say_ready(_seconds(request)))
	)


func _on_server_shutdown(request: Dictionary) -> Dictionary:
	var server := _server(request)
	if server == null:
		return _closed("the server")
	return _outcome(await server.say_shutdown(_seconds(request)))


func _on_server_read(request: Dictionary) -> Dictionary:
	var server := _server(request)
	if server == null:
		return _closed("the server")
	var reply := await server.fetch_state(_seconds(request))
	return _outcome(reply, {"server": reply.body})


func _tell_seat(request: Dictionary, change: String) -> Dictionary:
	var server := _server(request)
	if server == null:
		return _closed("the server")
	var proof := {}
	for kind: String in ["seat", "token"]:
		if request.has(kind):
			proof[kind] = request[kind]
	var reply := await server.tell_seat(change, proof, _seconds(request))
	return _outcome(reply, reply.body)


func _on_server_connected(request: Dictionary) -> Dictionary:
	return await _tell_seat(request, "connected")


func _on_server_disconnected(request: Dictionary) -> Dictionary:
	return await _tell_seat(request, "disconnected")


func _on_server_released(request: Dictionary) -> Dictionary:
	return await _tell_seat(request, "released")


func _on_server_backfill(request: Dictionary) -> Dictionary:
	var server := _server(request)
	if server == null:
		return _closed("the server")
	if Json.boolean(request, "open"):
		var priority := Json.text(request, "priority", "normal")
		return _outcome(await server.open_backfill(priority, _seconds(request)))
	return _outcome(await server.close_backfill(_seconds(request)))


func _on_server_lobby(request: Dictionary) -> Dictionary:
	var server := _server(request)
	if server == null:
		return _closed("the server")
	return _outcome(await server.change_lobby(Json.object(request, "change"), _seconds(request)))


func _on_vector_encode(request: Dictionary) -> Dictionary:
	match Json.text(request, "what"):
		"udp_preface":
			return _ok({"hex": Preface.encode(Json.text(request, "token")).hex_encode()})
		"beacon_request":
			return _ok(
				{"hex": Beacon.encode(Json.text(request, "nonce_hex").hex_decode()).hex_encode()}
			)
	return {"error": {"code": "unsupported", "message": "the addon has no such encoder"}}


func _on_vector_decode(request: Dictionary) -> Dictionary:
	var bytes := Json.text(request, "hex").hex_decode()
	match Json.text(request, "what"):
		"answer":
			var answer := Preface.answer_in(bytes)
			if answer == Preface.NO_ANSWER:
				return _ok({"answer": null})
			return _ok({"answer": answer})
		"beacon_answer":
			var nonce := Beacon.nonce_in(bytes)
			if nonce.is_empty():
				return _ok({"nonce_hex": null})
			return _ok({"nonce_hex": nonce.hex_encode()})
		"session_token":
			return _claims(Json.text(request, "token"))
	return {"error": {"code": "unsupported", "message": "the addon has no such decoder"}}


static func _claims(token: String) -> Dictionary:
	var claims := SessionToken.claims_in(token)
	if claims.is_empty():
		return {"error": {"code": "bad_answer", "message": "this is no session token of Muster's"}}
	return _ok(
		{
			"namespace": Json.text(claims, "ns"),
			"server": Json.text(claims, "srv"),
			"port": Json.text(claims, "prt"),
			"seat": Json.text(claims, "seat"),
			"player": Json.text(claims, "sub"),
			"expires_at_ms": SessionToken.expires_at_ms(token),
		}
	)
