extends Node
## Hears from the agent what becomes of the server: its match, its seats, that it is to finish.

## An event as the agent sends it, with its [code]type[/code].
signal told(event: Dictionary)

const Json := preload("../core/json.gd")

## Pause before a broken connection is made anew, in seconds; it doubles up to the second.
const RETRY_S := 0.25
const MAX_RETRY_S := 4.0
## The agent pings every 20 s; without any sign of life for longer, the connection is made anew.
const OPEN_TIMEOUT_S := 5.0
## Largest event, in bytes.
const MAX_EVENT_BYTES := 256 * 1024

var _socket: WebSocketPeer = null
var _url := ""
var _token := ""
var _wait_s := 0.0
var _pause_s := RETRY_S
var _open_for_s := 0.0
var _is_listening := false


func listen(sdk_url: String, sdk_token: String) -> void:
	_url = "ws" + sdk_url.trim_prefix("http") + "/v1/events"
	_token = sdk_token
	_pause_s = RETRY_S
	_is_listening = true
	_open()


func is_listening() -> bool:
	return _is_listening


func stop() -> void:
	_is_listening = false
	if _socket != null:
		_socket.close()
	_socket = null


func _open() -> void:
	_open_for_s = 0.0
	_socket = WebSocketPeer.new()
	_socket.inbound_buffer_size = MAX_EVENT_BYTES
	_socket.handshake_headers = PackedStringArray(["Authorization: Bearer " + _token])
	if _socket.connect_to_url(_url) != OK:
		_break()


func _break() -> void:
	_socket = null
	_wait_s = _pause_s
	_pause_s = minf(_pause_s * 2.0, MAX_RETRY_S)


func _process(delta: float) -> void:
	if not _is_listening:
		return
	if _socket == null:
		_wait_s -= delta
		if _wait_s <= 0.0:
			_open()
		return
	_socket.poll()
	while _socket.get_available_packet_count() > 0:
		_pause_s = RETRY_S
		var found: Variant = Json.object_in(_socket.get_packet().get_string_from_utf8())
		if found is Dictionary:
			var event: Dictionary = found
			told.emit(event)
			if _socket == null:
				return
	match _socket.get_ready_state():
		WebSocketPeer.STATE_CLOSED:
			_break()
		WebSocketPeer.STATE_CONNECTING:
			_open_for_s += delta
			if _open_for_s > OPEN_TIMEOUT_S:
				_socket.close()
				_break()
