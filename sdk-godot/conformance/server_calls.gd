extends "calls.gd"
## Calls about game servers.

var _servers := {}


func _server(request: Dictionary) -> MusterServer:
	return _servers.get(Json.text(request, "server"))


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
	say(event)


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
