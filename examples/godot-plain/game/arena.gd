extends Node
## What server and client say to each other. Both ends run this script, as Godot's RPCs ask for.
##
## The server keeps a count per peer and answers each ping with it, so a client whose packets were
## mixed with another's, lost or repeated sees a count that is not its own.

signal answered(peer: int, number: int, secret: String, padding: int, count: int)
signal moved(peer: int, number: int, secret: String)

## Server only: reliable pings seen, by peer.
var counts := {}

@rpc("any_peer", "call_remote", "reliable")
func ping(number: int, secret: String, padding: PackedByteArray) -> void:
	if not multiplayer.is_server():
		return
	var peer := multiplayer.get_remote_sender_id()
	counts[peer] = counts.get(peer, 0) + 1
	pong.rpc_id(peer, peer, number, secret, padding, counts[peer])


@rpc("authority", "call_remote", "reliable")
func pong(peer: int, number: int, secret: String, padding: PackedByteArray, count: int) -> void:
	answered.emit(peer, number, secret, padding.size(), count)


## A position update, the kind of packet a game sends most of: lost ones are not sent again.
@rpc("any_peer", "call_remote", "unreliable")
func move(number: int, secret: String) -> void:
	if not multiplayer.is_server():
		return
	var peer := multiplayer.get_remote_sender_id()
	move_seen.rpc_id(peer, peer, number, secret)


@rpc("authority", "call_remote", "unreliable")
func move_seen(peer: int, number: int, secret: String) -> void:
	moved.emit(peer, number, secret)
