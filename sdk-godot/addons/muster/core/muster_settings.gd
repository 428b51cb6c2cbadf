@tool
class_name MusterSettings
extends RefCounted
## The addon's settings: Project Settings, section [i]Muster[/i]; variables of the environment come
## first.
##
## The variables of the client are those of the program [code]muster[/code], so that one shell
## serves both.

## Where the orchestrator's API is.
const URL := "muster/client/url"
## API token of role [code]client[/code].
const TOKEN := "muster/client/token"
## PEM file of the CA to trust besides the system's, for [code]https[/code] and [code]wss[/code].
const CA := "muster/client/ca_file"
## Seconds a call may take.
const CALL_TIMEOUT := "muster/client/call_timeout_s"
## Seconds for which a lost connection is tried again.
const REJOIN := "muster/client/rejoin_s"
## How to reach the game server: 0 as best can be, 1 ENet, 2 WebSocket.
const TRANSPORT := "muster/client/transport"
## The fleet's name for the UDP port that ENet listens on.
const ENET_PORT_NAME := "muster/server/enet_port_name"
## The fleet's name for the WebSocket port.
const WEB_PORT_NAME := "muster/server/web_port_name"
## Ports to listen on where Muster names none; 0: not at all.
const ENET_PORT := "muster/server/enet_port"
const WEB_PORT := "muster/server/web_port"
## A server that drains ends by itself once the last player has left.
const QUIT_WHEN_DRAINED := "muster/server/quit_when_drained"
## The program that the editor's dock runs.
const PROGRAM := "muster/editor/program"

const DEFAULTS: Dictionary = {
	URL: "http://127.0.0.1:7400",
	TOKEN: "",
	CA: "",
	CALL_TIMEOUT: 5.0,
	REJOIN: 30.0,
	TRANSPORT: 0,
	ENET_PORT_NAME: "enet",
	WEB_PORT_NAME: "web",
	ENET_PORT: 7777,
	WEB_PORT: 7778,
	QUIT_WHEN_DRAINED: true,
	PROGRAM: "muster",
}

const VARIABLES: Dictionary = {
	URL: "MUSTER_URL",
	TOKEN: "MUSTER_TOKEN",
	CA: "MUSTER_CA",
}


## A text setting.
static func text(name: String) -> String:
	var variable: String = VARIABLES.get(name, "")
	if variable != "" and OS.get_environment(variable) != "":
		return OS.get_environment(variable)
	return str(_value(name)).strip_edges()


## A setting that is a number.
static func number(name: String) -> float:
	var value: Variant = _value(name)
	if value is float or value is int:
		var found: float = value
		return found
	return 0.0


## A setting that is a whole number.
static func integer(name: String) -> int:
	return int(number(name))


## A setting that holds or does not.
static func boolean(name: String) -> bool:
	var value: Variant = _value(name)
	if value is bool:
		var found: bool = value
		return found
	return false


static func _value(name: String) -> Variant:
	return ProjectSettings.get_setting(name, DEFAULTS[name])
