@tool
extends Node
## Runs `muster dev` beside the editor, and knows how to reach it.

## Something was printed, or the stack has begun or ended.
signal changed

## Where `muster dev` keeps its state, in the project; the editor looks into no folder whose name
## begins with a dot.
const STATE_DIR := "res://.muster"
## Lines of output that are kept.
const MAX_LINES := 400

var url := ""
var admin_token := ""
var namespace_name := ""
var client_token := ""
var lines: PackedStringArray = []

var _pid := 0
var _reader: Thread = null
var _lock := Mutex.new()
var _fresh: PackedStringArray = []
var _was_running := false


## Starts the stack with [param program]; what went wrong, or nothing.
func start(program: String) -> String:
	if is_running():
		return "it runs already"
	var state_dir := ProjectSettings.globalize_path(STATE_DIR)
	var pipes := OS.execute_with_pipe(program, ["dev", "--state", state_dir])
	if pipes.is_empty():
		return "%s cannot be started; name it in the setting %s" % [program, MusterSettings.PROGRAM]
	_pid = pipes["pid"]
	lines.clear()
	_reader = Thread.new()
	_reader.start(_read.bind(pipes["stdio"], pipes["stderr"]))
	return ""


## Ends the stack, and the servers that it runs with it.
func stop() -> void:
	if not is_running():
		return
	if OS.get_name() == "Windows":
		OS.kill(_pid)
	else:
		# `OS.kill` asks for nothing, and the stack's containers would stay.
		OS.execute("kill", ["-INT", str(_pid)])


## Lets the programs that are started next reach the stack with [param token]. By their environment:
## on a command line every user of the machine would see it.
func reveal(token: String) -> void:
	OS.set_environment("MUSTER_URL", url)
	OS.set_environment("MUSTER_TOKEN", token)
	OS.set_environment("MUSTER_NAMESPACE", namespace_name)


## Takes it back.
func conceal() -> void:
	for variable: String in ["MUSTER_URL", "MUSTER_TOKEN", "MUSTER_NAMESPACE"]:
		OS.unset_environment(variable)


func is_running() -> bool:
	return _pid > 0 and OS.is_process_running(_pid)


## Whether it can be reached: it has said where.
func is_up() -> bool:
	return is_running() and url != "" and client_token != ""


func _process(_delta: float) -> void:
	if _pid == 0:
		return
	_lock.lock()
	var fresh := _fresh
	_fresh = []
	_lock.unlock()
	if not fresh.is_empty():
		lines.append_array(fresh)
		if lines.size() > MAX_LINES:
			lines = lines.slice(lines.size() - MAX_LINES)
		changed.emit()
	if not is_up():
		_look_for_address()
	if is_running() != _was_running:
		_was_running = is_running()
		if not _was_running:
			_forget()
		changed.emit()


func _exit_tree() -> void:
	stop()
	if _reader != null:
		_reader.wait_to_finish()


func _forget() -> void:
	_pid = 0
	url = ""
	client_token = ""
	if _reader != null:
		_reader.wait_to_finish()
		_reader = null


## Reads what the process prints until it ends. On a thread of its own, since reading a pipe blocks.
func _read(out: FileAccess, errors: FileAccess) -> void:
	for pipe: FileAccess in [out, errors]:
		while pipe.is_open() and pipe.get_error() == OK:
			var line := pipe.get_line()
			if pipe.get_error() != OK:
				break
			_lock.lock()
			_fresh.append(line)
			_lock.unlock()


## `muster dev` leaves in files how it is reached.
func _look_for_address() -> void:
	if not is_running():
		return
	var file := FileAccess.get_file_as_string(STATE_DIR.path_join("client.toml"))
	for line in file.split("\n"):
		var value := line.get_slice("=", 1).strip_edges().trim_prefix('"').trim_suffix('"')
		match line.get_slice("=", 0).strip_edges():
			"url":
				url = value
			"token":
				admin_token = value
			"namespace":
				namespace_name = value
	client_token = FileAccess.get_file_as_string(STATE_DIR.path_join("client-token")).strip_edges()
	if is_up():
		changed.emit()
