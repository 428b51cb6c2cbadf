class_name MusterEnvironment
extends RefCounted
## What Muster tells a game server by its environment.

## Set in a container that stands in for a server in the editor: the dock's Attach sets it. Names
## that begin with [code]MUSTER_[/code] are not for fleets to set.
const STAND_IN := "STAND_IN_OF_MUSTER"

## Whether this process runs under Muster.
var is_muster := false
## Whether it only passes on to a server that runs in the editor of the node's machine.
var is_stand_in := false
var server_id := ""
var namespace_name := ""
var region := ""
## Where the agent's SDK endpoint is, and the token for it.
var sdk_url := ""
var sdk_token := ""
## Ports to listen on, by the fleet's name for them, in capitals and with [code]_[/code] for
## [code]-[/code].
var ports: Dictionary = {}


## Reads the variables in [param variables], or this process's own if it is left out.
static func read(variables: Variant = null) -> MusterEnvironment:
	var environment := MusterEnvironment.new()
	var given: Dictionary = variables if variables is Dictionary else _of_process()
	environment.sdk_url = _text(given, "MUSTER_SDK_URL").trim_suffix("/")
	environment.sdk_token = _text(given, "MUSTER_SERVER_TOKEN")
	environment.server_id = _text(given, "MUSTER_SERVER_ID")
	environment.namespace_name = _text(given, "MUSTER_NAMESPACE")
	environment.region = _text(given, "MUSTER_REGION")
	environment.is_stand_in = _text(given, STAND_IN) != ""
	environment.is_muster = environment.sdk_url != "" and environment.sdk_token != ""
	for variable: String in given:
		if variable.begins_with("MUSTER_PORT_"):
			var number := _text(given, variable)
			if number.is_valid_int() and number.to_int() > 0 and number.to_int() < 65_536:
				environment.ports[variable.trim_prefix("MUSTER_PORT_")] = number.to_int()
	return environment


## The node's machine, as its containers reach it.
func node_host() -> String:
	return sdk_url.get_slice("://", 1).get_slice("/", 0).get_slice(":", 0)


## The port of that name in the fleet's file; 0 if there is none.
func port(name: String) -> int:
	return ports.get(name.to_upper().replace("-", "_"), 0)


static func _text(from: Dictionary, variable: String) -> String:
	return str(from.get(variable, "")).strip_edges()


static func _of_process() -> Dictionary:
	var found := {}
	for variable: String in [
		"MUSTER_SDK_URL",
		"MUSTER_SERVER_TOKEN",
		"MUSTER_SERVER_ID",
		"MUSTER_NAMESPACE",
		"MUSTER_REGION",
		STAND_IN,
	]:
		found[variable] = OS.get_environment(variable)
	# The engine cannot list variables, so the ports' names come from the settings.
	for setting: String in [MusterSettings.ENET_PORT_NAME, MusterSettings.WEB_PORT_NAME]:
		var variable := "MUSTER_PORT_" + MusterSettings.text(setting).to_upper().replace("-", "_")
		found[variable] = OS.get_environment(variable)
	return found
