extends "case.gd"
## When a preface is shown again, and when an edge counts as gone: looked at with a clock of our
## own.

const LinkWatch := preload("../addons/muster/client/link_watch.gd")

var watch := LinkWatch.new()
var now_ms := 10_000
var seen: Array[int] = []


## Lets time pass in frames, in each of which so many packets come.
func pass_ms(ms: int, packets := 0, frame_ms := 16) -> void:
	seen.clear()
	for frame in ms / frame_ms:
		now_ms += frame_ms
		var action := watch.look(now_ms, packets)
		if action != LinkWatch.Action.NONE:
			seen.append(action)


func test_a_link_on_which_something_comes_is_left_alone() -> void:
	pass_ms(60_000, 1)
	equal(seen, [] as Array[int])
	pass_ms(LinkWatch.QUIET_MS - 50)
	pass_ms(16, 1)
	pass_ms(LinkWatch.QUIET_MS - 50)
	equal(seen, [] as Array[int])


func test_silence_is_asked_about_and_then_is_the_end() -> void:
	pass_ms(LinkWatch.LOST_MS + 100)
	check(seen.count(LinkWatch.Action.PROVE) >= 3, "several prefaces: %s" % [seen])
	check(LinkWatch.Action.LOST in seen, "and then it is lost")
	equal(seen[0], LinkWatch.Action.PROVE as int)


func test_an_answer_begins_anew() -> void:
	pass_ms(LinkWatch.QUIET_MS + 200)
	check(LinkWatch.Action.PROVE in seen, "it is asked about")
	pass_ms(16, 1)
	pass_ms(LinkWatch.QUIET_MS - 50)
	equal(seen, [] as Array[int])


func test_a_game_that_did_not_look_has_not_missed_anything() -> void:
	watch.look(now_ms, 1)
	now_ms += 30_000
	equal(watch.look(now_ms, 0), LinkWatch.Action.NONE)
