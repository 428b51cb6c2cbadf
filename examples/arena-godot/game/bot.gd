extends Node
## A player without a person: finds a match as anybody does, chases the gem, and judges what it
## sees. It says each step in a line, and at the end all of it in one line of JSON; it leaves with 0
## if all was as it should be.
##
##   -- --bot NAME [--queue QUEUE] [--lobby FLEET] [--seconds 30] [--until-drained]
##      [--transport enet|websocket]

const PING_EVERY_S := 0.25
## Seconds for everything besides playing.
const PATIENCE_S := 120.0

var arena: Arena = null

var _name := ""
var _began_ms := Time.get_ticks_msec()
var _connected_ms := 0
var _first_answer_ms := 0
var _played_s := 0.0
var _since_ping_s := 0.0
var _pings := 0
var _pongs := 0
var _sent_ms := {}
var _round_trips_ms: Array[int] = []
var _moves := 0
var _most_fighters := 0
var _last_position := Vector2.INF
var _regained := 0
var _seats := {}
var _is_ending := false
var _is_over := false


func _ready() -> void:
	_name = _option("--bot", "bot")
	match _option("--transport", ""):
		"enet":
			ProjectSettings.set_setting(MusterSettings.TRANSPORT, 1)
		"websocket":
			ProjectSettings.set_setting(MusterSettings.TRANSPORT, 2)
	arena.answered.connect(_on_answered)
	arena.round_ending.connect(func() -> void: _is_ending = true)
	Muster.client.ticket_progressed.connect(
		func(ticket: MusterTicket) -> void: print("ticket: ", ticket.explanation)
	)
	Muster.client.connection_lost.connect(func(why: MusterResult) -> void: print("lost: ", why))
	Muster.client.connection_regained.connect(_on_regained)
	Muster.client.connection_ended.connect(_on_ended)
	get_tree().create_timer(PATIENCE_S + _seconds()).timeout.connect(
		_finish.bind("not done in time")
	)
	var joined := await _join()
	if not joined.ok:
		_finish(str(joined))
		return
	_connected_ms = Time.get_ticks_msec() - _began_ms
	_seats[joined.seat_id] = true
	print("connected after: %d ms" % _connected_ms)
	print("seat: ", joined.seat_id)


func _join() -> MusterConnection:
	if _option("--lobby", "") == "":
		return await Muster.client.play(MusterMatchRequest.new(_option("--queue", "quick"), _name))
	var spec := MusterLobbySpec.new("bots")
	var ticket := await Muster.lobbies.find(_option("--lobby", ""), _name, {}, spec)
	ticket = await Muster.client.wait_for_match(ticket)
	return await Muster.client.connect_to_match(ticket)


func _physics_process(delta: float) -> void:
	if _connected_ms == 0 or _is_over:
		return
	_played_s += delta
	# While a connection is being taken up again there is nobody to talk to.
	if not Muster.client.is_in_match():
		return
	_since_ping_s += delta
	if _since_ping_s >= PING_EVERY_S or _pings == 0:
		_since_ping_s = 0.0
		_pings += 1
		_sent_ms[_pings] = Time.get_ticks_msec()
		arena.ping.rpc_id(1, _pings)
	_most_fighters = maxi(_most_fighters, arena.fighters.get_child_count())
	for node in arena.fighters.get_children():
		var fighter := node as Fighter
		if fighter.player == _name:
			_moves += 1 if fighter.position != _last_position else 0
			_last_position = fighter.position
			arena.steer.rpc_id(1, fighter.position.direction_to(arena.gem))
	if _played_s >= _seconds() and not "--until-drained" in OS.get_cmdline_user_args():
		_leave()


func _leave() -> void:
	_is_over = true
	var left := await Muster.client.leave()
	_is_over = false
	_finish("" if left.ok else str(left))


func _on_answered(number: int) -> void:
	if _first_answer_ms == 0:
		_first_answer_ms = Time.get_ticks_msec() - _began_ms
	_pongs += 1
	var sent_ms: int = _sent_ms.get(number, 0)
	_round_trips_ms.append(Time.get_ticks_msec() - sent_ms)


func _on_regained(connection: MusterConnection) -> void:
	print("regained: ", connection.seat_id)
	_regained += 1
	_seats[connection.seat_id] = true


func _on_ended(why: MusterResult) -> void:
	# The server said so before.
	_finish("" if _is_ending else str(why))


func _finish(fault: String) -> void:
	if _is_over:
		return
	_is_over = true
	# What was asked just before a connection broke has no answer.
	if fault == "" and _pongs < _pings - 4 * (_regained + 1):
		fault = "%d of %d pings were answered" % [_pongs, _pings]
	if fault == "" and _moves < 10:
		fault = "saw itself move %d times only" % _moves
	if fault == "" and _seats.size() != 1:
		fault = "sat in more than one seat"
	_round_trips_ms.sort()
	var report := {
		"ok": fault == "",
		"fault": fault,
		"player": _name,
		"seat": "".join(PackedStringArray(_seats.keys())),
		"transport": _transport(),
		"connected_ms": _connected_ms,
		"first_answer_ms": _first_answer_ms,
		"played_s": snappedf(_played_s, 0.1),
		"pings": _pings,
		"pongs": _pongs,
		"p50_ms":
		_round_trips_ms[_round_trips_ms.size() / 2] if not _round_trips_ms.is_empty() else 0,
		"moves": _moves,
		"fighters": _most_fighters,
		"regained": _regained,
	}
	print(JSON.stringify(report))
	get_tree().quit(0 if fault == "" else 1)


func _transport() -> String:
	var peer := multiplayer.multiplayer_peer
	return (
		"websocket"
		if peer is WebSocketMultiplayerPeer or _option("--transport", "") == "websocket"
		else "enet"
	)


static func _seconds() -> float:
	return _option("--seconds", "30").to_float()


static func _option(option: String, otherwise: String) -> String:
	var arguments := OS.get_cmdline_user_args()
	var at := arguments.find(option)
	return arguments[at + 1] if at >= 0 and at + 1 < arguments.size() else otherwise
