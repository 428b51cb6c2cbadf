extends Node
## The server's part of SceneMultiplayer's authentication: lets in who shows a session token that
## the agent knows, and keeps who sits where.

signal joined(player: MusterPlayer)
signal left(player: MusterPlayer)

const Json := preload("../core/json.gd")
const AgentLink := preload("agent_link.gd")

## Seconds the agent may take to say whose a token is.
const ASK_TIMEOUT_S := 5.0
## Seconds a peer may take to show its token, and to hear the answer.
const AUTH_TIMEOUT_S := 10.0
## A message of authentication larger than this is none.
const MAX_MESSAGE_BYTES := 4_096
## ENet's patience with a peer that does not answer, in milliseconds: a seat is only kept from when
## its player is missed. By itself ENet waits for up to 30 s.
const PEER_TIMEOUT_MIN_MS := 3_000
const PEER_TIMEOUT_MAX_MS := 6_000

## Most players at a time.
var max_players := 32
## Whether players may come who have no token, as on ports that are open to anyone.
var takes_anyone := false
## [code]null[/code] where there is no agent to ask: then anyone is let in.
var agent: AgentLink = null

var _api: SceneMultiplayer = null
var _players: Dictionary = {}
## Peers whose token the agent is being asked about.
var _asking: Dictionary = {}
## Seats that were taken before.
var _known_seats: Dictionary = {}
## Seats that were given up: whoever shows their token comes late, though the agent may not know
## yet.
var _released_seats: Dictionary = {}
var _is_ending := false


## Serves [param api] from now on.
func open(api: SceneMultiplayer) -> void:
	_api = api
	api.auth_timeout = AUTH_TIMEOUT_S
	api.auth_callback = _on_shown
	api.peer_authenticating.connect(_on_authenticating)
	api.peer_authentication_failed.connect(_on_gone)
	api.peer_connected.connect(_on_connected)
	api.peer_disconnected.connect(_on_gone)


## Lets go of the API.
func close() -> void:
	if _api == null:
		return
	_api.peer_authenticating.disconnect(_on_authenticating)
	_api.peer_authentication_failed.disconnect(_on_gone)
	_api.peer_connected.disconnect(_on_connected)
	_api.peer_disconnected.disconnect(_on_gone)
	_api.auth_callback = Callable()
	_api = null
	_players.clear()
	_asking.clear()


## Lets nobody in any more, and tells them so. Who is here stays.
func refuse_all() -> void:
	_is_ending = true


## The player behind a peer that was let in, or [code]null[/code].
func player_of(peer_id: int) -> MusterPlayer:
	return _players.get(peer_id)


## Everybody who is here.
func players() -> Array[MusterPlayer]:
	var here: Array[MusterPlayer] = []
	for player: MusterPlayer in _players.values():
		if player.is_here:
			here.append(player)
	return here


## Ends a player's stay for good: their seat is free, and their token of no use.
func release(peer_id: int) -> void:
	var player := player_of(peer_id)
	if player == null:
		return
	_players.erase(peer_id)
	if agent != null and player.seat_id != "":
		close_seat(player.seat_id)
		agent.gone(player.seat_id, true)
	if peer_id in _api.get_peers() or peer_id in _api.get_authenticating_peers():
		_api.disconnect_peer(peer_id)
	_say_left(player)


## Lets nobody sit there any more: the seat was given up.
func close_seat(seat_id: String) -> void:
	_released_seats[seat_id] = true


func _on_authenticating(peer_id: int) -> void:
	var enet := _enet_of(peer_id)
	if enet == null:
		return
	var socket := enet.get_peer(peer_id)
	socket.set_timeout(0, PEER_TIMEOUT_MIN_MS, PEER_TIMEOUT_MAX_MS)
	# A player's packets always come from the same address, whatever happens to their network. So
	# who was there at this address before is the same player, whose client has gone: what ENet
	# would still send to the old one, the new one would take for its own.
	for other_id: int in _players.keys():
		var other := _enet_of(other_id)
		if other == null or other_id == peer_id:
			continue
		var other_socket := other.get_peer(other_id)
		if (
			other_socket.get_remote_port() == socket.get_remote_port()
			and other_socket.get_remote_address() == socket.get_remote_address()
		):
			_evict(other_id)


func _on_shown(peer_id: int, bytes: PackedByteArray) -> void:
	if _asking.has(peer_id):
		return
	if _is_ending:
		_refuse(peer_id, MusterResult.JOIN_REFUSED, "the match is over: the server ends")
		return
	if bytes.size() > MAX_MESSAGE_BYTES:
		_refuse(peer_id, MusterResult.JOIN_REFUSED, "what was shown is no session token")
		return
	var found: Variant = Json.object_in(bytes.get_string_from_utf8())
	var shown: Dictionary = found if found is Dictionary else {}
	var token := Json.text(shown, "token")
	var player := MusterPlayer.new()
	player.peer_id = peer_id
	if agent != null and not (token == "" and takes_anyone):
		_asking[peer_id] = true
		var reply := await agent.connected(token, ASK_TIMEOUT_S)
		# Gone while the agent was asked: the seat was told connected, so it is told otherwise.
		if not _asking.erase(peer_id) or _api == null:
			if reply.ok and agent != null and not _is_seated(Json.text(reply.body, "seat")):
				agent.gone(Json.text(reply.body, "seat"), false)
			return
		if not reply.ok:
			_refuse(peer_id, MusterResult.JOIN_REFUSED, reply.message)
			return
		player.seat_id = Json.text(reply.body, "seat")
		player.name = Json.text(reply.body, "player")
		if _released_seats.has(player.seat_id):
			_refuse(peer_id, MusterResult.JOIN_REFUSED, "the seat was given up")
			return
	_admit(player)


func _admit(player: MusterPlayer) -> void:
	if player.seat_id != "":
		for other: MusterPlayer in _players.values():
			if other.seat_id == player.seat_id:
				_evict(other.peer_id)
	if _players.size() >= max_players:
		if agent != null and player.seat_id != "":
			agent.gone(player.seat_id, false)
		_refuse(player.peer_id, MusterResult.SERVER_FULL, "all %d places are taken" % max_players)
		return
	if player.seat_id != "":
		player.has_returned = _known_seats.has(player.seat_id)
		_known_seats[player.seat_id] = true
	_players[player.peer_id] = player
	var answer := JSON.stringify({"ok": true, "seat": player.seat_id})
	_api.send_auth(player.peer_id, answer.to_utf8_buffer())
	_api.complete_auth(player.peer_id)


## The client closes when it has heard this; one that does not is closed by [constant
## AUTH_TIMEOUT_S].
func _refuse(peer_id: int, code: String, message: String) -> void:
	if peer_id in _api.get_authenticating_peers():
		var answer := JSON.stringify({"ok": false, "code": code, "message": message})
		_api.send_auth(peer_id, answer.to_utf8_buffer())


func _on_connected(peer_id: int) -> void:
	var player := player_of(peer_id)
	if player != null:
		player.is_here = true
		joined.emit(player)


func _on_gone(peer_id: int) -> void:
	_asking.erase(peer_id)
	var player := player_of(peer_id)
	if player == null:
		return
	_players.erase(peer_id)
	if agent != null and player.seat_id != "" and not _is_seated(player.seat_id):
		agent.gone(player.seat_id, false)
	_say_left(player)


func _say_left(player: MusterPlayer) -> void:
	if player.is_here:
		player.is_here = false
		left.emit(player)


func _is_seated(seat_id: String) -> bool:
	for player: MusterPlayer in _players.values():
		if player.seat_id == seat_id:
			return true
	return false


## Drops a peer whose player is back as another one. Its seat is not told of: somebody sits in it.
func _evict(peer_id: int) -> void:
	var player := player_of(peer_id)
	_players.erase(peer_id)
	var enet := _enet_of(peer_id)
	if enet != null:
		# Not `disconnect_peer`: what that sends would reach the new client.
		enet.get_peer(peer_id).reset()
		# Until it is looked at, the engine would try to send to the peer that is no more.
		enet.poll()
	elif peer_id in _api.get_peers():
		_api.disconnect_peer(peer_id)
	if player != null:
		_say_left(player)


func _enet_of(peer_id: int) -> ENetMultiplayerPeer:
	var peer: MultiplayerPeer = _api.multiplayer_peer
	var both := peer as MusterServerPeer
	if both != null:
		peer = both.listener_of(peer_id)
	var enet := peer as ENetMultiplayerPeer
	if enet == null or enet.get_peer(peer_id) == null:
		return null
	return enet
