extends Node
## The addon's driver for `muster-loadtest sdk-conformance` (docs/sdk/conformance.md): does what a
## line of JSON on stdin tells it, and answers with a line on stdout. Each call has a function of
## its name in one of the groups beside this.

const Calls := preload("calls.gd")
const ClientCalls := preload("client_calls.gd")
const LobbyCalls := preload("lobby_calls.gd")
const SessionCalls := preload("session_calls.gd")
const ServerCalls := preload("server_calls.gd")
const VectorCalls := preload("vector_calls.gd")
const Json := preload("../addons/muster/core/json.gd")

const PROTOCOL := 1
const MAX_LINE_BYTES := 65_536
const FEATURES: Array[String] = ["udp", "ws", "ws_status", "server", "lobbies", "accept", "ca"]

var _groups: Array[Calls] = []
var _sessions := SessionCalls.new()
var _reader := Thread.new()
var _lock := Mutex.new()
var _lines: Array[String] = []
var _is_at_end := false


func _ready() -> void:
	var clients := ClientCalls.new()
	var lobbies := LobbyCalls.new()
	lobbies.clients = clients
	_sessions.clients = clients
	# Lobbies before servers: `server.join` is a player's call.
	_groups = [clients, lobbies, _sessions, ServerCalls.new(), VectorCalls.new()]
	for group in _groups:
		add_child(group)
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
	_sessions.close_all()
	set_process(false)
	_reader.wait_to_finish()
	get_tree().quit()


func _answer(request: Dictionary) -> void:
	var call_name := Json.text(request, "call")
	var method := "_on_" + call_name.replace(".", "_")
	var words := "this driver has no call " + call_name
	var answer := {"error": {"code": "unsupported", "message": words}}
	if call_name == "hello":
		answer = {
			"ok": {"sdk": "godot", "version": "0.1.0", "protocol": PROTOCOL, "features": FEATURES}
		}
	elif call_name == "quit":
		answer = {"ok": {}}
	for group in _groups:
		if group.has_method(method):
			answer = await group.call(method, request)
			break
	answer["id"] = Json.integer(request, "id")
	# After the answer to `quit` the tool closes stdin, which is the end.
	print(JSON.stringify(answer))
