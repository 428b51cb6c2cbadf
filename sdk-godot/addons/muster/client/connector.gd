extends Node
## Opens the way to a seat: chooses the transport, proves the seat, sets the peer, and waits until
## the game server has let the player in.

## As the setting [code]muster/client/transport[/code] has it.
enum Choice { AUTOMATIC, ENET, WEBSOCKET }

const Deadline := preload("../core/clock.gd")
const EdgeDoor := preload("edge_door.gd")
const Admission := preload("admission.gd")
const WebRefusal := preload("web_refusal.gd")

## After which no other way is tried.
const FINAL: Array[String] = [
	MusterResult.SERVER_FULL, MusterResult.JOIN_REFUSED, MusterResult.CLOSED
]
## Seconds without an answer of any edge after which UDP counts as blocked, where there is another
## way.
const UDP_PATIENCE_S := 2.0
## Seconds for ENet's or WebSocket's own handshake and the game server's answer.
const JOIN_TIMEOUT_S := 5.0
## Seconds between two pings of a WebSocket; one that is not answered by the next ends it. The
## system finds a way that died in silence after minutes. Of Godot 4.5; not on the Web.
const WEB_HEARTBEAT_S := 5.0
## Times another local port is tried if somebody took ours between two sockets.
const MAX_PORTS := 3

var http: MusterHttp = null
var web_heartbeat_s := WEB_HEARTBEAT_S
var door: EdgeDoor = null
var admission: Admission = null

## Goes up with each attempt, so that one that was overtaken lets go of the API.
var _run := 0


func _init() -> void:
	door = EdgeDoor.new()
	admission = Admission.new()
	add_child(door)
	add_child(admission)


## Connects [param api] to the seat. Edges of [param avoided] are tried last.
func open(
	assignment: MusterAssignment,
	api: SceneMultiplayer,
	choice: Choice,
	avoided: String,
	deadline: Deadline
) -> MusterConnection:
	_run += 1
	var run := _run
	var enet := _of(assignment, MusterEndpoint.Protocol.UDP, avoided)
	var web := _of(assignment, MusterEndpoint.Protocol.WS, avoided)
	if choice == Choice.WEBSOCKET or not has_udp():
		enet.clear()
	if choice == Choice.ENET:
		web.clear()
	var connection := MusterConnection.new()
	if enet.is_empty() and web.is_empty():
		connection.fail(
			MusterResult.NO_ENDPOINT,
			"the fleet has no port that this client can use: udp for ENet, ws for WebSocket"
		)
	if not enet.is_empty():
		var patience_s := deadline.left_s() if web.is_empty() else UDP_PATIENCE_S
		connection = await _open_enet(enet, api, patience_s, deadline)
		# Who was turned away is so by every way.
		if connection.ok or web.is_empty() or connection.code in FINAL:
			return connection
	for endpoint in web:
		if deadline.is_over() or run != _run:
			break
		connection = await _open_web(endpoint, api, deadline)
		if (
			connection.ok
			or connection.code in [MusterResult.SERVER_FULL, MusterResult.JOIN_REFUSED]
		):
			break
	return connection


## Lets an attempt that is under way come to nothing.
func cancel() -> void:
	_run += 1
	admission.end()


## Whether this platform has sockets.
static func has_udp() -> bool:
	return not OS.has_feature("web")


## The endpoints of a protocol, those of the edge to avoid last.
static func _of(
	assignment: MusterAssignment, protocol: MusterEndpoint.Protocol, avoided: String
) -> Array[MusterEndpoint]:
	var first: Array[MusterEndpoint] = []
	var last: Array[MusterEndpoint] = []
	for endpoint in assignment.endpoints:
		if endpoint.protocol == protocol:
			if endpoint.host == avoided:
				last.append(endpoint)
			else:
				first.append(endpoint)
	first.append_array(last)
	return first


func _open_enet(
	endpoints: Array[MusterEndpoint], api: SceneMultiplayer, patience_s: float, deadline: Deadline
) -> MusterConnection:
	var connection := MusterConnection.new()
	connection.transport = MusterConnection.Transport.ENET
	var run := _run
	for attempt in MAX_PORTS:
		var patience := Deadline.new(minf(patience_s, deadline.left_s()))
		var passage := await _pass(endpoints, patience)
		if run != _run:
			_give_way(connection)
			return connection
		if not passage.ok:
			connection.fail_as(passage)
			return connection
		connection.endpoint = passage.endpoint
		var peer := ENetMultiplayerPeer.new()
		var error := peer.create_client(
			passage.address, passage.endpoint.port, 0, 0, 0, passage.local_port
		)
		if error == OK:
			connection.peer = peer
			break
		connection.fail(
			MusterResult.UNREACHABLE, "ENet cannot open a socket: %s" % error_string(error)
		)
	if connection.peer != null:
		connection.ok = true
		await _join(connection, api, deadline)
	return connection


## By which edge to go. Ports that are open to anyone want no proof, and do not say whether the edge
## is there.
func _pass(endpoints: Array[MusterEndpoint], patience: Deadline) -> EdgeDoor.Passage:
	var first := endpoints[0]
	if first.token != "":
		return await door.prove(endpoints, patience)
	var passage := EdgeDoor.Passage.new()
	passage.endpoint = first
	passage.address = await door.resolve(first.host, patience)
	if passage.address == "":
		passage.fail(
			MusterResult.UNREACHABLE, "there is no host %s; check the network" % first.host
		)
	return passage


func _open_web(
	endpoint: MusterEndpoint, api: SceneMultiplayer, deadline: Deadline
) -> MusterConnection:
	var connection := MusterConnection.new()
	connection.transport = MusterConnection.Transport.WEBSOCKET
	connection.endpoint = endpoint
	var peer := WebSocketMultiplayerPeer.new()
	# The defaults of 64 KiB would end a connection that the game sends a lot on.
	peer.inbound_buffer_size = 1024 * 1024
	peer.outbound_buffer_size = 1024 * 1024
	var tls: TLSOptions = (
		TLSOptions.client(http.authority) if endpoint.url.begins_with("wss:") else null
	)
	var error := peer.create_client(endpoint.url, tls)
	if error != OK:
		connection.fail(
			MusterResult.UNREACHABLE,
			"a WebSocket to %s cannot be opened: %s" % [endpoint.host, error_string(error)]
		)
		return connection
	connection.peer = peer
	await _join(connection, api, deadline)
	if connection.ok:
		# By its name, which engines before it do not know.
		peer.get_peer(MultiplayerPeer.TARGET_PEER_SERVER).set("heartbeat_interval", web_heartbeat_s)
	if connection.code == MusterResult.CONNECTION_LOST:
		await WebRefusal.explain(connection, endpoint.url, self, http.authority)
	return connection


## Sets the peer, and waits until the server has let the player in.
func _join(connection: MusterConnection, api: SceneMultiplayer, deadline: Deadline) -> void:
	var run := _run
	admission.begin(api, connection.endpoint.token)
	api.multiplayer_peer = connection.peer
	var patience := Deadline.new(minf(JOIN_TIMEOUT_S, deadline.left_s()))
	await patience.until(
		get_tree(),
		func() -> bool: return admission.is_in or not admission.verdict.ok or run != _run
	)
	if run != _run:
		# Another attempt has the API now.
		connection.peer.close()
		_give_way(connection)
		return
	admission.end()
	connection.seat_id = admission.seat_id
	if admission.is_in:
		return
	if admission.verdict.ok:
		connection.fail(
			MusterResult.TIMEOUT,
			"the game server does not answer. Does it use this addon, too, and listen on the port?"
		)
	else:
		connection.fail_as(admission.verdict)
	if api.multiplayer_peer == connection.peer:
		api.multiplayer_peer = OfflineMultiplayerPeer.new()
	connection.peer.close()


static func _give_way(connection: MusterConnection) -> void:
	connection.fail(MusterResult.CLOSED, "the connection was closed while it was being made")
