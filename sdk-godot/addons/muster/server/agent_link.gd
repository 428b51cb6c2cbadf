extends Node
## What the server says to its node's agent: ready, health, and whose player is here. What could not
## be said is said again until it was, since the agent may be restarting.

const Json := preload("../core/json.gd")
const Deadline := preload("../core/clock.gd")

## Pause between two calls of health, in seconds; the fleet's [code]health_s[/code] is 30 by
## default.
const HEALTH_EVERY_S := 5.0
## How long one call may take.
const CALL_TIMEOUT_S := 2.0
## Pause before what could not be said is said again.
const RETRY_S := 0.5
## Most facts that wait to be said; the oldest go, and the next change of their seat puts it right.
const MAX_WAITING := 1_024
## Times a seat is told again that the agent has not heard of yet.
const MAX_UNHEARD := 20

var http: MusterHttp = null

var _waiting: Array[Fact] = []
var _is_talking := false
var _since_health_s := 0.0
var _is_well := false
var _health_under_way := false


class Fact:
	extends RefCounted
	var path := ""
	var body := {}
	var seat_id := ""
	var unheard := 0


func _init() -> void:
	http = MusterHttp.new()
	add_child(http)


## Says [code]ready[/code] until the agent has heard it; from then on health is told by itself.
func ready_until(timeout_s: float) -> MusterResult:
	var deadline := Deadline.new(timeout_s)
	var reply := await http.send("/v1/ready", {}, minf(CALL_TIMEOUT_S, timeout_s))
	while not reply.ok and _is_worth_repeating(reply) and not deadline.is_over():
		await deadline.pause(get_tree(), RETRY_S)
		reply = await http.send("/v1/ready", {}, minf(CALL_TIMEOUT_S, deadline.left_s() + 0.1))
	if reply.ok:
		_is_well = true
		_since_health_s = HEALTH_EVERY_S
	return reply


## Says no health any more.
func stop() -> void:
	_is_well = false
	_waiting.clear()


func _process(delta: float) -> void:
	_since_health_s += delta
	if not _is_well or _since_health_s < HEALTH_EVERY_S or _health_under_way:
		return
	_since_health_s = 0.0
	_health_under_way = true
	# A failure is no news: the next one is due soon, and the agent waits for longer.
	await http.send("/v1/health", {}, CALL_TIMEOUT_S)
	_health_under_way = false


## Says that the player is here whose session token this is, and is told who that is.
func connected(session_token: String, timeout_s: float) -> MusterReply:
	return await seat("connected", {"token": session_token}, timeout_s)


## Says that a seat is [code]connected[/code], [code]disconnected[/code] or [code]released[/code],
## until the agent has heard it. [param proof] is the [code]token[/code] or the [code]seat[/code];
## of a seat that was sold a moment ago the agent may hear later.
func seat(change: String, proof: Dictionary, timeout_s: float) -> MusterReply:
	var deadline := Deadline.new(timeout_s)
	var path := "/v1/seats/" + change
	var reply := await http.send(path, proof, minf(CALL_TIMEOUT_S, timeout_s))
	while not reply.ok and not deadline.is_over():
		if not _is_worth_repeating(reply) and reply.status != 409:
			break
		await deadline.pause(get_tree(), RETRY_S)
		reply = await http.send(path, proof, minf(CALL_TIMEOUT_S, deadline.left_s() + 0.1))
	if reply.ok and change == "connected":
		# What was to be said of an earlier stay is out of date.
		_waiting = _waiting.filter(
			func(fact: Fact) -> bool: return fact.seat_id != Json.text(reply.body, "seat")
		)
	return reply


## Says in its time that the player of the seat is gone, for now or for good.
func gone(seat_id: String, for_good: bool) -> void:
	var fact := Fact.new()
	fact.path = "/v1/seats/released" if for_good else "/v1/seats/disconnected"
	fact.body = {"seat": seat_id}
	fact.seat_id = seat_id
	_waiting.append(fact)
	while _waiting.size() > MAX_WAITING:
		_waiting.pop_front()
	if not _is_talking:
		@warning_ignore("missing_await")
		_talk()


## Waits until everything was said.
func flush(timeout_s: float) -> void:
	var is_said := func() -> bool: return not _is_talking
	await Deadline.new(timeout_s).until(get_tree(), is_said)


func _talk() -> void:
	_is_talking = true
	while not _waiting.is_empty():
		var fact := _waiting[0]
		var reply := await http.send(fact.path, fact.body, CALL_TIMEOUT_S)
		var is_unheard := reply.status == 409 and fact.unheard < MAX_UNHEARD
		if reply.ok or not (is_unheard or _is_worth_repeating(reply)):
			_waiting.erase(fact)
			continue
		fact.unheard += 1 if is_unheard else 0
		await get_tree().create_timer(RETRY_S, true, false, true).timeout
	_is_talking = false


## Whether the agent may answer otherwise in a moment.
static func _is_worth_repeating(reply: MusterReply) -> bool:
	return reply.status == 0 and reply.code != MusterResult.INVALID_ARGUMENT or reply.status >= 500
