extends Node
## A server of HTTP/1.1 that answers each path with what a test says, byte for byte, and keeps what
## it was asked. It speaks WebSocket, too, as far as sending goes.

## What to do with a connection.
enum Manner {
	## Answer.
	WHOLE,
	## Say nothing at all.
	SILENT,
	## Close before the answer.
	CLOSE,
	## Close in the middle of the answer.
	CUT,
}

const WEBSOCKET_GUID := "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
const MAX_REQUEST_BYTES := 65_536


class Answer:
	extends RefCounted
	var status := 200
	var body := PackedByteArray()
	var manner := Manner.WHOLE


class Request:
	extends RefCounted
	var method := ""
	var path := ""
	var headers := ""
	var body := {}


class Conversation:
	extends RefCounted
	var stream: StreamPeerTCP = null
	var bytes := PackedByteArray()
	var is_socket := false


var requests: Array[Request] = []
## What is sent to each WebSocket that opens.
var greetings: Array[String] = []

var _server := TCPServer.new()
var _answers: Dictionary = {}
var _conversations: Array[Conversation] = []


func _init() -> void:
	var error := _server.listen(0, "127.0.0.1")
	assert(error == OK)


func url() -> String:
	return "http://127.0.0.1:%d" % _server.get_local_port()


## From now on answers `METHOD /path` so. Of several answers each is given once, and the last one
## for ever.
func on(request: String, body: Variant, status := 200, manner := Manner.WHOLE) -> void:
	var answer := Answer.new()
	answer.status = status
	answer.manner = manner
	if body is PackedByteArray:
		answer.body = body
	elif body is String:
		var text: String = body
		answer.body = text.to_utf8_buffer()
	elif body != null:
		answer.body = JSON.stringify(body).to_utf8_buffer()
	var known: Array = _answers.get_or_add(request, [])
	known.append(answer)


## The same, and forgets the answers it had.
func on_now(request: String, body: Variant, status := 200) -> void:
	_answers.erase(request)
	on(request, body, status)


## Requests of that method and path.
func asked(request: String) -> Array[Request]:
	return requests.filter(
		func(asked_for: Request) -> bool:
			return "%s %s" % [asked_for.method, asked_for.path.get_slice("?", 0)] == request
	)


## Closes all that is open, as a killed process does, and listens no more.
func vanish() -> void:
	_server.stop()
	for conversation in _conversations:
		conversation.stream.disconnect_from_host()
	_conversations.clear()


func _process(_delta: float) -> void:
	while _server.is_connection_available():
		var conversation := Conversation.new()
		conversation.stream = _server.take_connection()
		_conversations.append(conversation)
	for conversation: Conversation in _conversations.duplicate():
		_converse(conversation)


func _exit_tree() -> void:
	vanish()


func _converse(conversation: Conversation) -> void:
	conversation.stream.poll()
	if conversation.stream.get_status() != StreamPeerTCP.STATUS_CONNECTED:
		_conversations.erase(conversation)
		return
	if conversation.is_socket:
		return
	var available := conversation.stream.get_available_bytes()
	if available > 0:
		var got := conversation.stream.get_partial_data(available)
		var bytes: PackedByteArray = got[1]
		conversation.bytes.append_array(bytes)
	var text := conversation.bytes.get_string_from_utf8()
	var split := text.find("\r\n\r\n")
	if split < 0 or conversation.bytes.size() > MAX_REQUEST_BYTES:
		return
	var head := text.substr(0, split)
	var body := text.substr(split + 4)
	var length := 0
	for line in head.split("\r\n"):
		if line.to_lower().begins_with("content-length:"):
			length = line.get_slice(":", 1).to_int()
	if body.to_utf8_buffer().size() < length:
		return
	_answer(conversation, head, body)


func _answer(conversation: Conversation, head: String, body: String) -> void:
	var request := Request.new()
	request.method = head.get_slice(" ", 0)
	request.path = head.get_slice(" ", 1)
	request.headers = head
	var json: Variant = JSON.parse_string(body) if body != "" else null
	if json is Dictionary:
		request.body = json
	requests.append(request)
	var path := request.path.get_slice("?", 0)
	var known: Array = _answers.get("%s %s" % [request.method, path], [])
	var answer := Answer.new()
	answer.status = 404
	answer.body = '{"code": "not_found", "detail": "there is no such thing here"}'.to_utf8_buffer()
	if not known.is_empty():
		answer = known.pop_front() if known.size() > 1 else known[0]
	if "upgrade: websocket" in head.to_lower() and answer.status == 101:
		_upgrade(conversation, head)
		return
	_conversations.erase(conversation)
	match answer.manner:
		Manner.SILENT:
			# Kept, so that the connection stays open.
			conversation.bytes.clear()
			_conversations.append(conversation)
			return
		Manner.CLOSE:
			conversation.stream.disconnect_from_host()
			return
	var head_said := "HTTP/1.1 %d Said\r\nContent-Type: application/json\r\n" % answer.status
	head_said += "Content-Length: %d\r\nConnection: close\r\n\r\n" % answer.body.size()
	var bytes := head_said.to_utf8_buffer()
	bytes.append_array(answer.body)
	if answer.manner == Manner.CUT:
		bytes = bytes.slice(0, bytes.size() - 3)
	conversation.stream.put_data(bytes)
	conversation.stream.disconnect_from_host()


func _upgrade(conversation: Conversation, head: String) -> void:
	var key := ""
	for line in head.split("\r\n"):
		if line.to_lower().begins_with("sec-websocket-key:"):
			key = line.get_slice(":", 1).strip_edges()
	var hash_of := HashingContext.new()
	hash_of.start(HashingContext.HASH_SHA1)
	hash_of.update((key + WEBSOCKET_GUID).to_ascii_buffer())
	var accepted := Marshalls.raw_to_base64(hash_of.finish())
	var said := (
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		+ "Sec-WebSocket-Accept: %s\r\n\r\n" % accepted
	)
	conversation.stream.put_data(said.to_ascii_buffer())
	conversation.is_socket = true
	for text in greetings:
		tell(conversation, text)


## Sends a text frame.
static func tell(conversation: Conversation, text: String) -> void:
	var payload := text.to_utf8_buffer()
	var frame := PackedByteArray([0x81])
	if payload.size() < 126:
		frame.append(payload.size())
	else:
		frame.append_array([126, payload.size() >> 8, payload.size() & 0xff])
	frame.append_array(payload)
	conversation.stream.put_data(frame)


## The WebSockets that are open.
func sockets() -> Array[Conversation]:
	return _conversations.filter(
		func(conversation: Conversation) -> bool: return conversation.is_socket
	)


## Closes a connection without a word.
func cut(conversation: Conversation) -> void:
	conversation.stream.disconnect_from_host()
	_conversations.erase(conversation)
