# gdlint: disable=max-public-methods
class_name MusterClient
extends Node
## A game client's side of Muster: find a match, connect to it, stay connected.
##
## [codeblock]
## var request := MusterMatchRequest.new("quick", "ann")
## var joined := await Muster.client.play(request)
## if not joined.ok:
##     print(joined.message)
## [/codeblock]
## [method play] does it all; [method find_match] and [method connect_to_match] are its two halves.
## Each call ends within its time with a [MusterResult]. What comes unasked is a signal.[br][br] A
## connection that is lost is taken up again by itself, on the same seat, by another edge if need
## be. The multiplayer API has a new peer then, so that [signal MultiplayerAPI.server_disconnected]
## may be emitted though all goes on: use [signal connection_lost], [signal connection_regained] and
## [signal connection_ended] instead.

## The ticket has another state or another [member MusterTicket.explanation].
signal ticket_progressed(ticket: MusterTicket)
## The connection is gone; it is being tried again.
signal connection_lost(why: MusterResult)
## It stands again: another peer, the same seat.
signal connection_regained(connection: MusterConnection)
## It is over and will not come back by itself.
signal connection_ended(why: MusterResult)

const Json := preload("../core/json.gd")
const Deadline := preload("../core/clock.gd")
const TicketWatch := preload("ticket_watch.gd")
const Connector := preload("connector.gd")
const Keeper := preload("keeper.gd")
const BeaconProbe := preload("beacon_probe.gd")
const Memory := preload("memory.gd")

## Seconds for a match to be found, if nothing else is said.
const MATCH_TIMEOUT_S := 120.0
## Seconds for connecting.
const CONNECT_TIMEOUT_S := 15.0
## Seconds for measuring.
const MEASURE_TIMEOUT_S := 1.0

## The API that peers are set on; by default that of the scene tree.
var multiplayer_api: SceneMultiplayer = null
## The ticket of the match that is played, or [code]null[/code].
var ticket: MusterTicket = null
## How the calls reach the orchestrator.
var http: MusterHttp = null

var _connector: Connector = null
var _keeper: Keeper = null
var _memory := Memory.new()
var _configuration := MusterResult.new()
var _is_connecting := false


func _init() -> void:
	# A paused game still has its connection; so have all parts, which inherit this.
	process_mode = Node.PROCESS_MODE_ALWAYS
	http = MusterHttp.new()
	add_child(http)
	_connector = Connector.new()
	_connector.http = http
	add_child(_connector)
	_keeper = Keeper.new()
	_keeper.connector = _connector
	add_child(_keeper)
	_keeper.lost.connect(connection_lost.emit)
	_keeper.regained.connect(connection_regained.emit)
	_keeper.ended.connect(connection_ended.emit)


func _ready() -> void:
	if http.base_url == "":
		configure(
			MusterSettings.text(MusterSettings.URL), MusterSettings.text(MusterSettings.TOKEN)
		)


## Says which orchestrator to talk to, with which token, and which CA to trust ([code]""[/code]: as
## the settings say). Without a call of this the Project Settings hold.
func configure(url: String, token: String, ca_pem := "") -> MusterResult:
	_configuration = MusterResult.new()
	http.base_url = url.strip_edges().trim_suffix("/")
	http.token = token.strip_edges()
	http.authority = null
	if not (http.base_url.begins_with("http://") or http.base_url.begins_with("https://")):
		_configuration.fail(
			MusterResult.INVALID_ARGUMENT,
			"the URL is %s; give it as http://host:port or https://host:port" % JSON.stringify(url)
		)
		return _configuration
	var file := MusterSettings.text(MusterSettings.CA)
	if ca_pem != "" or file != "":
		var authority := X509Certificate.new()
		var error := authority.load_from_string(ca_pem) if ca_pem != "" else authority.load(file)
		if error == OK:
			http.authority = authority
		else:
			_configuration.fail(
				MusterResult.INVALID_ARGUMENT,
				(
					"the CA %s is no PEM certificate; Muster's own is at %s/v1/ca.pem"
					% [file if ca_pem == "" else "that was given", http.base_url]
				)
			)
	return _configuration


## The regions there are.
func fetch_regions(timeout_s := 0.0) -> MusterRegionList:
	var list := MusterRegionList.new()
	var reply := await fetch("/v1/regions", timeout_s)
	if reply.ok:
		list.read(reply.body)
		if not reply.body.get("items") is Array:
			list.fail(MusterResult.BAD_ANSWER, "the list of regions is no list")
	else:
		list.fail_as(reply)
	return list


## Measures the round trip to each region against its edges' beacons. A region that does not answer
## is left out, and so are all of them on the Web, which has no UDP.
func measure_latencies(timeout_s := MEASURE_TIMEOUT_S) -> MusterLatencies:
	var latencies := MusterLatencies.new()
	var list := await fetch_regions()
	if not list.ok:
		latencies.fail_as(list)
		return latencies
	var targets: Array[BeaconProbe.Target] = []
	for region in list.regions:
		latencies.regions.append(region.name)
		for beacon in region.beacons:
			var target := BeaconProbe.Target.new()
			target.region = region.name
			target.host = Json.text(beacon, "host")
			target.port = Json.integer(beacon, "port")
			if targets.size() < BeaconProbe.MAX_BEACONS and target.port in range(1, 65_536):
				targets.append(target)
	if targets.is_empty() or not Connector.has_udp():
		return latencies
	var probe := BeaconProbe.new()
	var task := WorkerThreadPool.add_task(
		probe.run.bind(targets, timeout_s), true, "Muster: latency of regions"
	)
	# A name server may hold the thread longer than the beacons do.
	await Deadline.new(timeout_s + _call_timeout_s(0.0)).until(
		get_tree(), func() -> bool: return WorkerThreadPool.is_task_completed(task)
	)
	if not WorkerThreadPool.is_task_completed(task):
		latencies.fail(MusterResult.TIMEOUT, "the names of the edges were not resolved in time")
		return latencies
	WorkerThreadPool.wait_for_task_completion(task)
	for region: String in probe.best_usec:
		var best_usec: int = probe.best_usec[region]
		latencies.by_region[region] = ceili(best_usec / 1000.0)
	return latencies


## Asks for a match, and does not wait for it.
func request_match(request: MusterMatchRequest, timeout_s := 0.0) -> MusterTicket:
	if request.queue == "" or request.player == "":
		return _refuse_ticket("a request for a match names a queue and a player")
	var body := request.to_json()
	prepare(body, request.player)
	return await post_ticket("/v1/tickets", body, request.player, timeout_s)


## Asks for a match and waits for it; the regions are measured first, unless the request says how
## far they are. If the time is over, the ticket is withdrawn.
func find_match(request: MusterMatchRequest, timeout_s := MATCH_TIMEOUT_S) -> MusterTicket:
	var deadline := Deadline.new(timeout_s)
	if request.latencies_ms.is_empty():
		# Who cannot measure is taken to be near to all.
		request.latencies_ms = (await measure_latencies()).by_region
	var found := await request_match(request)
	if not found.ok:
		return found
	await wait_for_match(found, deadline.left_s())
	if found.code == MusterResult.TIMEOUT:
		await cancel(found)
	return found


## Waits until the ticket is over: with a seat if all is well. Meanwhile [signal ticket_progressed]
## tells what it waits for. The ticket given is the one that is returned.
func wait_for_match(waiting: MusterTicket, timeout_s := MATCH_TIMEOUT_S) -> MusterTicket:
	if not waiting.ok or waiting.id == "":
		return waiting
	var watch := TicketWatch.new()
	watch.http = http
	watch.call_timeout_s = _call_timeout_s(0.0)
	add_child(watch)
	await watch.follow(waiting, timeout_s, func() -> void: ticket_progressed.emit(waiting))
	watch.queue_free()
	return waiting


## The ticket as it is now.
func read_ticket(known: MusterTicket, timeout_s := 0.0) -> MusterTicket:
	return await _call_ticket(known, HTTPClient.METHOD_GET, "", timeout_s)


## Withdraws the ticket. Once it is assigned, that is leaving the match for good.
func cancel(known: MusterTicket, timeout_s := 0.0) -> MusterResult:
	var reply := await _on_ticket(known, HTTPClient.METHOD_DELETE, "", timeout_s)
	_memory.forget(http.base_url, known.player)
	return reply


## Accepts the match that was found ([member MusterTicket.accept_by_ms]).
func accept_match(known: MusterTicket, timeout_s := 0.0) -> MusterTicket:
	return await _call_ticket(known, HTTPClient.METHOD_POST, "/accept", timeout_s)


## Declines it; the ticket is cancelled.
func decline_match(known: MusterTicket, timeout_s := 0.0) -> MusterTicket:
	return await _call_ticket(known, HTTPClient.METHOD_POST, "/decline", timeout_s)


## Why a ticket is not matched, at length: [member MusterReply.body] is as the API gives it.
func explain_ticket(known: MusterTicket, timeout_s := 0.0) -> MusterReply:
	return await _on_ticket(known, HTTPClient.METHOD_GET, "/explain", timeout_s)


## Connects to the match of an assigned ticket, by ENet where UDP can be and by WebSocket else, and
## sets the peer on [member multiplayer_api]. The server is asked whether the player is let in, so
## both sides use this addon.
func connect_to_match(assigned: MusterTicket, timeout_s := CONNECT_TIMEOUT_S) -> MusterConnection:
	if not assigned.ok or assigned.assignment == null:
		var refused := MusterConnection.new()
		refused.fail_as(assigned)
		if assigned.ok:
			refused.fail(MusterResult.CLOSED, "the ticket has no match; wait for it first")
		return refused
	var deadline := Deadline.new(timeout_s)
	var connection := await connect_to_seat(assigned.assignment, timeout_s, assigned)
	if connection.code in [MusterResult.REFUSED_EXPIRED, MusterResult.REFUSED_UNTRUSTED]:
		# The ticket may have lain for longer than its tokens live; read anew it has new ones.
		var fresh := await read_ticket(assigned, minf(_call_timeout_s(0.0), deadline.left_s()))
		if fresh.ok and fresh.assignment != null:
			assigned = fresh
			connection = await connect_to_seat(fresh.assignment, deadline.left_s(), fresh)
	if connection.ok:
		ticket = assigned
	return connection


## The same by an assignment alone, as a player has it who came along in a party ([method
## MusterAssignment.from_text]). Without the ticket the seat is only had again while the session
## token is valid.
func connect_to_seat(
	assignment: MusterAssignment, timeout_s := CONNECT_TIMEOUT_S, by: MusterTicket = null
) -> MusterConnection:
	var connection := MusterConnection.new()
	if _is_connecting:
		connection.fail(MusterResult.BUSY, "a connection is being made already")
		return connection
	var api := multiplayer_api
	if api == null:
		api = get_tree().get_multiplayer() as SceneMultiplayer
	if api == null:
		connection.fail(MusterResult.INVALID_ARGUMENT, "the multiplayer API is no SceneMultiplayer")
		return connection
	_keeper.end()
	_is_connecting = true
	var deadline := Deadline.new(timeout_s)
	_keeper.choice = MusterSettings.integer(MusterSettings.TRANSPORT) as Connector.Choice
	connection = await _connector.open(assignment, api, _keeper.choice, "", deadline)
	_is_connecting = false
	if connection.ok:
		_keeper.call_timeout_s = _call_timeout_s(0.0)
		_keeper.rejoin_s = MusterSettings.number(MusterSettings.REJOIN)
		_keeper.begin(connection, api, assignment, by)
	return connection


## Finds a match and connects to it.
func play(request: MusterMatchRequest, timeout_s := MATCH_TIMEOUT_S) -> MusterConnection:
	return await connect_to_match(await find_match(request, timeout_s))


## Leaves the match for good: the connection is closed, and the seat is free for others.
func leave(timeout_s := 0.0) -> MusterResult:
	close_connection()
	var left := ticket
	ticket = null
	if left == null:
		var result := MusterResult.new()
		result.fail(MusterResult.CLOSED, "there is no match to leave")
		return result
	return await cancel(left, timeout_s)


## Closes the connection; the seat is kept for a while, as for one who dropped out.
func close_connection() -> void:
	var connection := _keeper.connection
	_keeper.end()
	if connection == null:
		return
	connection.peer.close()


## What is connected now, or [code]null[/code].
func get_connection() -> MusterConnection:
	return _keeper.connection


## Whether RPCs reach the game server now: connected, let in, and not being taken up again.
func is_in_match() -> bool:
	return _keeper.is_up()


# What follows is shared with MusterLobbies.


## Reads from the API, in the time of the settings if [param timeout_s] is 0.
func fetch(path: String, timeout_s := 0.0) -> MusterReply:
	if not _configuration.ok:
		var refused := MusterReply.new()
		refused.fail_as(_configuration)
		return refused
	return await http.fetch(path, _call_timeout_s(timeout_s))


## Adds what makes a request safe to send twice, and what shows that a seat is the player's.
func prepare(body: Dictionary, player: String) -> void:
	if not body.has("idempotency_key"):
		body["idempotency_key"] = Crypto.new().generate_random_bytes(16).hex_encode()
	var remembered := _memory.token_of(http.base_url, player)
	if remembered != "" and not body.has("previous_tokens"):
		body["previous_tokens"] = [remembered]


## Makes a ticket by a call whose answer is one.
func post_ticket(path: String, body: Dictionary, player: String, timeout_s: float) -> MusterTicket:
	if not _configuration.ok:
		return _refuse_ticket(_configuration.message)
	var made := MusterTicket.new()
	var reply := await http.send(path, body, _call_timeout_s(timeout_s))
	if reply.code == "invalid_request" and "previous_tokens" in reply.message:
		# An orchestrator older than this field, which knows players by their names.
		body.erase("previous_tokens")
		reply = await http.send(path, body, _call_timeout_s(timeout_s))
	if not reply.ok:
		made.fail_as(reply)
	elif made.read(reply.body):
		_memory.remember(http.base_url, player, made.token)
		made.judge()
	else:
		made.fail(MusterResult.BAD_ANSWER, "the answer of %s is no ticket" % path)
	return made


func _refuse_ticket(message: String) -> MusterTicket:
	var refused := MusterTicket.new()
	refused.fail(MusterResult.INVALID_ARGUMENT, message)
	return refused


func _call_ticket(
	known: MusterTicket, method: HTTPClient.Method, suffix: String, timeout_s: float
) -> MusterTicket:
	var answer := known.copy()
	var reply := await _on_ticket(known, method, suffix, timeout_s)
	if not reply.ok:
		answer.fail_as(reply)
	elif not answer.read(reply.body):
		answer.fail(MusterResult.BAD_ANSWER, "the answer about the ticket is no ticket")
	return answer


func _on_ticket(
	known: MusterTicket, method: HTTPClient.Method, suffix: String, timeout_s: float
) -> MusterReply:
	if known.id == "":
		var refused := MusterReply.new()
		refused.fail(MusterResult.CLOSED, "there is no ticket")
		return refused
	var path := "/v1/tickets/%s%s" % [known.id.uri_encode(), suffix]
	return await http.call_api(method, path, {}, _call_timeout_s(timeout_s), known.token)


func _call_timeout_s(given: float) -> float:
	return given if given > 0.0 else maxf(MusterSettings.number(MusterSettings.CALL_TIMEOUT), 0.1)
