class_name Arena
extends Node2D
## The world. The server moves everything and decides who gets the gem; clients say where they want
## to go, and see what the engine's synchronizers bring.

## Client only: the server has answered a ping.
signal answered(number: int)
## Client only: the server will end the round.
signal round_ending

const SIZE := Vector2(960, 600)
const SPEED := 220.0
const REACH := 26.0

## Where the gem is.
var gem := SIZE / 2.0
## Server only: who steers which fighter, by peer.
var steered := {}

@onready var fighters: Node2D = $Fighters

## Client: where this player wants to go.
@rpc("any_peer", "call_remote", "unreliable_ordered")
func steer(direction: Vector2) -> void:
	var fighter: Fighter = steered.get(multiplayer.get_remote_sender_id())
	if multiplayer.is_server() and fighter != null:
		fighter.direction = direction.limit_length()


## Client: are you there?
@rpc("any_peer", "call_remote", "reliable")
func ping(number: int) -> void:
	if multiplayer.is_server():
		pong.rpc_id(multiplayer.get_remote_sender_id(), number)


## Server: yes.
@rpc("authority", "call_remote", "reliable")
func pong(number: int) -> void:
	answered.emit(number)


## Server: this was the last round.
@rpc("authority", "call_remote", "reliable")
func end_round() -> void:
	round_ending.emit()


func _physics_process(delta: float) -> void:
	if not multiplayer.has_multiplayer_peer() or not multiplayer.is_server():
		return
	for node in fighters.get_children():
		var fighter := node as Fighter
		var step := fighter.direction * SPEED * delta
		fighter.position = (fighter.position + step).clamp(Vector2.ZERO, SIZE)
		if fighter.position.distance_to(gem) < REACH:
			fighter.score += 1
			gem = Vector2(randf() * SIZE.x, randf() * SIZE.y)


func _process(_delta: float) -> void:
	queue_redraw()


func _draw() -> void:
	draw_rect(Rect2(Vector2.ZERO, SIZE), Color(0.09, 0.1, 0.14))
	draw_set_transform(gem, PI / 4.0)
	draw_rect(Rect2(-9, -9, 18, 18), Color(0.98, 0.83, 0.3))
