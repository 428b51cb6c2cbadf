@tool
extends Node
## Runs programs one after the other, without the editor waiting for them.

## A program has begun or ended; its words.
signal said(text: String)
## All of them are over, well or not.
signal done(is_well: bool)

var _thread: Thread = null


func is_running() -> bool:
	return _thread != null and _thread.is_alive()


## Runs each of [param commands], a program and its arguments, until one fails. They run in [param
## directory].
func run(commands: Array[PackedStringArray]) -> bool:
	if is_running():
		return false
	if _thread != null:
		_thread.wait_to_finish()
	_thread = Thread.new()
	_thread.start(_run.bind(commands))
	return true


func _run(commands: Array[PackedStringArray]) -> void:
	for command in commands:
		_say.call_deferred("$ " + " ".join(command))
		var output := []
		var code := OS.execute(command[0], command.slice(1), output, true)
		var words: String = output[0] if not output.is_empty() else ""
		_say.call_deferred(words.strip_edges())
		if code != 0:
			_say.call_deferred("it ended with code %d" % code)
			_end.call_deferred(false)
			return
	_end.call_deferred(true)


func _say(text: String) -> void:
	if text != "":
		said.emit(text)


func _end(is_well: bool) -> void:
	done.emit(is_well)


func _exit_tree() -> void:
	if _thread != null:
		_thread.wait_to_finish()
