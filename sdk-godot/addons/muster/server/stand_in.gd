extends Node
## Stands in a container for a server that runs in a developer's editor: passes on what players
## send to the container's ports, and back. It says nothing to Muster, which the server in the
## editor does with the container's own variables.
##
## For a machine of one's own alone: whoever develops sits beside the node.

## Players by UDP, and connections, at a time.
const MAX_PLAYERS := 64
## Milliseconds of silence after which a player by UDP is forgotten.
const IDLE_MS := 60_000
## Looks a second at the sockets. A frame of a game would be felt.
const LOOKS := 500
## Bytes that are read from a connection at once, and that wait for the other side.
const CHUNK_BYTES := 64 * 1024
const MAX_WAITING_BYTES := 1024 * 1024

var _host := ""
var _udp: UDPServer = null
var _udp_port := 0
var _tcp: TCPServer = null
var _tcp_port := 0
var _players: Array[Player] = []
var _pipes: Array[Pipe] = []


## One who plays by UDP. The server tells them apart by the ports that they come from, so each has
## one.
class Player:
	extends RefCounted
	var outside: PacketPeerUDP = null
	var inside := PacketPeerUDP.new()
	var heard_ms := 0

	func pass_on(now_ms: int) -> void:
		for pair: Array in [[outside, inside], [inside, outside]]:
			var from: PacketPeerUDP = pair[0]
			var to: PacketPeerUDP = pair[1]
			while from.get_available_packet_count() > 0:
				to.put_packet(from.get_packet())
				heard_ms = now_ms


## A connection, as it came and as it goes on.
class Pipe:
	extends RefCounted
	var ends: Array[StreamPeerTCP] = []
	## What waits for each end.
	var waiting: Array[PackedByteArray] = [PackedByteArray(), PackedByteArray()]
	var is_over := false

	func pass_on() -> void:
		for end in ends:
			end.poll()
		for index in 2:
			_read(ends[index], 1 - index)
			_write(ends[index], index)

	func _read(from: StreamPeerTCP, to: int) -> void:
		var status := from.get_status()
		if status == StreamPeerTCP.STATUS_ERROR or status == StreamPeerTCP.STATUS_NONE:
			is_over = is_over or waiting[to].is_empty()
			return
		var bytes := mini(from.get_available_bytes(), CHUNK_BYTES)
		if status != StreamPeerTCP.STATUS_CONNECTED or bytes <= 0:
			return
		# The sender's system waits, too, while the other side takes nothing.
		if waiting[to].size() < MAX_WAITING_BYTES:
			var read: PackedByteArray = from.get_data(bytes)[1]
			waiting[to].append_array(read)

	func _write(to: StreamPeerTCP, index: int) -> void:
		if to.get_status() == StreamPeerTCP.STATUS_CONNECTED and not waiting[index].is_empty():
			var sent: int = to.put_partial_data(waiting[index])[1]
			waiting[index] = waiting[index].slice(sent)


## Listens on the ports that are not 0, and passes on to [param host], to the same ports unless
## others are given.
func open(
	host: String, udp_port: int, tcp_port: int, to_udp_port := udp_port, to_tcp_port := tcp_port
) -> MusterResult:
	var result := MusterResult.new()
	_host = host
	_udp_port = to_udp_port
	_tcp_port = to_tcp_port
	if udp_port > 0:
		_udp = UDPServer.new()
		_udp.max_pending_connections = MAX_PLAYERS
		_note(result, _udp.listen(udp_port), "UDP port %d" % udp_port)
	if tcp_port > 0:
		_tcp = TCPServer.new()
		_note(result, _tcp.listen(tcp_port), "TCP port %d" % tcp_port)
	Engine.max_fps = LOOKS
	OS.low_processor_usage_mode_sleep_usec = roundi(1_000_000.0 / LOOKS)
	return result


static func _note(result: MusterResult, error: Error, what: String) -> void:
	if error != OK:
		result.fail(
			MusterResult.CANNOT_LISTEN, "cannot listen on %s: %s" % [what, error_string(error)]
		)


func _process(_delta: float) -> void:
	if _udp != null:
		_pass_udp(Time.get_ticks_msec())
	if _tcp != null:
		_pass_tcp()


func _pass_udp(now_ms: int) -> void:
	_udp.poll()
	while _udp.is_connection_available():
		var player := Player.new()
		player.outside = _udp.take_connection()
		player.heard_ms = now_ms
		if _players.size() < MAX_PLAYERS and player.inside.connect_to_host(_host, _udp_port) == OK:
			_players.append(player)
	for player in _players:
		player.pass_on(now_ms)
	_players = _players.filter(
		func(player: Player) -> bool: return now_ms - player.heard_ms < IDLE_MS
	)


func _pass_tcp() -> void:
	while _tcp.is_connection_available():
		var pipe := Pipe.new()
		var inside := StreamPeerTCP.new()
		pipe.ends = [_tcp.take_connection(), inside]
		if _pipes.size() < MAX_PLAYERS and inside.connect_to_host(_host, _tcp_port) == OK:
			_pipes.append(pipe)
	for pipe in _pipes:
		pipe.pass_on()
	_pipes = _pipes.filter(func(pipe: Pipe) -> bool: return not pipe.is_over)
