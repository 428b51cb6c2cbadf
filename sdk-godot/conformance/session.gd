extends Node
## A plain session, as the conformance tool wants it: messages over UDP or WebSocket, without an
## engine's protocol on top, taken up again when its socket is gone. The game's own way is
## [MusterClient.connect_to_match].

signal told(state: String, why: MusterResult)

const Deadline := preload("../addons/muster/core/clock.gd")
const EdgeDoor := preload("../addons/muster/client/edge_door.gd")
const LinkWatch := preload("../addons/muster/client/link_watch.gd")
const WebRefusal := preload("../addons/muster/client/web_refusal.gd")
const Preface := preload("../addons/muster/protocol/preface.gd")

const REJOIN_S := 20.0
const PAUSE_S := 0.3
const MAX_MESSAGES := 1_000

var client: MusterClient = null
var ticket: MusterTicket = null
var transport := "auto"
var port_name := ""
var open_by := ""
var messages: Array[String] = []

var _door := EdgeDoor.new()
var _udp: PacketPeerUDP = null
var _web: WebSocketPeer = null
var _preface := PackedByteArray()
var _watch := LinkWatch.new()
var _is_closed := false
var _is_rejoining := false


func _ready() -> void:
	add_child(_door)


## Connects, with the ticket as it is and once more with a token that was read anew.
func open(timeout_s: float) -> MusterResult:
	var deadline := Deadline.new(timeout_s)
	var result := await _open_once(deadline)
	if result.code in [MusterResult.REFUSED_EXPIRED, "refused_untrusted"]:
		var fresh := await client.read_ticket(ticket, deadline.left_s())
		if fresh.ok and fresh.assignment != null:
			ticket = fresh
			result = await _open_once(deadline)
	return result


func send(text: String) -> MusterResult:
	var result := MusterResult.new()
	var error := ERR_UNAVAILABLE
	if _udp != null:
		error = _udp.put_packet(text.to_utf8_buffer())
	elif _web != null:
		error = _web.send_text(text)
	if error != OK:
		result.fail(
			MusterResult.CONNECTION_LOST, "the session has no socket now; it is taken up again"
		)
	return result


## Closes the socket and says nothing, as a network that goes away.
func break_off() -> void:
	if _udp != null:
		_udp.close()
		_lose()
	elif _web != null:
		_web.close(-1)
		_lose()


func close() -> void:
	_is_closed = true
	_drop()


func is_open() -> bool:
	return _udp != null or _web != null


func _drop() -> void:
	if _udp != null:
		_udp.close()
	if _web != null:
		_web.close()
	_udp = null
	_web = null


func _open_once(deadline: Deadline) -> MusterResult:
	var udp: Array[MusterEndpoint] = []
	var web: Array[MusterEndpoint] = []
	for endpoint in ticket.assignment.endpoints:
		if port_name != "" and endpoint.port_name != port_name:
			continue
		if endpoint.protocol == MusterEndpoint.Protocol.UDP and transport != "ws":
			udp.append(endpoint)
		elif endpoint.protocol == MusterEndpoint.Protocol.WS and transport != "udp":
			web.append(endpoint)
	var result := MusterResult.new()
	if udp.is_empty() and web.is_empty():
		result.fail(MusterResult.NO_ENDPOINT, "the server has no port of that name and transport")
	if not udp.is_empty():
		var patience := Deadline.new(deadline.left_s() if web.is_empty() else 2.0)
		result = await _open_udp(udp, patience)
	if not is_open():
		for endpoint in web:
			result = await _open_web(endpoint, deadline)
			if result.ok:
				break
	return result


func _open_udp(endpoints: Array[MusterEndpoint], deadline: Deadline) -> MusterResult:
	if endpoints[0].token == "":
		_udp = PacketPeerUDP.new()
		_udp.connect_to_host(endpoints[0].host, endpoints[0].port)
		open_by = "udp"
		return MusterResult.new()
	var passage := await _door.prove(endpoints, deadline, true)
	if passage.ok:
		_udp = passage.socket
		_preface = Preface.encode(passage.endpoint.token)
		_watch = LinkWatch.new()
		open_by = "udp"
	return passage


func _open_web(endpoint: MusterEndpoint, deadline: Deadline) -> MusterResult:
	var result := MusterResult.new()
	var socket := WebSocketPeer.new()
	var error := socket.connect_to_url(endpoint.url, TLSOptions.client(client.http.authority))
	if error != OK:
		result.fail(MusterResult.BAD_ANSWER, "the endpoint's URL cannot be used: " + endpoint.url)
		return result
	while not deadline.is_over():
		socket.poll()
		while socket.get_available_packet_count() > 0:
			# One that says something and ends at once was open.
			_keep(socket.get_packet().get_string_from_utf8())
			_web = socket
			open_by = "ws"
		if _web != null:
			return result
		match socket.get_ready_state():
			WebSocketPeer.STATE_OPEN:
				_web = socket
				open_by = "ws"
				return result
			WebSocketPeer.STATE_CLOSED:
				var what := "the edge did not open the WebSocket; is it up?"
				result.fail(MusterResult.UNREACHABLE, what)
				await WebRefusal.explain(result, endpoint.url, self, client.http.authority)
				return result
		await get_tree().process_frame
	result.fail(MusterResult.TIMEOUT, "the edge did not open the WebSocket in time")
	return result


func _process(_delta: float) -> void:
	if _udp != null:
		_listen_udp()
	elif _web != null:
		_web.poll()
		while _web.get_available_packet_count() > 0:
			_keep(_web.get_packet().get_string_from_utf8())
		if _web.get_ready_state() == WebSocketPeer.STATE_CLOSED:
			_lose()


func _listen_udp() -> void:
	var packets := 0
	while _udp.get_available_packet_count() > 0:
		var packet := _udp.get_packet()
		packets += 1
		if Preface.answer_in(packet) == Preface.NO_ANSWER:
			_keep(packet.get_string_from_utf8())
	if _preface.is_empty():
		return
	match _watch.look(Time.get_ticks_msec(), packets):
		LinkWatch.Action.PROVE:
			_udp.put_packet(_preface)
		LinkWatch.Action.LOST:
			_lose()


func _keep(text: String) -> void:
	messages.append(text)
	if messages.size() > MAX_MESSAGES:
		messages.pop_front()


func _lose() -> void:
	_drop()
	if _is_closed or _is_rejoining:
		return
	_is_rejoining = true
	told.emit("lost", MusterResult.new())
	@warning_ignore("missing_await")
	_rejoin()


func _rejoin() -> void:
	var why := MusterResult.new()
	var deadline := Deadline.new(REJOIN_S)
	while not _is_closed and not deadline.is_over():
		var fresh := await client.read_ticket(ticket, minf(2.0, deadline.left_s()))
		if fresh.ok and fresh.assignment != null:
			ticket = fresh
		elif fresh.ok or fresh.code == "ticket_unknown":
			why.fail(MusterResult.MATCH_CANCELLED, "the seat is not the player's any more")
			break
		why = await _open_once(Deadline.new(minf(3.0, deadline.left_s())))
		if why.ok:
			break
		await deadline.pause(get_tree(), PAUSE_S)
	_is_rejoining = false
	if not _is_closed:
		told.emit("rejoined" if why.ok and is_open() else "failed", why)
