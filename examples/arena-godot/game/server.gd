extends Node
## The server. What it says to Muster is between the two marks; the rest is the game.

const FighterScene := preload("res://fighter.tscn")

const MAX_PLAYERS := 8
## Players are told this long before the server ends.
const NOTICE_S := 3.0

var arena: Arena = null


func _ready() -> void:
	# --- Muster: begin (6 lines)
	Muster.server.player_joined.connect(_on_player_joined)
	Muster.server.player_left.connect(_on_player_left)
	Muster.server.match_changed.connect(_on_match_changed)
	Muster.server.drain_requested.connect(_on_drain_requested)
	var started := await Muster.server.start(MAX_PLAYERS)
	print("server: ", started)
	# --- Muster: end
	if not started.ok:
		get_tree().quit(1)


func _on_player_joined(player: MusterPlayer) -> void:
	print("joined seat=%s player=%s again=%s" % [player.seat_id, player.name, player.has_returned])
	var node_name := _node_name(player)
	var fighter := arena.fighters.get_node_or_null(node_name) as Fighter
	if fighter == null:
		fighter = FighterScene.instantiate()
		fighter.name = node_name
		fighter.player = player.name if player.name != "" else node_name
		fighter.position = Vector2(randf() * Arena.SIZE.x, randf() * Arena.SIZE.y)
		arena.fighters.add_child(fighter)
	fighter.is_away = false
	arena.steered[player.peer_id] = fighter


func _on_player_left(player: MusterPlayer) -> void:
	print("left seat=%s player=%s" % [player.seat_id, player.name])
	var fighter: Fighter = arena.steered.get(player.peer_id)
	arena.steered.erase(player.peer_id)
	if fighter == null or fighter in arena.steered.values():
		return
	fighter.direction = Vector2.ZERO
	fighter.is_away = true
	if player.seat_id == "":
		fighter.queue_free()


## Seats that were given up take their fighters with them.
func _on_match_changed(allocation: MusterAllocation) -> void:
	for node in arena.fighters.get_children():
		var fighter := node as Fighter
		if fighter.is_away and allocation.seat(fighter.name) == null:
			fighter.queue_free()


func _on_drain_requested(_deadline_ms: int) -> void:
	print("drain: the round ends in %d s" % int(NOTICE_S))
	arena.end_round.rpc()
	await get_tree().create_timer(NOTICE_S).timeout
	for player in Muster.server.players():
		Muster.server.release(player.peer_id)


static func _node_name(player: MusterPlayer) -> String:
	return player.seat_id if player.seat_id != "" else "peer_%d" % player.peer_id
