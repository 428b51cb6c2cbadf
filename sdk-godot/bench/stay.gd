extends "player.gd"
## Plays until it is ended, and prints each pause between two answers, by the clock that the script
## has, too.

## Longer without an answer is a pause.
const PAUSE_MS := 150.0

var _began_ms := now_ms()


func _ready() -> void:
	Muster.client.connection_lost.connect(func(why: MusterResult) -> void: _tell("lost", str(why)))
	Muster.client.connection_regained.connect(
		func(again: MusterConnection) -> void: _tell("regained", again.endpoint.host)
	)
	Muster.client.connection_ended.connect(func(why: MusterResult) -> void: fail(str(why)))
	if not await play(_take_first):
		return
	var report := {"seat": seat, "began_ms": _began_ms, "seat_ms": now_ms()}
	if not await ask_beyond(0):
		fail("no answer")
		return
	report["answered_ms"] = answered_ms
	tell(report)
	var last_ms := answered_ms
	while true:
		ask()
		await get_tree().create_timer(CALL_EVERY_S).timeout
		if answered_ms - last_ms > PAUSE_MS:
			tell({"pause_from_ms": last_ms, "pause_to_ms": answered_ms, "seat": seat})
		last_ms = answered_ms


## That edge first which the script will kill.
func _take_first(endpoints: Array[MusterEndpoint]) -> void:
	var first := option("--first")
	endpoints.sort_custom(
		func(one: MusterEndpoint, other: MusterEndpoint) -> bool:
			return one.host == first and other.host != first
	)


func _tell(what: String, of: String) -> void:
	tell({what: of, "at_ms": now_ms()})
	if what == "regained":
		var connection := Muster.client.get_connection()
		seat = connection.seat_id
