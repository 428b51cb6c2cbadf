extends Node
## The autoload [code]Muster[/code]: finds matches and connects to them on players' machines, and
## makes a dedicated server a good citizen on Muster's.
##
## [member client] and [member lobbies] are for players, [member server] for servers. A process uses
## the one or the other, and what is not used does nothing.

## Finds matches, connects, stays connected.
var client: MusterClient = MusterClient.new()
## Makes, finds and joins lobbies.
var lobbies: MusterLobbies = MusterLobbies.new(client)
## Says ready and health, lets players in, hears of match and drain.
var server: MusterServer = MusterServer.new()


func _init() -> void:
	process_mode = Node.PROCESS_MODE_ALWAYS
	client.name = "Client"
	lobbies.name = "Lobbies"
	server.name = "Server"
	add_child(client)
	add_child(lobbies)
	add_child(server)
