extends Node
## Keeps a connection: notices that it is lost, and takes the seat again, by another edge if need
## be.

## The connection is gone and will be tried again.
signal lost(why: MusterResult)
## It stands again, with another peer.
signal regained(connection: MusterConnection)
## It is over: the server closed it, or it could not be had again.
signal ended(why: MusterResult)

const Deadline := preload("../core/clock.gd")
const Connector := preload("connector.gd")
const LinkWatch := preload("link_watch.gd")
const Preface := preload("../protocol/preface.gd")

## Pause between two rounds of tries, in seconds.
const ROUND_PAUSE_S := 0.5
## Seconds that the news of a seat that was given up takes.
const NEWS_PAUSE_S := 0.3
## Seconds for one round over all edges.
const ROUND_TIMEOUT_S := 8.0
## Tokens that were read longer ago are read anew before they are shown; they live for ten minutes.
const FRESH_MS := 5 * 60 * 1000

var connector: Connector = null
var call_timeout_s := 5.0
## Seconds for which a lost connection is tried again; 0: not at all.
var rejoin_s := 30.0
var choice := Connector.Choice.AUTOMATIC

## What is kept; [code]null[/code] if nothing is.
var connection: MusterConnection = null

var _api: SceneMultiplayer = null
var _assignment: MusterAssignment = null
var _ticket: MusterTicket = null
var _read_ms := 0
var _watch: LinkWatch = null
var _is_watching := false
var _is_lost := false
## Whether the other side closed it, instead of saying nothing any more.
var _is_closed_there := false
var _preface := PackedByteArray()
## Goes up with each begin and end, so that a rejoin that was overtaken finds out.
var _generation := 0


## From now on keeps [param kept]. Without a ticket the tokens cannot be read anew.
func begin(
	kept: MusterConnection,
	api: SceneMultiplayer,
	assignment: MusterAssignment,
	ticket: MusterTicket
) -> void:
	end()
	_assignment = assignment
	_ticket = ticket
	_read_ms = Time.get_ticks_msec()
	_hold(kept, api)


## Lets go. The peer is the caller's.
func end() -> void:
	_generation += 1
	_is_watching = false
	connector.cancel()
	if _api != null and _api.server_disconnected.is_connected(_on_server_disconnected):
		_api.server_disconnected.disconnect(_on_server_disconnected)
	_api = null
	connection = null
	_ticket = null
	_assignment = null


## Whether what is kept stands.
func is_up() -> bool:
	return connection != null and not _is_lost


func _hold(kept: MusterConnection, api: SceneMultiplayer) -> void:
	connection = kept
	_is_lost = false
	_is_closed_there = false
	_api = api
	if not api.server_disconnected.is_connected(_on_server_disconnected):
		api.server_disconnected.connect(_on_server_disconnected)
	_watch = LinkWatch.new()
	_preface = Preface.encode(kept.endpoint.token)
	# Only a port that wants a token answers prefaces, so only there silence says something.
	_is_watching = kept.peer is ENetMultiplayerPeer and not _preface.is_empty()


func _process(_delta: float) -> void:
	if not _is_watching:
		return
	var peer := connection.peer as ENetMultiplayerPeer
	if peer == null or peer.host == null:
		return
	var packets := int(peer.host.pop_statistic(ENetConnection.HOST_TOTAL_RECEIVED_PACKETS))
	match _watch.look(Time.get_ticks_msec(), packets):
		LinkWatch.Action.PROVE:
			var server := peer.get_peer(MultiplayerPeer.TARGET_PEER_SERVER)
			if server != null:
				peer.host.socket_send(
					server.get_remote_address(), server.get_remote_port(), _preface
				)
		LinkWatch.Action.LOST:
			_lose("the edge %s does not answer any more" % connection.endpoint.host)


func _on_server_disconnected() -> void:
	if not _is_lost:
		_is_closed_there = true
	_lose("the game server, or the way to it, closed the connection")


func _lose(message: String) -> void:
	# The peer that is given up for another says so, too.
	if _is_lost:
		return
	var why := MusterResult.new()
	why.fail(MusterResult.CONNECTION_LOST, message)
	_is_watching = false
	_is_lost = true
	if rejoin_s <= 0.0:
		end()
		ended.emit(why)
		return
	lost.emit(why)
	@warning_ignore("missing_await")
	_rejoin(_generation)


func _rejoin(generation: int) -> void:
	var deadline := Deadline.new(rejoin_s)
	var avoided := connection.endpoint.host
	if connection.peer.get_connection_status() != MultiplayerPeer.CONNECTION_DISCONNECTED:
		connection.peer.close()
	var why := MusterResult.new()
	why.fail(MusterResult.CONNECTION_LOST, "the seat could not be taken again")
	# Who was sent away has no seat any more, which the ticket says in a moment. Else the first
	# round goes without the orchestrator, which may be away or slow.
	var is_first := not _is_closed_there and Time.get_ticks_msec() - _read_ms < FRESH_MS
	if _is_closed_there:
		await deadline.pause(get_tree(), NEWS_PAUSE_S)
	while generation == _generation and not deadline.is_over():
		if not is_first:
			var is_theirs := await _read_ticket(deadline)
			if generation != _generation:
				return
			if not is_theirs.ok:
				why = is_theirs
				break
		is_first = false
		var round_by := Deadline.new(minf(ROUND_TIMEOUT_S, deadline.left_s()))
		var again := await connector.open(_assignment, _api, choice, avoided, round_by)
		if generation != _generation:
			# Somebody closed it meanwhile, and wants no peer any more.
			if again.ok:
				again.peer.close()
			return
		if again.ok:
			_hold(again, _api)
			regained.emit(again)
			return
		why = again
		if why.code == MusterResult.JOIN_REFUSED:
			break
		avoided = ""
		await deadline.pause(get_tree(), ROUND_PAUSE_S)
	if generation == _generation:
		end()
		ended.emit(why)


## Whether the seat is still the player's, with new tokens. While the orchestrator is away the old
## ones are all there is, and the edges know them.
func _read_ticket(deadline: Deadline) -> MusterResult:
	var result := MusterResult.new()
	var ticket := _ticket
	if ticket == null:
		return result
	var timeout_s := minf(call_timeout_s, deadline.left_s())
	var reply := await connector.http.fetch(
		"/v1/tickets/" + ticket.id.uri_encode(), timeout_s, ticket.token
	)
	if not reply.ok:
		if reply.status >= 400 and reply.status < 500 and reply.status != 429:
			result.fail_as(reply)
		return result
	var fresh := ticket.copy()
	if not fresh.read(reply.body):
		return result
	fresh.judge()
	if not fresh.ok:
		result.fail_as(fresh)
	elif fresh.assignment == null:
		return result
	elif fresh.assignment.endpoints.is_empty():
		result.fail(MusterResult.CLOSED, "the match is over: its server is gone")
	elif ticket == _ticket:
		_assignment = fresh.assignment
		_read_ms = Time.get_ticks_msec()
	return result
