@tool
extends Node
## Puts the project, as the editor runs it, in the place of a server of the stack. A container of
## the project's fleet stands in for it (server/stand_in.gd), and the project is run with that
## container's variables: Muster and players take it for the server, and the debugger has it.

## Its state or its words are new.
signal changed
## For the log.
signal said(text: String)

enum State {
	NONE,
	## The fleet is being changed, or its container is awaited.
	WAITING,
	## The project runs in its place.
	RUNNING,
}

const Json := preload("../core/json.gd")
const LocalStack := preload("local_stack.gd")
const Commands := preload("commands.gd")

## The project's fleet, and the same as it is while the project is attached.
const FLEET_FILE := "res://fleet.toml"
const ATTACHED_FILE := "res://.muster/attached-fleet.toml"

## Seconds within which a server of the fleet has to stand in.
const PLACE_TIMEOUT_S := 120.0

var stack: LocalStack = null
var state := State.NONE

var _commands := Commands.new()
var _fleet := ""
var _waited_s := 0.0


func _ready() -> void:
	add_child(_commands)
	_commands.said.connect(said.emit)
	_commands.done.connect(_on_applied)


## Has a server of the fleet stand in, and then runs the project; what is wrong, or nothing.
func attach() -> String:
	var text := FileAccess.get_file_as_string(FLEET_FILE)
	_fleet = name_in(text)
	if _fleet == "":
		return "%s names no fleet: there is none to attach to" % FLEET_FILE
	var attached := attached_fleet(text)
	if attached == "":
		return "write the environment in %s as a table [env], not in a line" % FLEET_FILE
	var file := FileAccess.open(ATTACHED_FILE, FileAccess.WRITE)
	if file == null:
		return "%s cannot be written" % ATTACHED_FILE
	file.store_string(attached)
	file.close()
	_apply(ATTACHED_FILE)
	_waited_s = 0.0
	_enter(State.WAITING)
	return ""


## Ends it: the fleet is as its file says, and its servers run in containers again.
func detach() -> void:
	if state == State.NONE:
		return
	if state == State.RUNNING and _is_playing():
		_editor().call("stop_playing_scene")
	_enter(State.NONE)
	if stack.is_up():
		_apply(FLEET_FILE)


## Looks among the stack's servers for the one that stands in.
func look(servers: Array[Dictionary]) -> void:
	if state != State.WAITING or _commands.is_running():
		return
	for server in servers:
		if Json.text(server, "fleet") != _fleet or Json.text(server, "state") != "starting":
			continue
		var variables := _variables_of(Json.text(server, "id"))
		if variables.has(MusterEnvironment.STAND_IN):
			_run(variables)
			return


## The file's fleet with one warm server, which stands in; empty if that cannot be told from it.
static func attached_fleet(text: String) -> String:
	var stand_in := '%s = "1"' % MusterEnvironment.STAND_IN
	var lines: PackedStringArray = []
	var has_table := false
	for line in text.split("\n"):
		var key := line.get_slice("=", 0).strip_edges()
		if key == "env" and "=" in line:
			return ""
		if key == "warm" and "=" in line:
			line = "warm = 1"
		lines.append(line)
		if line.strip_edges() == "[env]":
			has_table = true
			lines.append(stand_in)
	if not has_table:
		lines.append_array(["[env]", stand_in, ""])
	return "\n".join(lines)


## The name in a fleet's file; empty if there is none.
static func name_in(text: String) -> String:
	for line in text.split("\n"):
		if line.strip_edges().begins_with("["):
			break
		if line.get_slice("=", 0).strip_edges() == "name" and "=" in line:
			return line.get_slice("=", 1).get_slice('"', 1)
	return ""


func _process(delta: float) -> void:
	if state == State.RUNNING and not _is_playing():
		detach()
	if state != State.WAITING:
		return
	_waited_s += delta
	if _waited_s > PLACE_TIMEOUT_S and not _commands.is_running():
		(
			said
			. emit(
				(
					(
						"no server of %s stood in for the project in %d s; deploy the project first: its image"
						% [_fleet, int(PLACE_TIMEOUT_S)]
					)
					+ " has to have this addon. `muster server ls --all` says what became of its servers"
				)
			)
		)
		detach()


func _apply(file: String) -> void:
	stack.reveal(stack.admin_token)
	var program := MusterSettings.text(MusterSettings.PROGRAM)
	var path := ProjectSettings.globalize_path(file)
	_commands.run([PackedStringArray([program, "fleet", "apply", "-f", path])])


func _on_applied(is_well: bool) -> void:
	stack.conceal()
	if not is_well and state == State.WAITING:
		_enter(State.NONE)


## Muster's variables in the container of a server; empty if it has none yet.
static func _variables_of(server: String) -> Dictionary:
	var output := []
	var format := "{{range .Config.Env}}{{println .}}{{end}}"
	var variables := {}
	if OS.execute("docker", ["inspect", "--format", format, "muster-" + server], output) != 0:
		return variables
	var words: String = output[0]
	for line in words.split("\n"):
		if line.begins_with("MUSTER_") or line.begins_with(MusterEnvironment.STAND_IN):
			variables[line.get_slice("=", 0)] = line.substr(line.find("=") + 1)
	return variables


## A child has its parent's environment, and there is no other way to give it one.
func _run(variables: Dictionary) -> void:
	variables.erase(MusterEnvironment.STAND_IN)
	for variable: String in variables:
		var value: String = variables[variable]
		OS.set_environment(variable, value)
	_editor().call("play_main_scene")
	for variable: String in variables:
		OS.unset_environment(variable)
	said.emit("the project runs in the place of %s" % variables.get("MUSTER_SERVER_ID", ""))
	_enter(State.RUNNING)


func _enter(next: State) -> void:
	state = next
	changed.emit()


## By its name, since there is no such thing where a game runs, which reads this script, too.
static func _editor() -> Object:
	return Engine.get_singleton("EditorInterface")


static func _is_playing() -> bool:
	var is_playing: bool = _editor().call("is_playing_scene")
	return is_playing
