extends Node
## An edge for one seat: answers prefaces, and passes packets on from whoever proved the seat last,
## always from the same address, as the real one and its agent do.

const Preface := preload("../addons/muster/protocol/preface.gd")

## How many prefaces were answered.
var proofs := 0

var _front := PacketPeerUDP.new()
var _back := PacketPeerUDP.new()
var _client_ip := ""
var _client_port := 0


func open(address: String, port: int, server_port: int) -> void:
	var bound := _front.bind(port, address)
	assert(bound == OK)
	_back.connect_to_host("127.0.0.1", server_port)


## Forgets who has proven the seat, as an edge that was started anew.
func forget() -> void:
	_client_port = 0


## Is gone, and says nothing to anybody.
func vanish() -> void:
	_front.close()
	set_process(false)


func _process(_delta: float) -> void:
	while _front.get_available_packet_count() > 0:
		var packet := _front.get_packet()
		var ip := _front.get_packet_ip()
		var port := _front.get_packet_port()
		if packet.slice(0, 4) == Preface.MAGIC.to_ascii_buffer():
			_client_ip = ip
			_client_port = port
			proofs += 1
			_answer("4d5354520102".hex_decode())
		elif ip == _client_ip and port == _client_port:
			_back.put_packet(packet)
	while _back.get_available_packet_count() > 0:
		var packet := _back.get_packet()
		if _client_port > 0:
			_answer(packet)


func _answer(packet: PackedByteArray) -> void:
	_front.set_dest_address(_client_ip, _client_port)
	_front.put_packet(packet)
