extends RefCounted
## A router between a client and an edge, which can give the client another port, as routers do when
## they have forgotten it. On a thread of its own, so that it waits for no frame.

## Pause between two looks, in microseconds.
const LOOK_EVERY_USEC := 200

## The port that the client sends to.
var port := 0

var _client := PacketPeerUDP.new()
var _host := ""
var _edge_port := 0
var _thread := Thread.new()
var _lock := Mutex.new()
var _is_to_change := false
var _is_over := false


## Stands before the edge at [param host].
func open(host: String, edge_port: int) -> void:
	_client.bind(0, "127.0.0.1")
	port = _client.get_local_port()
	_host = host
	_edge_port = edge_port
	_thread.start(_run)


## From now on the edge sees another port. What it sends to the old one reaches nobody.
func change_port() -> void:
	_lock.lock()
	_is_to_change = true
	_lock.unlock()


func close() -> void:
	_lock.lock()
	_is_over = true
	_lock.unlock()
	_thread.wait_to_finish()


func _run() -> void:
	var edge := _socket()
	var client_port := 0
	while true:
		_lock.lock()
		var is_to_change := _is_to_change
		var is_over := _is_over
		_is_to_change = false
		_lock.unlock()
		if is_over:
			return
		if is_to_change:
			edge.close()
			edge = _socket()
		while _client.get_available_packet_count() > 0:
			var packet := _client.get_packet()
			if _client.get_packet_port() != client_port:
				client_port = _client.get_packet_port()
				_client.set_dest_address(_client.get_packet_ip(), client_port)
			edge.put_packet(packet)
		while edge.get_available_packet_count() > 0:
			_client.put_packet(edge.get_packet())
		OS.delay_usec(LOOK_EVERY_USEC)


func _socket() -> PacketPeerUDP:
	var socket := PacketPeerUDP.new()
	socket.connect_to_host(_host, _edge_port)
	return socket
