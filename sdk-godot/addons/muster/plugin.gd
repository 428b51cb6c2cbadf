@tool
extends EditorPlugin
## Adds the autoload [code]Muster[/code], the settings in Project Settings, and the dock.

const Dock := preload("editor/dock.gd")

const AUTOLOAD := "Muster"

var _dock: Dock = null


func _enable_plugin() -> void:
	add_autoload_singleton(AUTOLOAD, "muster.gd")


func _disable_plugin() -> void:
	remove_autoload_singleton(AUTOLOAD)


func _enter_tree() -> void:
	_add_settings()
	_dock = Dock.new()
	add_control_to_dock(DOCK_SLOT_RIGHT_UL, _dock)


func _exit_tree() -> void:
	remove_control_from_docks(_dock)
	_dock.queue_free()


func _add_settings() -> void:
	for setting: String in MusterSettings.DEFAULTS:
		var default: Variant = MusterSettings.DEFAULTS[setting]
		if not ProjectSettings.has_setting(setting):
			ProjectSettings.set_setting(setting, default)
		ProjectSettings.set_initial_value(setting, default)
		ProjectSettings.set_as_basic(setting, true)
		ProjectSettings.add_property_info(_info(setting, default))


static func _info(setting: String, default: Variant) -> Dictionary:
	var info := {"name": setting, "type": typeof(default)}
	match setting:
		MusterSettings.CA:
			info["hint"] = PROPERTY_HINT_FILE
			info["hint_string"] = "*.pem,*.crt"
		MusterSettings.TRANSPORT:
			info["hint"] = PROPERTY_HINT_ENUM
			info["hint_string"] = "Automatic,ENet,WebSocket"
		MusterSettings.CALL_TIMEOUT:
			info["hint"] = PROPERTY_HINT_RANGE
			info["hint_string"] = "0.5,60,0.5,suffix:s"
		MusterSettings.REJOIN:
			info["hint"] = PROPERTY_HINT_RANGE
			info["hint_string"] = "0,300,1,suffix:s"
		MusterSettings.ENET_PORT, MusterSettings.WEB_PORT:
			info["hint"] = PROPERTY_HINT_RANGE
			info["hint_string"] = "0,65535"
	return info
