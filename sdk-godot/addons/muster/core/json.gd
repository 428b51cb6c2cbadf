@tool
extends RefCounted
## Reads JSON that somebody else wrote: what is missing or of another kind is the default, so that
## no answer, however wrong, stops the game.

## How deep objects and lists may be in one another.
const MAX_DEPTH := 64


## The object in [param source], or [code]null[/code] if it is no JSON object.
static func object_in(source: String) -> Variant:
	var json := JSON.new()
	# `JSON.parse_string` would print an error into the game's log.
	if json.parse(source) != OK or not json.data is Dictionary or not _is_shallow(json.data, 0):
		return null
	return json.data


static func _is_shallow(value: Variant, depth: int) -> bool:
	if depth > MAX_DEPTH:
		return false
	if value is Dictionary:
		var object_value: Dictionary = value
		for key: Variant in object_value:
			if not _is_shallow(object_value[key], depth + 1):
				return false
	elif value is Array:
		var list: Array = value
		for item: Variant in list:
			if not _is_shallow(item, depth + 1):
				return false
	return true


static func text(from: Dictionary, key: String, otherwise := "") -> String:
	var value: Variant = from.get(key)
	if value is String:
		var found: String = value
		return found
	return otherwise


static func number(from: Dictionary, key: String, otherwise := 0.0) -> float:
	var value: Variant = from.get(key)
	if value is float or value is int:
		var found: float = value
		return found if is_finite(found) else otherwise
	return otherwise


static func integer(from: Dictionary, key: String, otherwise := 0) -> int:
	return int(number(from, key, otherwise))


static func boolean(from: Dictionary, key: String, otherwise := false) -> bool:
	var value: Variant = from.get(key)
	if value is bool:
		var found: bool = value
		return found
	return otherwise


static func object(from: Dictionary, key: String) -> Dictionary:
	var value: Variant = from.get(key)
	if value is Dictionary:
		var found: Dictionary = value
		return found
	return {}


## The objects of a list; what is no object is left out.
static func objects(from: Dictionary, key: String) -> Array[Dictionary]:
	var found: Array[Dictionary] = []
	var value: Variant = from.get(key)
	if value is Array:
		var list: Array = value
		for item: Variant in list:
			if item is Dictionary:
				var entry: Dictionary = item
				found.append(entry)
	return found


## The texts of an object, by their keys.
static func texts(from: Dictionary, key: String) -> Dictionary:
	var found := {}
	var inner := object(from, key)
	for name: Variant in inner:
		if name is String and inner[name] is String:
			var entry: String = name
			found[entry] = text(inner, entry)
	return found
