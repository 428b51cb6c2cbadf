# gdlint: disable=max-public-methods
class_name MusterServer
extends Node
## A game server's side of Muster: it listens, says that it is ready and well, lets players in by
## their session tokens, and hears what becomes of it.
##
## [codeblock]
## Muster.server.player_joined.connect(_on_player_joined)
## Muster.server.player_left.connect(_on_player_left)
## var started := await Muster.server.start(8)
## if not started.ok:
##     push_error(started.message)
## [/codeblock]
## Without Muster, as when the project runs in the editor, [method start] listens on the ports of
## the settings and lets anyone in, so that the same game can be tried by itself.

## A match has claimed the server.
signal match_allocated(allocation: MusterAllocation)
## Its seats or its lobby have changed.
signal match_changed(allocation: MusterAllocation)
## The server is to finish: let the match come to its end. It is stopped at [param deadline_ms]
## (Unix milliseconds, by the node's clock) at the latest; 0: there is no such time.
signal drain_requested(deadline_ms: int)
## A player is here: their token was proven, and RPCs reach them.
signal player_joined(player: MusterPlayer)
## A player is gone, and may come back.
signal player_left(player: MusterPlayer)

const Json := preload("../core/json.gd")
const AgentLink := preload("agent_link.gd")
const AgentEvents := preload("agent_events.gd")
const Gate := preload("gate.gd")
const Listening := preload("listening.gd")
const StandIn := preload("stand_in.gd")

## Seconds for the agent to hear that the server is ready.
const READY_TIMEOUT_S := 30.0
## Seconds for other calls.
const CALL_TIMEOUT_S := 5.0
## ENet takes so many connections more than there are places, to tell those who come that there are
## none.
const SPARE_CONNECTIONS := 16
## Most connections ENet can hold.
const MAX_CONNECTIONS := 4_095
## Pause before an agent that did not answer is spoken to again, in seconds.
const STAND_IN_RETRY_S := 0.5

## What Muster said by the environment.
var environment: MusterEnvironment = MusterEnvironment.read()
## The match, once there is one; else [code]null[/code].
var allocation: MusterAllocation = null
## Whether the server is to finish.
var is_draining := false
## Whether players may come without a token, as on ports that are [code]open[/code].
var takes_anyone := false
## The API that the peers are set on; by default that of the scene tree.
var multiplayer_api: SceneMultiplayer = null

var _agent: AgentLink = null
var _events: AgentEvents = null
var _gate: Gate = null
var _is_started := false
var _is_shutting_down := false


func _init() -> void:
	process_mode = Node.PROCESS_MODE_ALWAYS
	_agent = AgentLink.new()
	_events = AgentEvents.new()
	_gate = Gate.new()
	for part: Node in [_agent, _events, _gate]:
		add_child(part)
	_events.told.connect(_on_told)
	_gate.joined.connect(player_joined.emit)
	_gate.left.connect(_on_left)


## Whether this process runs under Muster.
func is_under_muster() -> bool:
	return environment.is_muster


## Whether this process is to be a server: under Muster, as an export for dedicated servers, or with
## [code]--server[/code] behind [code]--[/code] on the command line.
func is_wanted() -> bool:
	return (
		environment.is_muster
		or OS.has_feature("dedicated_server")
		or "--server" in OS.get_cmdline_user_args()
	)


## Whether it listens to players.
func is_started() -> bool:
	return _is_started


## Listens, sets the peer, says that players may come, and from then on that the server is well.
func start(max_players := 32) -> MusterResult:
	var result := MusterResult.new()
	if _is_started:
		result.fail(MusterResult.BUSY, "the server is started already")
		return result
	_gate.max_players = clampi(max_players, 1, MAX_CONNECTIONS - SPARE_CONNECTIONS)
	result = listen()
	if not result.ok or not is_under_muster() or environment.is_stand_in:
		return result
	return await say_ready()


## Listens and sets the peer, and says nothing to Muster yet: for a server that has to load first.
## [method say_ready] comes then.
func listen() -> MusterResult:
	var result := MusterResult.new()
	var api := multiplayer_api
	if api == null:
		api = get_tree().get_multiplayer() as SceneMultiplayer
	if api == null:
		result.fail(MusterResult.INVALID_ARGUMENT, "the multiplayer API is no SceneMultiplayer")
		return result
	var connections := mini(_gate.max_players + SPARE_CONNECTIONS, MAX_CONNECTIONS)
	var enet_port := _port(MusterSettings.ENET_PORT_NAME, MusterSettings.ENET_PORT)
	var web_port := _port(MusterSettings.WEB_PORT_NAME, MusterSettings.WEB_PORT)
	if environment.is_stand_in:
		# The game's own server is elsewhere; here it has nobody to serve.
		_is_started = true
		@warning_ignore("missing_await")
		_stand_in(enet_port, web_port)
		return result
	var listening := Listening.new()
	listening.open(enet_port, web_port, connections)
	if not listening.ok:
		return listening
	_is_started = true
	if is_under_muster():
		listen_to_agent()
	_gate.agent = _agent if is_under_muster() else null
	_gate.takes_anyone = takes_anyone
	_gate.open(api)
	api.multiplayer_peer = listening.peer
	return result


## Says that players may come; health is told by itself from then on.
func say_ready(timeout_s := READY_TIMEOUT_S) -> MusterResult:
	if not is_under_muster():
		return _not_under_muster()
	if environment.is_stand_in:
		return MusterResult.new()
	listen_to_agent()
	return await _agent.ready_until(timeout_s)


## Begins to hear of match and drain, without listening to players: [method listen] does it by
## itself.
func listen_to_agent() -> void:
	_reach_agent()
	if not _events.is_listening():
		_events.listen(environment.sdk_url, environment.sdk_token)


## The player behind a peer, or [code]null[/code].
func player_of(peer_id: int) -> MusterPlayer:
	return _gate.player_of(peer_id)


## Everybody who is here.
func players() -> Array[MusterPlayer]:
	return _gate.players()


## Sends a player away for good; their seat is free for others at once.
func release(peer_id: int) -> void:
	_gate.release(peer_id)


## Says by hand that a seat is [code]connected[/code], [code]disconnected[/code] or
## [code]released[/code], for a game that has its own way of letting players in; [param proof] is
## [code]{"token": ...}[/code] or [code]{"seat": ...}[/code]. The answer's body has
## [code]seat[/code] and [code]player[/code].
func tell_seat(change: String, proof: Dictionary, timeout_s := CALL_TIMEOUT_S) -> MusterReply:
	if not is_under_muster():
		var refused := MusterReply.new()
		refused.fail_as(_not_under_muster())
		return refused
	_reach_agent()
	return await _agent.seat(change, proof, timeout_s)


## Frees the seat of a player who is not here and will not come.
func release_seat(seat_id: String) -> void:
	if is_under_muster():
		_reach_agent()
		_gate.close_seat(seat_id)
		_agent.gone(seat_id, true)


## The server as the agent sees it: [member MusterReply.body] is as of [code]GET /v1/server[/code].
func fetch_state(timeout_s := CALL_TIMEOUT_S) -> MusterReply:
	return await _call(HTTPClient.METHOD_GET, "/v1/server", {}, timeout_s)


## Where a player by UDP is: [param port] is the one that their packets come from, as
## [method ENetPacketPeer.get_remote_port] says it. The answer's [member MusterReply.body] has
## [code]address[/code], as their edge hears them from now; [code]not_found[/code]: they are gone.
func fetch_address(port: int, timeout_s := CALL_TIMEOUT_S) -> MusterReply:
	return await _call(HTTPClient.METHOD_GET, "/v1/players/%d" % port, {}, timeout_s)


## Lets others join the match while it has free seats; [param priority] is [code]low[/code],
## [code]normal[/code] or [code]high[/code].
func open_backfill(priority := "normal", timeout_s := CALL_TIMEOUT_S) -> MusterResult:
	return await _call(HTTPClient.METHOD_POST, "/v1/backfill", {"priority": priority}, timeout_s)


## Lets nobody join any more.
func close_backfill(timeout_s := CALL_TIMEOUT_S) -> MusterResult:
	return await _call(HTTPClient.METHOD_DELETE, "/v1/backfill", {}, timeout_s)


## Changes the lobby: any of [code]open[/code], [code]name[/code], [code]tags[/code],
## [code]config[/code] and [code]visibility[/code].
func change_lobby(change: Dictionary, timeout_s := CALL_TIMEOUT_S) -> MusterResult:
	return await _call(HTTPClient.METHOD_PUT, "/v1/lobby", change, timeout_s)


## Says that the server is done; the agent stops it then.
func say_shutdown(timeout_s := CALL_TIMEOUT_S) -> MusterResult:
	return await _call(HTTPClient.METHOD_POST, "/v1/shutdown", {}, timeout_s)


## Says that the server is done, and ends the process with [param exit_code].
func shutdown(exit_code := 0) -> void:
	if _is_shutting_down:
		return
	_is_shutting_down = true
	_gate.refuse_all()
	if is_under_muster():
		# Who was sent away is to hear from Muster that the seat is gone.
		await _agent.flush(CALL_TIMEOUT_S)
		await say_shutdown()
	_agent.stop()
	_events.stop()
	get_tree().quit(exit_code)


## Passes on to the server in the editor. The agent is spoken to first: a server that never speaks
## to it is ready once its ports listen, and this one is when the editor's says so.
func _stand_in(enet_port: int, web_port: int) -> void:
	var state := await fetch_state()
	while not state.ok:
		await get_tree().create_timer(STAND_IN_RETRY_S).timeout
		state = await fetch_state()
	var stand_in := StandIn.new()
	add_child(stand_in)
	var opened := stand_in.open(environment.node_host(), enet_port, web_port)
	if not opened.ok:
		push_error(opened.message)


func _port(name_setting: String, port_setting: String) -> int:
	if is_under_muster():
		return environment.port(MusterSettings.text(name_setting))
	return MusterSettings.integer(port_setting)


func _reach_agent() -> void:
	_agent.http.base_url = environment.sdk_url
	_agent.http.token = environment.sdk_token


func _call(
	method: HTTPClient.Method, path: String, body: Dictionary, timeout_s: float
) -> MusterReply:
	if not is_under_muster():
		var refused := MusterReply.new()
		refused.fail_as(_not_under_muster())
		return refused
	_reach_agent()
	return await _agent.http.call_api(method, path, body, timeout_s)


func _not_under_muster() -> MusterResult:
	var result := MusterResult.new()
	result.fail(
		MusterResult.NOT_UNDER_MUSTER,
		"this process does not run under Muster: MUSTER_SDK_URL and MUSTER_SERVER_TOKEN are not set"
	)
	return result


func _on_told(event: Dictionary) -> void:
	match Json.text(event, "type"):
		"state":
			_hear_of_match(MusterAllocation.from_json(Json.object(event, "allocation")))
			if Json.boolean(event, "draining"):
				_drain(Json.integer(event, "drain_deadline_ms"))
		"allocated":
			_hear_of_match(MusterAllocation.from_json(event))
		"draining":
			_drain(Json.integer(event, "deadline_ms"))


func _hear_of_match(told: MusterAllocation) -> void:
	if told == null:
		return
	var is_new := allocation == null or allocation.match_id != told.match_id
	allocation = told
	if is_new:
		match_allocated.emit(told)
	else:
		match_changed.emit(told)


func _drain(deadline_ms: int) -> void:
	if is_draining:
		return
	is_draining = true
	drain_requested.emit(deadline_ms)
	_quit_if_done()


func _on_left(player: MusterPlayer) -> void:
	player_left.emit(player)
	_quit_if_done()


## A server that drains has no reason to stay once nobody is on it.
func _quit_if_done() -> void:
	if (
		is_draining
		and _is_started
		and players().is_empty()
		and MusterSettings.boolean(MusterSettings.QUIT_WHEN_DRAINED)
	):
		@warning_ignore("missing_await")
		shutdown()
