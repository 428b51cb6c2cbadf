extends "calls.gd"
## Calls about sessions.

const ClientCalls := preload("client_calls.gd")
const Session := preload("session.gd")

var clients: ClientCalls = null

var _sessions := {}


func close_all() -> void:
	for session_name: String in _sessions:
		_session(session_name).close()


func _session(name_of: String) -> Session:
	return _sessions.get(name_of)


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
	return await clients.with_match(request, open)


func _tell_session(state: String, why: MusterResult, session_name: String) -> void:
	var event := {"event": "session", "session": session_name, "state": state}
	if not why.ok:
		event["error"] = {"code": why.code, "message": why.message}
	say(event)


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
