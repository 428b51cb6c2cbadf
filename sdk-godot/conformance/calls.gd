extends Node
## What every group of calls has: how an answer is said.

const Json := preload("../addons/muster/core/json.gd")
const Deadline := preload("../addons/muster/core/clock.gd")


func say(line: Dictionary) -> void:
	print(JSON.stringify(line))


static func _ok(value := {}) -> Dictionary:
	return {"ok": value}


static func _outcome(result: MusterResult, value := {}) -> Dictionary:
	if result.ok:
		return _ok(value)
	var error := {"code": result.code, "message": result.message}
	if result.retry_after_s > 0.0:
		error["retry_after_s"] = int(result.retry_after_s)
	return {"error": error}


static func _closed(what: String) -> Dictionary:
	return {"error": {"code": "closed", "message": "%s was closed, or was never opened" % what}}


static func _seconds(request: Dictionary) -> float:
	return Json.number(request, "timeout_ms", 5_000.0) / 1000.0
