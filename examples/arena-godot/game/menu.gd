class_name Menu
extends CanvasLayer
## What a person sees before and beside the game. What it says to Muster is between the marks.

const QUEUE := "quick"
const FLEET := "arena-godot"

var arena: Arena = null

var _lobbies: Array[MusterLobby] = []

@onready var box: Control = $Box
@onready var status: Label = $Status
@onready var leave: Button = $Leave
@onready var player_name: LineEdit = $Box/PlayerName
@onready var code: LineEdit = $Box/Join/Code
@onready var list: ItemList = $Box/Lobbies
@onready var quick: Button = $Box/Quick
@onready var create_lobby: Button = $Box/CreateLobby
@onready var join_lobby: Button = $Box/Join/JoinLobby
@onready var refresh: Button = $Box/Refresh


func _ready() -> void:
	player_name.text = "player-%d" % (randi() % 1000)
	quick.pressed.connect(_on_quick)
	create_lobby.pressed.connect(_on_create_lobby)
	join_lobby.pressed.connect(_on_join_lobby)
	refresh.pressed.connect(_on_refresh)
	leave.pressed.connect(_on_leave)
	list.item_activated.connect(func(index: int) -> void: code.text = _lobbies[index].lobby_code)
	Muster.client.ticket_progressed.connect(
		func(ticket: MusterTicket) -> void: status.text = ticket.explanation
	)
	Muster.client.connection_lost.connect(
		func(_why: MusterResult) -> void: status.text = "connection lost; coming back..."
	)
	Muster.client.connection_regained.connect(
		func(_connection: MusterConnection) -> void: status.text = "back in the game"
	)
	Muster.client.connection_ended.connect(_back_to_menu)


## Shows itself beside [param of_arena].
func open(of_arena: Arena) -> void:
	arena = of_arena
	arena.round_ending.connect(func() -> void: status.text = "the round ends in a moment")
	arena.hide()
	show()


func _on_quick() -> void:
	_begin()
	# --- Muster: begin (2 lines for a quick match)
	var request := MusterMatchRequest.new(QUEUE, player_name.text)
	var joined := await Muster.client.play(request)
	# --- Muster: end
	_show(joined)


func _on_create_lobby() -> void:
	_begin()
	var spec := MusterLobbySpec.new(player_name.text + "'s arena")
	await _enter(await Muster.lobbies.create(FLEET, player_name.text, spec))


func _on_join_lobby() -> void:
	_begin()
	await _enter(await Muster.lobbies.join(code.text, player_name.text))


func _enter(ticket: MusterTicket) -> void:
	ticket = await Muster.client.wait_for_match(ticket)
	_show(await Muster.client.connect_to_match(ticket))
	if ticket.ok and ticket.lobby != null:
		status.text += "; others join with %s" % ticket.lobby.lobby_code


func _on_refresh() -> void:
	var page := await Muster.lobbies.list(FLEET)
	status.text = page.message
	_lobbies = page.lobbies
	list.clear()
	for lobby in _lobbies:
		list.add_item(
			"%s  %s  %d/%d" % [lobby.lobby_code, lobby.name, lobby.players, lobby.max_players]
		)


func _on_leave() -> void:
	var left := await Muster.client.leave()
	_back_to_menu(left)


func _begin() -> void:
	box.hide()
	status.text = "looking for a match..."


func _show(joined: MusterConnection) -> void:
	if not joined.ok:
		_back_to_menu(joined)
		return
	arena.show()
	leave.show()
	status.text = "in seat %s" % joined.seat_id


func _back_to_menu(why: MusterResult) -> void:
	status.text = why.message
	arena.hide()
	leave.hide()
	box.show()


func _physics_process(_delta: float) -> void:
	if arena != null and Muster.client.is_in_match():
		arena.steer.rpc_id(1, Input.get_vector("ui_left", "ui_right", "ui_up", "ui_down"))
