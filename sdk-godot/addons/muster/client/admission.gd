extends Node
## The client's part of SceneMultiplayer's authentication: shows the session token to the game
## server, and hears whether the player is let in.

const Json := preload("../core/json.gd")

const SERVER := MultiplayerPeer.TARGET_PEER_SERVER
## Seconds the server may take to ask its agent.
const AUTH_TIMEOUT_S := 10.0

## Whether the server has let the player in.
var is_in := false
## Why it did not, or why the connection ended; [code]ok[/code] while neither is known.
var verdict := MusterResult.new()
## The seat that the server confirmed.
var seat_id := ""

var _api: SceneMultiplayer = null
var _token := ""


## Serves [param api] from the next peer on, with [param token].
func begin(api: SceneMultiplayer, token: String) -> void:
	end()
	is_in = false
	verdict = MusterResult.new()
	seat_id = ""
	_api = api
	_token = token
	api.auth_timeout = AUTH_TIMEOUT_S
	api.auth_callback = _on_answer
	api.peer_authenticating.connect(_on_authenticating)
	api.peer_authentication_failed.connect(_on_failed)
	api.connected_to_server.connect(_on_connected)
	api.connection_failed.connect(_on_ended.bind("the connection to the game server failed"))
	api.server_disconnected.connect(_on_ended.bind("the game server closed the connection"))


## Lets go of the API. What it was told stays.
func end() -> void:
	if _api == null:
		return
	for connection: Array in [
		[_api.peer_authenticating, _on_authenticating],
		[_api.peer_authentication_failed, _on_failed],
		[_api.connected_to_server, _on_connected],
		[_api.connection_failed, _on_ended],
		[_api.server_disconnected, _on_ended],
	]:
		var told: Signal = connection[0]
		var handler: Callable = connection[1]
		if told.is_connected(handler):
			told.disconnect(handler)
	_api = null


func _on_authenticating(peer: int) -> void:
	if peer == SERVER:
		var shown := JSON.stringify({"token": _token})
		# A peer that is gone by now is told of by its own signal.
		_api.send_auth(peer, shown.to_utf8_buffer())


func _on_answer(peer: int, bytes: PackedByteArray) -> void:
	if peer != SERVER or _api == null:
		return
	var found: Variant = Json.object_in(bytes.get_string_from_utf8())
	var answer: Dictionary = found if found is Dictionary else {}
	if Json.boolean(answer, "ok"):
		seat_id = Json.text(answer, "seat")
		_api.complete_auth(peer)
		return
	verdict.fail(
		Json.text(answer, "code", MusterResult.JOIN_REFUSED),
		Json.text(answer, "message", "the game server turned the player away")
	)


func _on_failed(_peer: int) -> void:
	_on_ended("the game server did not let the player in")


func _on_connected() -> void:
	is_in = true


func _on_ended(why: String) -> void:
	is_in = false
	if verdict.ok:
		verdict.fail(MusterResult.CONNECTION_LOST, why)
