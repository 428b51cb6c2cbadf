extends Node
## Shows a session token to edges over UDP, and says by which the game's socket may go.
##
## A preface has to come from the address and port that the game will use. ENet's socket cannot show
## the answer, so a socket of our own asks, is closed, and ENet opens one on the same port.

const Preface := preload("../protocol/preface.gd")
const Deadline := preload("../core/clock.gd")

## Pause between two prefaces.
const REPEAT_MS := 200
## An edge is asked this long after the one before it, if none has answered.
const STAGGER_MS := 250
## Most edges that are asked at once.
const MAX_EDGES := 8


class Passage:
	extends MusterResult
	## The edge that said yes.
	var endpoint: MusterEndpoint = null
	## Its address.
	var address := ""
	## The port to send from.
	var local_port := 0
	## The socket that asked, if it was to stay open.
	var socket: PacketPeerUDP = null
	## Whether any edge answered at all.
	var was_answered := false


class Attempt:
	extends RefCounted
	var endpoint: MusterEndpoint = null
	var address := ""
	var socket: PacketPeerUDP = null
	var next_ms := 0
	var refusal := ""


## Asks the edges of [param endpoints], the first first; the first that says yes is taken.
func prove(endpoints: Array[MusterEndpoint], deadline: Deadline, keep_socket := false) -> Passage:
	var attempts: Array[Attempt] = []
	var began_ms := Time.get_ticks_msec()
	for endpoint: MusterEndpoint in endpoints.slice(0, MAX_EDGES):
		var attempt := Attempt.new()
		attempt.endpoint = endpoint
		attempt.next_ms = began_ms + attempts.size() * STAGGER_MS
		attempts.append(attempt)
	var passage := Passage.new()
	while not deadline.is_over():
		for attempt in attempts:
			await _ask(attempt, deadline)
			var answer := _listen(attempt)
			if answer == Preface.ACCEPTED:
				_pass(passage, attempt, keep_socket)
				break
			if answer != Preface.NO_ANSWER:
				passage.was_answered = true
		if passage.endpoint != null or _are_all_refused(attempts):
			break
		await get_tree().process_frame
	for attempt in attempts:
		if attempt.socket != null and attempt.socket != passage.socket:
			attempt.socket.close()
	if passage.endpoint == null:
		_say_why(passage, attempts)
	return passage


func _ask(attempt: Attempt, deadline: Deadline) -> void:
	if attempt.refusal != "" or Time.get_ticks_msec() < attempt.next_ms:
		return
	attempt.next_ms = Time.get_ticks_msec() + REPEAT_MS
	if attempt.socket == null:
		attempt.address = await resolve(attempt.endpoint.host, deadline)
		var socket := PacketPeerUDP.new()
		if (
			attempt.address == ""
			or socket.connect_to_host(attempt.address, attempt.endpoint.port) != OK
		):
			return
		attempt.socket = socket
	# An error here is one of the way, which may be better in a moment.
	attempt.socket.put_packet(Preface.encode(attempt.endpoint.token))


func _listen(attempt: Attempt) -> String:
	if attempt.socket == null:
		return Preface.NO_ANSWER
	while attempt.socket.get_available_packet_count() > 0:
		var answer := Preface.answer_in(attempt.socket.get_packet())
		# One that cannot now, may in a moment.
		if answer != Preface.NO_ANSWER:
			if answer != Preface.ACCEPTED and answer != MusterResult.REFUSED_UNAVAILABLE:
				attempt.refusal = answer
			return answer
	return Preface.NO_ANSWER


static func _pass(passage: Passage, attempt: Attempt, keep_socket: bool) -> void:
	passage.endpoint = attempt.endpoint
	passage.address = attempt.address
	passage.local_port = attempt.socket.get_local_port()
	passage.was_answered = true
	if keep_socket:
		passage.socket = attempt.socket


static func _are_all_refused(attempts: Array[Attempt]) -> bool:
	return attempts.all(func(attempt: Attempt) -> bool: return attempt.refusal != "")


static func _say_why(passage: Passage, attempts: Array[Attempt]) -> void:
	for attempt in attempts:
		if attempt.refusal != "":
			passage.fail(
				attempt.refusal,
				(
					"the edge %s refuses the session token (%s); ask for the match again"
					% [attempt.endpoint.host, attempt.refusal]
				)
			)
			return
	if passage.was_answered:
		passage.fail(
			MusterResult.REFUSED_UNAVAILABLE,
			"the edge has no room for another player now; try again in a moment"
		)
		return
	passage.fail(
		MusterResult.TIMEOUT,
		"no edge of the match answers over UDP; it is down, or a firewall is between"
	)


## The address of [param host], which may be one already; empty if it has none, or not in time.
func resolve(host: String, deadline: Deadline) -> String:
	if host.is_valid_ip_address():
		return host
	var id := IP.resolve_hostname_queue_item(host)
	if id == IP.RESOLVER_INVALID_ID:
		return ""
	await deadline.until(
		get_tree(),
		func() -> bool: return IP.get_resolve_item_status(id) != IP.RESOLVER_STATUS_WAITING
	)
	var address := ""
	if IP.get_resolve_item_status(id) == IP.RESOLVER_STATUS_DONE:
		address = IP.get_resolve_item_address(id)
	IP.erase_resolve_item(id)
	return address
