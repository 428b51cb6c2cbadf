class_name MusterLobbySpec
extends RefCounted
## What a new lobby is to be like.

## Name that other players see.
var name := ""
## Neither listed nor found: joined by its code or id.
var is_private := false
## Most players; 0: as the fleet has it.
var max_players := 0
## JSON of the game's own, up to 4 KiB; [code]null[/code]: none.
var config: Variant = null
## What it can be searched by, [code]{"map": "dust"}[/code]; up to 16.
var tags: Dictionary = {}


func _init(with_name := "") -> void:
	name = with_name


## As the API wants it.
func to_json() -> Dictionary:
	var json := {"visibility": "private" if is_private else "public"}
	if name != "":
		json["name"] = name
	if max_players > 0:
		json["max_players"] = max_players
	if config != null:
		json["config"] = config
	if not tags.is_empty():
		json["tags"] = tags
	return json
