extends Node
## A client that plays by itself: sends numbered pings with a secret of its own, checks that every
## answer is its own, prints one line of JSON and leaves with 0 or 1.

const Arena := preload("res://arena.gd")

## The whole run: connecting, playing and the last answer.
const DEADLINE_S := 30.0
## Every tenth ping is larger than one network packet, so transports have to split it.
const BIG_EVERY := 10
const BIG_BYTES := 8192

var options := {}
var pings := 50
var secret := Crypto.new().generate_random_bytes(16).hex_encode()
var arena: Node
var api: MultiplayerAPI
var elapsed := 0.0
var connected_after := 0.0
var sent := 0
var returned := 0
var moves_sent := 0
var moves_returned := 0
var sent_at := {}
var round_trips_ms: Array[float] = []
var done := false


func _ready() -> void:
	pings = int(options.get("pings", "50"))
	var peer := connect_to_server()
	if peer == null:
		return
	api = MultiplayerAPI.create_default_interface()
	get_tree().set_multiplayer(api, get_path())
	arena = Arena.new()
	arena.name = "Arena"
	add_child(arena)
	arena.answered.connect(on_answered)
	arena.moved.connect(on_moved)
	api.connected_to_server.connect(func() -> void: connected_after = elapsed)
	api.connection_failed.connect(func() -> void: finish("the connection failed"))
	api.server_disconnected.connect(func() -> void: finish("the server closed the connection"))
	api.multiplayer_peer = peer


func connect_to_server() -> MultiplayerPeer:
	var error: int
	var peer: MultiplayerPeer
	match options.get("transport", ""):
		"enet":
			var enet := ENetMultiplayerPeer.new()
			error = enet.create_client(options.get("address", ""), int(options.get("port", "0")))
			peer = enet
		"ws":
			var web := WebSocketMultiplayerPeer.new()
			error = web.create_client(options.get("url", ""), tls_options())
			peer = web
		var other:
			finish("--transport is '%s', and may be enet or ws" % other)
			return null
	if error != OK:
		finish("cannot start connecting: %s" % error_string(error))
		return null
	return peer


## For wss: trusts the CA whose certificate --ca names; without it, those that Godot trusts.
func tls_options() -> TLSOptions:
	if not options.has("ca"):
		return null
	var authority := X509Certificate.new()
	if authority.load(options["ca"]) != OK:
		push_error("cannot read the certificate %s" % options["ca"])
	return TLSOptions.client(authority)


func _process(delta: float) -> void:
	if done or api == null:
		return
	elapsed += delta
	if elapsed > DEADLINE_S:
		finish("not done after %d s" % int(DEADLINE_S))
		return
	if api.multiplayer_peer.get_connection_status() != MultiplayerPeer.CONNECTION_CONNECTED:
		return
	if sent < pings:
		play_one_frame()


func play_one_frame() -> void:
	sent += 1
	sent_at[sent] = Time.get_ticks_usec()
	var padding := PackedByteArray()
	if sent % BIG_EVERY == 0:
		padding.resize(BIG_BYTES)
	arena.ping.rpc_id(MultiplayerPeer.TARGET_PEER_SERVER, sent, secret, padding)
	moves_sent += 1
	arena.move.rpc_id(MultiplayerPeer.TARGET_PEER_SERVER, moves_sent, secret)


func on_answered(peer: int, number: int, their_secret: String, padding: int, count: int) -> void:
	returned += 1
	var expected_padding := BIG_BYTES if number % BIG_EVERY == 0 else 0
	if peer != api.get_unique_id() or their_secret != secret:
		finish("answer %d belongs to peer %d" % [number, peer])
	elif number != returned or count != returned:
		finish("answer %d with count %d came as number %d" % [number, count, returned])
	elif padding != expected_padding:
		finish("answer %d has %d bytes, sent were %d" % [number, padding, expected_padding])
	else:
		round_trips_ms.append((Time.get_ticks_usec() - sent_at[number]) / 1000.0)
		if returned == pings:
			finish("")


func on_moved(peer: int, number: int, their_secret: String) -> void:
	moves_returned += 1
	if peer != api.get_unique_id() or their_secret != secret or number > moves_sent:
		finish("position answer %d belongs to peer %d" % [number, peer])


func finish(error: String) -> void:
	if done:
		return
	done = true
	# Unreliable packets may get lost, but not all of them.
	if error == "" and moves_returned == 0:
		error = "none of %d position updates was answered" % moves_sent
	round_trips_ms.sort()
	var median := round_trips_ms[round_trips_ms.size() / 2] if round_trips_ms else 0.0
	var report := {
		"ok": error == "",
		"error": error,
		"transport": options.get("transport", ""),
		"connect_ms": int(connected_after * 1000.0),
		"sent": sent,
		"returned": returned,
		"moves_sent": moves_sent,
		"moves_returned": moves_returned,
		"p50_ms": snappedf(median, 0.1),
	}
	print(JSON.stringify(report))
	if api != null and api.multiplayer_peer != null:
		api.multiplayer_peer.close()
	get_tree().quit(0 if error == "" else 1)
