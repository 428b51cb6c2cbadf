@tool
extends VBoxContainer
## The dock: a stack on this machine, games that play on it, deploying to it, and what its servers
## do.

const Json := preload("../core/json.gd")
const LocalStack := preload("local_stack.gd")
const Commands := preload("commands.gd")
const ServerList := preload("server_list.gd")
const Attachment := preload("attachment.gd")

## Files of the project that are deployed with it, where they exist.
const QUEUE_FILE := "res://queue.toml"
const MAX_CLIENTS := 8
const MAX_LOG_CHARS := 100_000
## Width at which every word and button of it is seen, in pixels.
const WIDTH := 360
## Width of the list's columns of words, in pixels.
const STATE_WIDTH := 90
const PLAYERS_WIDTH := 70

var _stack := LocalStack.new()
var _commands := Commands.new()
var _servers := ServerList.new()
var _attachment := Attachment.new()

var _stack_button := Button.new()
var _stack_status := Label.new()
var _client_count := SpinBox.new()
var _play_button := Button.new()
var _attach_button := Button.new()
var _attach_status := Label.new()
var _image := LineEdit.new()
var _preset := LineEdit.new()
var _deploy_button := Button.new()
var _tree := Tree.new()
var _stop_button := Button.new()
var _log := TextEdit.new()
var _log_of := Label.new()


func _init() -> void:
	name = "Muster"
	custom_minimum_size.x = WIDTH
	for part: Node in [_stack, _commands, _servers, _attachment]:
		add_child(part)
	_servers.stack = _stack
	_attachment.stack = _stack
	_add_stack_part()
	_add_play_part()
	_add_attach_part()
	_add_deploy_part()
	_add_server_part()
	_stack.changed.connect(_on_stack_changed)
	_attachment.changed.connect(_on_attachment_changed)
	_attachment.said.connect(_append_log)
	_commands.said.connect(_append_log)
	_commands.done.connect(_on_deployed)
	_servers.listed.connect(_on_listed)
	_servers.logged.connect(_on_logged)
	_on_stack_changed()


func _add_stack_part() -> void:
	_stack_status.text_overrun_behavior = TextServer.OVERRUN_TRIM_ELLIPSIS
	_stack_button.tooltip_text = "Run orchestrator, agent and edge on this machine (muster dev)"
	_add_row("Local stack", [_stack_status], _stack_button, _on_stack_pressed)


func _add_play_part() -> void:
	_client_count.min_value = 1
	_client_count.max_value = MAX_CLIENTS
	_client_count.value = 2
	_client_count.suffix = "clients"
	_play_button.text = "Start"
	_play_button.tooltip_text = "Run the project as often, with the stack's URL and client token"
	_add_row("Play", [_client_count], _play_button, _on_play_pressed)


func _add_attach_part() -> void:
	_attach_button.tooltip_text = "Run the project here, in the place of a server of its fleet"
	_add_row("This project as the server", [_attach_status], _attach_button, _on_attach_pressed)


func _add_deploy_part() -> void:
	_image.placeholder_text = "image"
	_image.text = (
		str(ProjectSettings.get_setting("application/config/name", "game")).to_kebab_case()
	)
	_image.tooltip_text = "The image to make from the project's Dockerfile, and the build's name"
	_preset.placeholder_text = "export preset"
	_preset.tooltip_text = "Export with this preset first; empty: the Dockerfile takes the project"
	_deploy_button.text = "Deploy"
	_deploy_button.tooltip_text = "Export, docker build, build push; apply fleet.toml and queue.toml"
	_add_row("Deploy", [_image, _preset], _deploy_button, _on_deploy_pressed)


func _add_server_part() -> void:
	_stop_button.text = "Stop"
	_stop_button.tooltip_text = "The selected server drains: its players finish first"
	_stop_button.disabled = true
	_add_row("Servers", [_log_of], _stop_button, _on_stop_pressed)
	_tree.columns = 3
	_tree.hide_root = true
	_tree.column_titles_visible = true
	var titles: Array[String] = ["Server", "State", "Players"]
	for column in 3:
		_tree.set_column_title(column, titles[column])
		_tree.set_column_title_alignment(column, HORIZONTAL_ALIGNMENT_LEFT)
	for column: int in [1, 2]:
		_tree.set_column_expand(column, false)
	_tree.set_column_custom_minimum_width(1, STATE_WIDTH)
	_tree.set_column_custom_minimum_width(2, PLAYERS_WIDTH)
	_tree.custom_minimum_size.y = 110
	_tree.item_selected.connect(_on_selected)
	add_child(_tree)
	_log.editable = false
	_log.wrap_mode = TextEdit.LINE_WRAPPING_BOUNDARY
	_log.size_flags_vertical = Control.SIZE_EXPAND_FILL
	_log.custom_minimum_size.y = 160
	_log.placeholder_text = "What the stack, a deploy or the selected server prints"
	add_child(_log)


## A row under [param title]: what is shown or filled in, and the button that does it.
func _add_row(title: String, fields: Array[Control], button: Button, on_pressed: Callable) -> void:
	var label := Label.new()
	label.text = title
	label.theme_type_variation = "HeaderSmall"
	add_child(label)
	var row := HBoxContainer.new()
	add_child(row)
	for field in fields:
		field.size_flags_horizontal = Control.SIZE_EXPAND_FILL
		row.add_child(field)
	button.pressed.connect(on_pressed)
	row.add_child(button)


func _on_stack_pressed() -> void:
	if _stack.is_running():
		_stack_status.text = "stopping..."
		_stack.stop()
		return
	var fault := _stack.start(MusterSettings.text(MusterSettings.PROGRAM))
	_stack_status.text = fault if fault != "" else "starting..."


func _on_stack_changed() -> void:
	_stack_button.text = "Stop" if _stack.is_running() else "Start"
	if _stack.is_up():
		_stack_status.text = "up at " + _stack.url
	elif not _stack.is_running():
		_stack_status.text = "not running"
		_tree.clear()
	_play_button.disabled = not _stack.is_up()
	_deploy_button.disabled = not _stack.is_up() or _commands.is_running()
	if not _stack.is_up():
		_attachment.detach()
	_on_attachment_changed()
	if _servers.selected == "" and not _commands.is_running() and not _stack.lines.is_empty():
		_log_of.text = ""
		_set_log("\n".join(_stack.lines))


func _on_play_pressed() -> void:
	_stack.reveal(_stack.client_token)
	var project := ProjectSettings.globalize_path("res://")
	for client in int(_client_count.value):
		var place := "%d,%d" % [60 + client * 60, 60 + client * 60]
		OS.create_process(OS.get_executable_path(), ["--path", project, "--position", place])
	_stack.conceal()


func _on_attach_pressed() -> void:
	if _attachment.state != Attachment.State.NONE:
		_attachment.detach()
		return
	_select("")
	var fault := _attachment.attach()
	if fault != "":
		_append_log(fault)


func _on_attachment_changed() -> void:
	var is_none := _attachment.state == Attachment.State.NONE
	_attach_button.text = "Attach" if is_none else "Detach"
	_attach_button.disabled = not _stack.is_up()
	match _attachment.state:
		Attachment.State.NONE:
			_attach_status.text = "in containers"
		Attachment.State.WAITING:
			_attach_status.text = "waiting for its place..."
		Attachment.State.RUNNING:
			_attach_status.text = "attached"


func _on_deploy_pressed() -> void:
	_select("")
	_set_log("")
	_stack.reveal(_stack.admin_token)
	_deploy_button.disabled = _commands.run(_deploy_commands())


## Each step of a deploy, as one would type it in the project's folder.
func _deploy_commands() -> Array[PackedStringArray]:
	var project := ProjectSettings.globalize_path("res://")
	var image := _image.text.strip_edges()
	var steps: Array[PackedStringArray] = []
	if _preset.text.strip_edges() != "":
		var engine := OS.get_executable_path()
		steps.append(
			PackedStringArray(
				[
					engine,
					"--headless",
					"--path",
					project,
					"--export-release",
					_preset.text.strip_edges()
				]
			)
		)
	steps.append(PackedStringArray(["docker", "build", "--tag", image, project]))
	steps.append(_muster(["build", "push", image, "--tag", image + ":latest"]))
	for pair: Array in [["fleet", Attachment.FLEET_FILE], ["queue", QUEUE_FILE]]:
		var file: String = pair[1]
		if FileAccess.file_exists(file):
			steps.append(_muster([pair[0], "apply", "-f", ProjectSettings.globalize_path(file)]))
	return steps


static func _muster(arguments: PackedStringArray) -> PackedStringArray:
	return PackedStringArray([MusterSettings.text(MusterSettings.PROGRAM)]) + arguments


func _on_deployed(is_well: bool) -> void:
	_stack.conceal()
	_deploy_button.disabled = not _stack.is_up()
	_append_log("deployed" if is_well else "not deployed: see above")


func _on_listed(servers: Array[Dictionary], why: String) -> void:
	_stack_status.text = why if why != "" else "up at " + _stack.url
	_stack_status.tooltip_text = why
	if why != "":
		return
	_attachment.look(servers)
	_tree.clear()
	var root := _tree.create_item()
	for server in servers:
		var id := Json.text(server, "id")
		if Json.text(server, "state") == "stopped":
			continue
		var item := _tree.create_item(root)
		item.set_text(0, "%s  …%s" % [Json.text(server, "fleet"), id.right(6)])
		item.set_tooltip_text(0, "%s\n%s" % [id, Json.text(server, "explanation")])
		item.set_text(1, Json.text(server, "state"))
		item.set_text(2, str(Json.objects(server, "seats").size()))
		item.set_metadata(0, id)
		if id == _servers.selected:
			item.select(0)


func _on_selected() -> void:
	var item := _tree.get_selected()
	var id: String = item.get_metadata(0)
	if id != _servers.selected:
		_select(id)


func _select(server: String) -> void:
	_servers.selected = server
	_stop_button.disabled = server == ""
	_log_of.text = "" if server == "" else "log of …" + server.right(6)


func _on_stop_pressed() -> void:
	var stopped := await _servers.stop(_servers.selected)
	if not stopped.ok:
		_append_log(stopped.message)


func _on_logged(text: String) -> void:
	_set_log(text)


func _append_log(text: String) -> void:
	_set_log(_log.text + text + "\n")


func _set_log(text: String) -> void:
	if text == _log.text:
		return
	_log.text = text.right(MAX_LOG_CHARS)
	_log.set_caret_line(_log.get_line_count() - 1)
