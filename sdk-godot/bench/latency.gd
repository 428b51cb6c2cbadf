extends "player.gd"
## Round trips through the addon and the edge, and by plain ENet straight to the container, in turn,
## so that both have the same machine at the same time.

const RAW_PORT := 7779
## Frames a second on both sides. Sockets are looked at once a frame, which is not to be the figure.
const FRAMES := 2_000
const WARM_UP := 200
const CALLS := 2_000

var raw: Echo = null
var raw_api: SceneMultiplayer = null


func _ready() -> void:
	var peer := ENetMultiplayerPeer.new()
	peer.create_client(option("--raw"), RAW_PORT)
	raw_api.multiplayer_peer = peer
	var is_there := func() -> bool: return raw_api.get_peers().size() == 1
	if not await Deadline.new(PATIENCE_S).until(get_tree(), is_there):
		fail("plain ENet in the container does not answer")
		return
	if not await play():
		return
	Echo.set_frames(FRAMES)
	echo.hurry.rpc_id(MultiplayerPeer.TARGET_PEER_SERVER, FRAMES)
	raw.answered.connect(_on_answered)
	var by_sdk: Array[int] = []
	var by_raw: Array[int] = []
	var frames := Engine.get_process_frames()
	var began_ms := Time.get_ticks_msec()
	for number in WARM_UP + CALLS:
		for pair: Array in [[echo, by_sdk], [raw, by_raw]]:
			var called: Echo = pair[0]
			var took_usec := await _call(called)
			if took_usec < 0:
				fail("a call was not answered")
				return
			var all: Array[int] = pair[1]
			if number >= WARM_UP:
				all.append(took_usec)
	var took_s := (Time.get_ticks_msec() - began_ms) / 1000.0
	frames = Engine.get_process_frames() - frames
	var report := {"calls": CALLS, "frames_per_s": roundi(frames / took_s)}
	for part: int in [50, 99]:
		report["sdk_p%d_us" % part] = _percentile(by_sdk, part)
		report["raw_p%d_us" % part] = _percentile(by_raw, part)
	tell(report)
	await Muster.client.leave()
	get_tree().quit(0)


## The round trip of one call, in microseconds; negative if it has none.
func _call(called: Echo) -> int:
	asked += 1
	var began := Time.get_ticks_usec()
	called.ask.rpc_id(MultiplayerPeer.TARGET_PEER_SERVER, asked)
	var is_answered := func() -> bool: return answered == asked
	if not await Deadline.new(PATIENCE_S).until(get_tree(), is_answered):
		return -1
	return Time.get_ticks_usec() - began


static func _percentile(of: Array[int], part: int) -> int:
	of.sort()
	return of[mini(of.size() * part / 100, of.size() - 1)]
