class_name MusterAllocation
extends RefCounted
## The match that has claimed the server.

const Json := preload("../core/json.gd")

var match_id := ""
## Who has a seat, whether they are here or not.
var seats: Array[MusterSeat] = []
## What queue or caller gave along: JSON if it is JSON, else text.
var data: Variant = null
## The lobby that the match is, as [code]code[/code], [code]name[/code], [code]config[/code],
## [code]tags[/code] and so on; empty if it is none.
var lobby := {}


## The seat of that id, or [code]null[/code].
func seat(id: String) -> MusterSeat:
	for known in seats:
		if known.id == id:
			return known
	return null


## Reads what the agent says of it; [code]null[/code] if that is no match.
static func from_json(from: Dictionary) -> MusterAllocation:
	var allocation := MusterAllocation.new()
	allocation.match_id = Json.text(from, "match_id")
	if allocation.match_id == "":
		return null
	allocation.data = from.get("data")
	allocation.lobby = Json.object(from, "lobby")
	for item in Json.objects(from, "seats"):
		var known := MusterSeat.new()
		known.id = Json.text(item, "seat")
		known.player = Json.text(item, "player")
		known.team = Json.text(item, "team")
		allocation.seats.append(known)
	return allocation
