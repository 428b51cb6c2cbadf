extends Node
## What the benchmark's players have in common: they find a match, call, and know when they were
## answered.

const Echo := preload("echo.gd")
const Deadline := preload("../addons/muster/core/clock.gd")

const QUEUE := "bench"
## Seconds for anything but playing.
const PATIENCE_S := 60.0
## Seconds between two calls of one that plays.
const CALL_EVERY_S := 0.02

var echo: Echo = null

## The last call, the last one that was answered, and when that was, in Unix milliseconds.
var asked := 0
var answered := 0
var answered_ms := 0.0
var seat := ""


## The clock that scripts have, too.
static func now_ms() -> float:
	return Time.get_unix_time_from_system() * 1_000.0


## Finds a match. What [param change] makes of its endpoints is connected to.
func play(change := Callable()) -> bool:
	echo.answered.connect(_on_answered)
	var request := MusterMatchRequest.new(QUEUE, option("--player"))
	var ticket := await Muster.client.find_match(request, PATIENCE_S)
	if ticket.ok and change.is_valid():
		change.call(ticket.assignment.endpoints)
	var connection := await Muster.client.connect_to_match(ticket)
	if not connection.ok:
		fail(str(connection))
		return false
	seat = connection.seat_id
	return true


## Calls once, if there is somebody to call.
func ask() -> void:
	if Muster.client.is_in_match():
		asked += 1
		echo.ask.rpc_id(MultiplayerPeer.TARGET_PEER_SERVER, asked)


## Calls again and again until what was asked after [param number] is answered.
func ask_beyond(number: int) -> bool:
	var deadline := Deadline.new(PATIENCE_S)
	while answered <= number and not deadline.is_over():
		ask()
		await deadline.pause(get_tree(), CALL_EVERY_S)
	return answered > number


func tell(report: Dictionary) -> void:
	print(JSON.stringify(report))


func fail(fault: String) -> void:
	tell({"fault": fault})
	get_tree().quit(1)


static func option(named: String, otherwise := "") -> String:
	var arguments := OS.get_cmdline_user_args()
	var at := arguments.find(named)
	return arguments[at + 1] if at >= 0 and at + 1 < arguments.size() else otherwise


func _on_answered(number: int) -> void:
	answered = number
	answered_ms = now_ms()
