extends Node
## The benchmark of what the addon costs, and of how soon a player is back: scripts/bench-godot.sh
## runs it. Under Muster it is the server; else a player, who prints figures in lines of JSON.
##
##   (nothing)                      a server, by the addon, and beside it one by plain ENet
##   -- --latency --raw ADDRESS     calls by both ways in turn, and prints both round trips
##   -- --stay [--first HOST]       calls all the time, by this edge if it can; prints each pause
##   -- --change-port               plays through a router that gives it another port

const Latency := preload("latency.gd")
const Stay := preload("stay.gd")
const ChangePort := preload("change_port.gd")

## The port of plain ENet, which is none of the fleet's.
const RAW_PORT := 7779
const PLAYERS := 8


func _ready() -> void:
	var muster := _api($Muster)
	var raw := _api($Raw)
	var arguments := OS.get_cmdline_user_args()
	if Muster.server.is_wanted():
		await _serve(muster, raw)
		return
	Muster.client.multiplayer_api = muster
	if "--latency" in arguments:
		var latency := Latency.new()
		latency.raw_api = raw
		latency.raw = $Raw/Echo
		_begin(latency)
	elif "--change-port" in arguments:
		_begin(ChangePort.new())
	else:
		_begin(Stay.new())


func _serve(muster: SceneMultiplayer, raw: SceneMultiplayer) -> void:
	var peer := ENetMultiplayerPeer.new()
	var error := peer.create_server(RAW_PORT, PLAYERS)
	raw.multiplayer_peer = peer
	Muster.server.multiplayer_api = muster
	var started := await Muster.server.start(PLAYERS)
	if error != OK or not started.ok:
		push_error("%s; UDP port %d: %s" % [started, RAW_PORT, error_string(error)])
		get_tree().quit(1)


func _begin(player: Node) -> void:
	player.set("echo", $Muster/Echo)
	add_child(player)


func _api(branch: Node) -> SceneMultiplayer:
	var api := SceneMultiplayer.new()
	get_tree().set_multiplayer(api, branch.get_path())
	return api
