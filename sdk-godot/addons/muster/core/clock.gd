@tool
extends RefCounted
## A time that ends, by the machine's monotonic clock: a wrong date does not move it.

var _ends_ms := 0


func _init(seconds: float) -> void:
	_ends_ms = Time.get_ticks_msec() + int(maxf(seconds, 0.0) * 1000.0)


func left_s() -> float:
	return maxf(float(_ends_ms - Time.get_ticks_msec()) / 1000.0, 0.0)


func is_over() -> bool:
	return Time.get_ticks_msec() >= _ends_ms


## Waits until [param condition] holds, looking once per frame; false if the time is over first.
func until(tree: SceneTree, condition: Callable) -> bool:
	while not condition.call():
		if is_over():
			return false
		await tree.process_frame
	return true


## Waits [param seconds], at most as long as is left.
func pause(tree: SceneTree, seconds: float) -> void:
	await tree.create_timer(minf(seconds, left_s()), true, false, true).timeout
