class_name MusterServerPeer
extends MultiplayerPeerExtension
## Two listening peers as one, so that players by ENet and by WebSocket meet in one multiplayer API.
##
## Each of the two keeps its own peers; ids do not meet, since both kinds draw them from two
## thousand million. It passes packets on and copies none.

var _listeners: Array[MultiplayerPeer] = []
## Which listener has a peer.
var _owners: Dictionary = {}
## Listener that the next packet is read from.
var _next := 0
var _target := 0
var _channel := 0
var _mode := MultiplayerPeer.TRANSFER_MODE_RELIABLE
var _refuses := false


## Adds a peer that listens already.
func add_listener(listener: MultiplayerPeer) -> void:
	_listeners.append(listener)
	listener.peer_connected.connect(_on_connected.bind(listener))
	listener.peer_disconnected.connect(_on_disconnected.bind(listener))


## The listener that has the peer, or [code]null[/code].
func listener_of(peer_id: int) -> MultiplayerPeer:
	return _owners.get(peer_id)


func _on_connected(peer_id: int, listener: MultiplayerPeer) -> void:
	if _owners.has(peer_id):
		listener.disconnect_peer(peer_id, true)
		return
	_owners[peer_id] = listener
	peer_connected.emit(peer_id)


func _on_disconnected(peer_id: int, listener: MultiplayerPeer) -> void:
	if _owners.get(peer_id) == listener:
		_owners.erase(peer_id)
		peer_disconnected.emit(peer_id)


func _poll() -> void:
	for listener in _listeners:
		listener.poll()


func _close() -> void:
	for listener in _listeners:
		listener.close()
	_owners.clear()


func _disconnect_peer(peer_id: int, force: bool) -> void:
	var listener := listener_of(peer_id)
	if listener != null:
		if force:
			_owners.erase(peer_id)
		listener.disconnect_peer(peer_id, force)


## The listener whose turn it is, if it has a packet, else the next one that has.
func _ready_listener() -> MultiplayerPeer:
	for turn in _listeners.size():
		var listener := _listeners[(_next + turn) % _listeners.size()]
		if listener.get_available_packet_count() > 0:
			return listener
	return null


func _get_available_packet_count() -> int:
	var count := 0
	for listener in _listeners:
		count += listener.get_available_packet_count()
	return count


func _get_packet_script() -> PackedByteArray:
	var listener := _ready_listener()
	if listener == null:
		return PackedByteArray()
	# The next packet is another listener's, if it has one, so that neither starves the other.
	_next = (_listeners.find(listener) + 1) % _listeners.size()
	return listener.get_packet()


func _get_packet_peer() -> int:
	var listener := _ready_listener()
	return 0 if listener == null else listener.get_packet_peer()


func _get_packet_channel() -> int:
	var listener := _ready_listener()
	return 0 if listener == null else listener.get_packet_channel()


func _get_packet_mode() -> MultiplayerPeer.TransferMode:
	var listener := _ready_listener()
	return (
		MultiplayerPeer.TRANSFER_MODE_RELIABLE if listener == null else listener.get_packet_mode()
	)


func _put_packet_script(packet: PackedByteArray) -> Error:
	if _target > 0:
		var listener := listener_of(_target)
		# One who has left meanwhile is no fault of the sender's.
		return OK if listener == null else _put(listener, _target, packet)
	var excluded := listener_of(-_target)
	var result := OK
	for listener in _listeners:
		var target := _target if listener == excluded else 0
		var error := _put(listener, target, packet)
		if error != OK:
			result = error
	return result


func _put(listener: MultiplayerPeer, target: int, packet: PackedByteArray) -> Error:
	listener.transfer_channel = _channel
	listener.transfer_mode = _mode
	listener.set_target_peer(target)
	return listener.put_packet(packet)


func _get_max_packet_size() -> int:
	return 1 << 24


func _set_target_peer(peer_id: int) -> void:
	_target = peer_id


func _set_transfer_channel(channel: int) -> void:
	_channel = channel


func _get_transfer_channel() -> int:
	return _channel


func _set_transfer_mode(mode: MultiplayerPeer.TransferMode) -> void:
	_mode = mode


func _get_transfer_mode() -> MultiplayerPeer.TransferMode:
	return _mode


func _is_server() -> bool:
	return true


func _is_server_relay_supported() -> bool:
	return true


func _get_unique_id() -> int:
	return MultiplayerPeer.TARGET_PEER_SERVER


func _get_connection_status() -> MultiplayerPeer.ConnectionStatus:
	for listener in _listeners:
		if listener.get_connection_status() == MultiplayerPeer.CONNECTION_CONNECTED:
			return MultiplayerPeer.CONNECTION_CONNECTED
	return MultiplayerPeer.CONNECTION_DISCONNECTED


func _set_refuse_new_connections(refuses: bool) -> void:
	_refuses = refuses
	for listener in _listeners:
		listener.refuse_new_connections = refuses


func _is_refusing_new_connections() -> bool:
	return _refuses
