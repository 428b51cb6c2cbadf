extends MusterResult
## The sockets a server listens on, opened as one peer.

## Room for what one peer is sent or sends in a frame, in bytes; the engine's 64 KiB would end a
## connection that a level is sent on.
const WEB_BUFFER_BYTES := 1024 * 1024

## The peer to set; [code]null[/code] if nothing could be opened.
var peer: MultiplayerPeer = null


## Listens by ENet and by WebSocket; a port of 0 is none.
func open(enet_port: int, web_port: int, connections: int) -> void:
	var listeners: Array[MultiplayerPeer] = []
	if enet_port > 0:
		var enet := ENetMultiplayerPeer.new()
		_note(enet.create_server(enet_port, connections), "UDP port %d" % enet_port)
		listeners.append(enet)
	if web_port > 0 and ok:
		var web := WebSocketMultiplayerPeer.new()
		web.inbound_buffer_size = WEB_BUFFER_BYTES
		web.outbound_buffer_size = WEB_BUFFER_BYTES
		_note(web.create_server(web_port), "TCP port %d" % web_port)
		listeners.append(web)
	if listeners.is_empty():
		var names := [
			MusterSettings.text(MusterSettings.ENET_PORT_NAME),
			MusterSettings.text(MusterSettings.WEB_PORT_NAME)
		]
		var what := "the fleet has neither a port %s (udp) nor a port %s (ws)" % names
		fail(
			NO_ENDPOINT, what + "; name them so in its file, or otherwise in the project's settings"
		)
	if not ok:
		for listener in listeners:
			listener.close()
		return
	peer = listeners[0] if listeners.size() == 1 else _both(listeners)


func _note(error: Error, what: String) -> void:
	if error != OK:
		fail(CANNOT_LISTEN, "cannot listen on %s: %s" % [what, error_string(error)])


static func _both(listeners: Array[MultiplayerPeer]) -> MultiplayerPeer:
	var both := MusterServerPeer.new()
	for listener in listeners:
		both.add_listener(listener)
	return both
