extends RefCounted
## Remembers the tokens of this machine's tickets in the game's user directory, so that a player
## whose game crashed is let back to their seat: the token shows that it is theirs.

const Json := preload("../core/json.gd")

const FILE := "user://muster_tickets.json"
## Players of one machine that are remembered; of more, those who asked last.
const MAX_PLAYERS := 16

## Where it is kept; for tests.
var path := FILE


## The token of the last ticket of [param player] at [param url]; empty if there is none.
func token_of(url: String, player: String) -> String:
	return Json.text(_read(), _key(url, player))


func remember(url: String, player: String, token: String) -> void:
	if token == "" or player == "":
		return
	var tokens := _read()
	# Erased first, so that it stands last.
	tokens.erase(_key(url, player))
	tokens[_key(url, player)] = token
	while tokens.size() > MAX_PLAYERS:
		tokens.erase(tokens.keys()[0])
	_write(tokens)


func forget(url: String, player: String) -> void:
	var tokens := _read()
	if tokens.erase(_key(url, player)):
		_write(tokens)


func _read() -> Dictionary:
	if not FileAccess.file_exists(path):
		return {}
	var found: Variant = Json.object_in(FileAccess.get_file_as_string(path))
	if found is Dictionary:
		var tokens: Dictionary = found
		return tokens
	return {}


func _write(tokens: Dictionary) -> void:
	var file := FileAccess.open(path, FileAccess.WRITE)
	# Without a user directory a crash costs the seat, and nothing else.
	if file != null:
		file.store_string(JSON.stringify(tokens))


static func _key(url: String, player: String) -> String:
	return "%s %s" % [player, url]
