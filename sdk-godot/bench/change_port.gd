extends "player.gd"
## Plays through a router that gives it another port, some times over.

const Relay := preload("relay.gd")

const CHANGES := 5
## Seconds of play between two changes.
const PLAY_S := 1.5

var _relay := Relay.new()


func _ready() -> void:
	if not await play(_go_through):
		return
	var took_ms: Array[int] = []
	var seats := {seat: true}
	for change in CHANGES:
		var play_by := Deadline.new(PLAY_S)
		while not play_by.is_over():
			ask()
			await play_by.pause(get_tree(), CALL_EVERY_S)
		var last := asked
		var changed_ms := now_ms()
		_relay.change_port()
		if not await ask_beyond(last):
			fail("no answer after the change")
			return
		took_ms.append(roundi(answered_ms - changed_ms))
		seats[Muster.client.get_connection().seat_id] = true
	_relay.close()
	tell({"port_change_ms": took_ms, "seats": seats.size()})
	await Muster.client.leave()
	get_tree().quit(0)


func _go_through(endpoints: Array[MusterEndpoint]) -> void:
	for endpoint in endpoints:
		if endpoint.protocol == MusterEndpoint.Protocol.UDP:
			_relay.open(endpoint.host, endpoint.port)
			endpoint.host = "127.0.0.1"
			endpoint.port = _relay.port
			# The other edges are not behind the router.
			endpoints.assign([endpoint])
			return
