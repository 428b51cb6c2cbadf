extends Node
## Follows a ticket until it is over: by the API's WebSocket, and where that breaks by asking.

const Json := preload("../core/json.gd")
const Deadline := preload("../core/clock.gd")

## Seconds until a WebSocket that does not open is given up.
const OPEN_TIMEOUT_S := 3.0
## The orchestrator pings every 5 s; a socket that is silent for longer is dead.
const SILENCE_S := 15.0
## Seconds of the long poll after a WebSocket has broken.
const POLL_S := 2.0
## Pause before a failed look is repeated.
const PAUSE_S := 0.5
## Largest message, in bytes: a ticket with 64 endpoints and their tokens.
const MAX_MESSAGE_BYTES := 1024 * 1024
## Looks in a row that may fail before the wait does.
const MAX_FAILURES := 6
## WebSockets in a row that say nothing, after which it is only asked: a proxy may let none through.
const MAX_MUTE_SOCKETS := 2

var http: MusterHttp = null
var call_timeout_s := 5.0


## Waits until [param ticket] is over, and tells each change to [param on_change]. The ticket is
## updated, and on a failure says why.
func follow(ticket: MusterTicket, timeout_s: float, on_change: Callable) -> void:
	var deadline := Deadline.new(timeout_s)
	var failures := 0
	var mute_sockets := 0
	while not ticket.is_over():
		if deadline.is_over():
			ticket.fail(
				MusterResult.TIMEOUT,
				"no match after %d s; the ticket says: %s" % [int(timeout_s), ticket.explanation]
			)
			return
		if mute_sockets < MAX_MUTE_SOCKETS:
			mute_sockets = 0 if await _by_socket(ticket, deadline, on_change) else mute_sockets + 1
		if ticket.is_over() or deadline.is_over():
			continue
		var reply := await _ask(ticket, deadline)
		if reply.ok and ticket.read(reply.body):
			failures = 0
			on_change.call()
			continue
		failures += 1
		var is_final := reply.status >= 400 and reply.status < 500 and reply.status != 429
		if is_final or failures >= MAX_FAILURES:
			ticket.fail_as(reply)
			return
		await deadline.pause(get_tree(), PAUSE_S)
	ticket.judge()


func _ask(ticket: MusterTicket, deadline: Deadline) -> MusterReply:
	var wait_s := clampf(deadline.left_s(), 0.0, POLL_S)
	var path := (
		"/v1/tickets/%s?state=%s&wait_s=%d" % [ticket.id.uri_encode(), ticket.state_text(), wait_s]
	)
	var reply := await http.fetch(path, wait_s + call_timeout_s, ticket.token)
	if reply.ok and Json.text(reply.body, "id") != ticket.id:
		reply.fail(MusterResult.BAD_ANSWER, "the answer about the ticket is no ticket")
	return reply


## Follows it until the socket ends; whether it ever told anything.
func _by_socket(ticket: MusterTicket, deadline: Deadline, on_change: Callable) -> bool:
	var socket := WebSocketPeer.new()
	socket.inbound_buffer_size = MAX_MESSAGE_BYTES
	var bearer := ticket.token if ticket.token != "" else http.token
	var path := "/v1/tickets/%s/watch" % ticket.id.uri_encode()
	if OS.has_feature("web"):
		# A browser sets no headers of a WebSocket.
		path += "?token=" + bearer.uri_encode()
	else:
		socket.handshake_headers = PackedStringArray(["Authorization: Bearer " + bearer])
	var url := "ws" + http.base_url.trim_prefix("http") + path
	if socket.connect_to_url(url, TLSOptions.client(http.authority)) != OK:
		return false
	var told := false
	var open_by := Deadline.new(OPEN_TIMEOUT_S)
	var heard_by := Deadline.new(SILENCE_S)
	while not deadline.is_over():
		socket.poll()
		var state := socket.get_ready_state()
		if state == WebSocketPeer.STATE_CONNECTING and open_by.is_over():
			break
		while socket.get_available_packet_count() > 0:
			heard_by = Deadline.new(SILENCE_S)
			var found: Variant = Json.object_in(socket.get_packet().get_string_from_utf8())
			if not found is Dictionary:
				# Whatever that is, it is not the orchestrator, and may have nothing else to say.
				socket.close()
				return told
			var json: Dictionary = found
			if Json.text(json, "id") == ticket.id and ticket.read(json):
				told = true
				on_change.call()
		if ticket.is_over() or state == WebSocketPeer.STATE_CLOSED or heard_by.is_over():
			break
		await get_tree().process_frame
	socket.close()
	return told
