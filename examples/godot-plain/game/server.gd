extends Node
## A server that listens on two transports at once. Each has a branch of the scene tree and a
## multiplayer API of its own, so their peer ids never meet.

const Arena := preload("res://arena.gd")
const MAX_PLAYERS := 64

var options := {}


func _ready() -> void:
	var udp_port := int(options.get("udp-port", "7777"))
	var ws_port := int(options.get("ws-port", "7778"))

	var enet := ENetMultiplayerPeer.new()
	var enet_error := enet.create_server(udp_port, MAX_PLAYERS)
	if enet_error != OK:
		fail("cannot listen on UDP port %d: %s" % [udp_port, error_string(enet_error)])
		return
	var web := WebSocketMultiplayerPeer.new()
	var web_error := web.create_server(ws_port)
	if web_error != OK:
		fail("cannot listen on TCP port %d: %s" % [ws_port, error_string(web_error)])
		return

	serve("Enet", enet)
	serve("Web", web)
	print("listening: ENet on UDP %d, WebSocket on TCP %d" % [udp_port, ws_port])


func serve(branch_name: String, peer: MultiplayerPeer) -> void:
	var branch := Node.new()
	branch.name = branch_name
	add_child(branch)
	var api := MultiplayerAPI.create_default_interface()
	# Before any node with RPCs joins the branch: a node finds its API when it enters the tree.
	get_tree().set_multiplayer(api, branch.get_path())
	var arena := Arena.new()
	arena.name = "Arena"
	branch.add_child(arena)
	api.peer_connected.connect(func(id: int) -> void: print("%s: %d joined" % [branch_name, id]))
	api.peer_disconnected.connect(
		func(id: int) -> void:
			print("%s: %d left after %d pings" % [branch_name, id, arena.counts.get(id, 0)])
			arena.counts.erase(id)
	)
	api.multiplayer_peer = peer


func fail(message: String) -> void:
	push_error(message)
	get_tree().quit(1)
