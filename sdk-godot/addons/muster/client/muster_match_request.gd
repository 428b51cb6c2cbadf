class_name MusterMatchRequest
extends RefCounted
## What to ask a queue for.

enum Priority { LOW, NORMAL, HIGH }

const PRIORITIES: Array[String] = ["low", "normal", "high"]

var queue := ""
## The player, by the studio's name for them.
var player := ""
## What describes the player, by the names that the queue declares: [code]{"skill": 1510}[/code].
var attributes := {}
## Who comes along, with their attributes by their names; a party is never split.
var party: Dictionary = {}
## Round trip to each region in milliseconds; if empty, [method MusterClient.find_match] measures
## them.
var latencies_ms: Dictionary = {}
## What must be true of others, [code]abs(skill - mine.skill) < 50[/code].
var filter := ""
## Players not to play with.
var blocks: Array[String] = []
var priority := Priority.NORMAL
## Come back to the seat that the player has in a match that goes on. If not, that seat is given up.
var rejoin := true
## Tokens of the tickets that the players had before: they show whose seats there are. The addon
## remembers those of this machine's players by itself.
var previous_tokens: Array[String] = []
## The same request sent again is the same ticket; made up if empty.
var idempotency_key := ""


func _init(of_queue := "", of_player := "") -> void:
	queue = of_queue
	player = of_player


## As the API wants it.
func to_json() -> Dictionary:
	var json := {"queue": queue, "player": player, "latencies_ms": whole(latencies_ms)}
	if not attributes.is_empty():
		json["attributes"] = attributes
	if not party.is_empty():
		json["party"] = members(party)
	if filter != "":
		json["filter"] = filter
	if not blocks.is_empty():
		json["blocks"] = blocks
	if priority != Priority.NORMAL:
		json["priority"] = PRIORITIES[priority]
	if not rejoin:
		json["rejoin"] = false
	if not previous_tokens.is_empty():
		json["previous_tokens"] = previous_tokens
	if idempotency_key != "":
		json["idempotency_key"] = idempotency_key
	return json


## Round trips as the API wants them: whole milliseconds, where JSON that was read has only numbers.
static func whole(latencies: Dictionary) -> Dictionary:
	var rounded := {}
	for region: String in latencies:
		var latency: float = latencies[region]
		rounded[region] = ceili(latency)
	return rounded


## A party as the API wants it.
static func members(of_party: Dictionary) -> Array[Dictionary]:
	var list: Array[Dictionary] = []
	for member: String in of_party:
		list.append({"player": member, "attributes": of_party[member]})
	return list
