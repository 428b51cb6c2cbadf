extends Node
## Runs every `test_*` of every `test_*.gd` beside it, prints what failed, and leaves with 0 or 1.
##
##   godot --headless --path sdk-godot res://tests/main.tscn -- [--only NAME]
##
## A runner of our own, because none can be had without a download; it is as small as that allows.
## Each test has a deadline, so that a call that hangs fails instead.

const Case := preload("case.gd")

## Seconds for one test.
const TEST_TIMEOUT_S := 20.0
const FOLDERS: Array[String] = [
	"res://addons/muster", "res://tests", "res://conformance", "res://bench"
]


func _ready() -> void:
	var began := Time.get_ticks_msec()
	var faults: Array[String] = []
	var only := _only()
	var run := 0
	for path in _scripts():
		var script: GDScript = load(path)
		# What does not compile, warnings included, cannot be made.
		if script == null or not script.can_instantiate():
			faults.append("%s does not compile" % path)
		elif path.get_file().begins_with("test_"):
			for method in script.get_script_method_list():
				var test_name: String = method["name"]
				var full_name := path.get_file() + ":" + test_name
				if test_name.begins_with("test_") and (only == "" or only in full_name):
					run += 1
					await _run(script, path.get_file().get_basename(), test_name, faults)
	for fault in faults:
		print("FAILED %s" % fault)
	print(
		(
			"%d tests, %d faults, %.1f s"
			% [run, faults.size(), (Time.get_ticks_msec() - began) / 1000.0]
		)
	)
	get_tree().quit(0 if faults.is_empty() and run > 0 else 1)


func _run(script: GDScript, suite: String, test_name: String, faults: Array[String]) -> void:
	var case: Case = script.new()
	add_child(case)
	@warning_ignore("missing_await")
	_call(case, test_name)
	var ends := Time.get_ticks_msec() + int(TEST_TIMEOUT_S * 1000.0)
	while not case.is_over and Time.get_ticks_msec() < ends:
		await get_tree().process_frame
	if not case.is_over:
		case.faults.append("not over after %d s" % int(TEST_TIMEOUT_S))
	elif case.checks == 0:
		case.faults.append("checked nothing")
	for fault in case.faults:
		faults.append("%s: %s: %s" % [suite, test_name, fault])
	print("%s %s: %s" % ["ok    " if case.faults.is_empty() else "FAILED", suite, test_name])
	case.queue_free()
	await get_tree().process_frame


func _call(case: Case, test_name: String) -> void:
	await case.call(test_name)
	case.is_over = true


static func _only() -> String:
	var arguments := OS.get_cmdline_user_args()
	var at := arguments.find("--only")
	return arguments[at + 1] if at >= 0 and at + 1 < arguments.size() else ""


static func _scripts() -> Array[String]:
	var found: Array[String] = []
	var folders := FOLDERS.duplicate()
	while not folders.is_empty():
		var folder: String = folders.pop_front()
		for inner in DirAccess.get_directories_at(folder):
			folders.append(folder.path_join(inner))
		for file in DirAccess.get_files_at(folder):
			if file.ends_with(".gd"):
				found.append(folder.path_join(file))
	return found
