class_name MusterPlayer
extends RefCounted
## A player on the server: a peer, and the seat that its session token proved.

## The player's peer in the multiplayer API; another one after they have come back.
var peer_id := 0
## The seat. It stays the same while the player drops out and comes back, so keep the player's state
## by it.
var seat_id := ""
## The player, as the studio's client named them; empty if the agent does not know it.
var name := ""
## Whether the player is here: let in by the server, and heard of by the client.
var is_here := false
## Whether the player had been here before.
var has_returned := false
