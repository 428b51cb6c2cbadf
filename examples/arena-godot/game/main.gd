extends Node
## Becomes a server, a player, or a player without a person, as the command line says. Server and
## client have the same scene, so that nodes are found by the same paths on both.
##
##   (nothing)         a player, with a menu
##   -- --server       a server; under Muster it knows by itself
##   -- --bot ...      see bot.gd

const Server := preload("res://server.gd")
const Bot := preload("res://bot.gd")

@onready var arena: Arena = $Arena
@onready var menu: Menu = $Menu


func _ready() -> void:
	if Muster.server.is_wanted():
		var server := Server.new()
		server.arena = arena
		add_child(server)
	elif "--bot" in OS.get_cmdline_user_args():
		var bot := Bot.new()
		bot.arena = arena
		add_child(bot)
	else:
		menu.open(arena)
