extends Node
## Starts as a server or as a client, as the arguments after "--" say.
##
##   --server [--udp-port 7777] [--ws-port 7778]
##   --client --transport enet --address HOST --port PORT [--pings 50]
##   --client --transport ws --url ws://HOST:PORT [--pings 50]
##   --client --transport ws --url wss://HOST:PORT --ca FILE [--pings 50]

const Server := preload("res://server.gd")
const Client := preload("res://client.gd")


func _ready() -> void:
	var options := parse(OS.get_cmdline_user_args())
	var role: Node
	if options.has("server"):
		role = Server.new()
	elif options.has("client"):
		role = Client.new()
	else:
		push_error("say --server or --client after --")
		get_tree().quit(2)
		return
	role.name = "Game"
	role.options = options
	add_child(role)


## Turns ["--port", "7777", "--server"] into {"port": "7777", "server": ""}.
static func parse(arguments: PackedStringArray) -> Dictionary:
	var options := {}
	var key := ""
	for argument in arguments:
		if argument.begins_with("--"):
			key = argument.trim_prefix("--")
			options[key] = ""
		elif key != "":
			options[key] = argument
			key = ""
	return options
