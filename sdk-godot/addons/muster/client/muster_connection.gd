class_name MusterConnection
extends MusterResult
## A connection to a match's server.

enum Transport { NONE, ENET, WEBSOCKET }

## The peer, set on the multiplayer API already.
var peer: MultiplayerPeer = null
var transport := Transport.NONE
## The way that was taken.
var endpoint: MusterEndpoint = null
## The seat that the server confirmed; empty if its port is open to anyone.
var seat_id := ""
