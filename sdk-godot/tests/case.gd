extends Node
## What tests are made of: checks that are counted, and faults that are kept.

const Deadline := preload("../addons/muster/core/clock.gd")
const FakeApi := preload("fake_api.gd")

var checks := 0
var faults: Array[String] = []
var is_over := false


func check(holds: bool, what: String) -> void:
	checks += 1
	if not holds:
		faults.append(what)


func equal(found: Variant, expected: Variant, what := "") -> void:
	checks += 1
	if typeof(found) != typeof(expected) or found != expected:
		faults.append("%s: found %s, expected %s" % [what, var_to_str(found), var_to_str(expected)])


## That a call failed with this code, and with words.
func failed(result: MusterResult, code: String, words := "") -> void:
	equal(result.ok, false, "ok of " + code)
	equal(result.code, code, result.message)
	check(result.message.length() > 10 and result.message != code, "a message for a person")
	check(words == "" or words in result.message, "%s does not say %s" % [result.message, words])


func until(condition: Callable, what: String, timeout_s := 5.0) -> void:
	var held: bool = await Deadline.new(timeout_s).until(get_tree(), condition)
	check(held, "not in time: " + what)


## An orchestrator, or an agent, that says what it is told to.
func fake_api() -> FakeApi:
	var fake := FakeApi.new()
	add_child(fake)
	return fake


## A client of it.
func client_of(fake: FakeApi) -> MusterClient:
	var client := MusterClient.new()
	add_child(client)
	client.configure(fake.url(), "token")
	client._memory.path = "user://test_tickets_%d.json" % randi()
	return client
