extends Node
## What the benchmark calls: answers a call with what it brought. It stands twice on either side,
## once in a multiplayer API of the addon's, once in one that knows nothing of it.

## Client only: the server has answered.
signal answered(number: int)

## Frames between two reliable messages, and bytes of each.
const TELL_EVERY := 6
const STATE_BYTES := 64

## Server only: whether it says nothing by itself. A game's server does.
var is_quiet := false


## Without a screen the engine sleeps between frames, whatever their highest number.
static func set_frames(frames: int) -> void:
	Engine.max_fps = frames
	OS.low_processor_usage_mode_sleep_usec = roundi(1_000_000.0 / frames)


## Client: answer me.
@rpc("any_peer", "call_remote", "reliable")
func ask(number: int) -> void:
	if multiplayer.is_server():
		answer.rpc_id(multiplayer.get_remote_sender_id(), number)


## Server: here.
@rpc("authority", "call_remote", "reliable")
func answer(number: int) -> void:
	answered.emit(number)


## Client: look at your sockets so often a second, so that your frames are not what is measured.
@rpc("any_peer", "call_remote", "reliable")
func hurry(frames: int) -> void:
	if multiplayer.is_server():
		set_frames(frames)
		is_quiet = true


## Server: what a game's state is like, some times a second to everybody.
@rpc("authority", "call_remote", "reliable")
func tell(_state: PackedByteArray) -> void:
	pass


## The same, of what is soon out of date.
@rpc("authority", "call_remote", "unreliable_ordered")
func show_state(_state: PackedByteArray) -> void:
	pass


func _physics_process(_delta: float) -> void:
	if is_quiet or not Muster.server.is_started() or multiplayer.get_peers().is_empty():
		return
	show_state.rpc(_state_bytes())
	if Engine.get_physics_frames() % TELL_EVERY == 0:
		tell.rpc(_state_bytes())


static func _state_bytes() -> PackedByteArray:
	var bytes := PackedByteArray()
	bytes.resize(STATE_BYTES)
	return bytes
