class_name MusterEndpoint
extends RefCounted
## One way to a match's server: a port of it at an edge.

enum Protocol {
	## Datagrams: ENet.
	UDP,
	## A byte stream; this addon has no peer for it.
	TCP,
	## WebSocket.
	WS,
}

const Json := preload("../core/json.gd")

## The fleet's name for the port.
var port_name := ""
var protocol := Protocol.TCP
## Host name or address of the edge.
var host := ""
var port := 0
## For WebSocket: the whole URL, with the token in it if one is needed.
var url := ""
## The session token to show; empty if anyone may connect.
var token := ""


## Whether both lead to the same edge.
func is_at_edge_of(other: MusterEndpoint) -> bool:
	return other != null and other.host == host


## Reads what the API says of it.
static func from_json(from: Dictionary) -> MusterEndpoint:
	var endpoint := MusterEndpoint.new()
	endpoint.port_name = Json.text(from, "port_name")
	match Json.text(from, "protocol"):
		"udp":
			endpoint.protocol = Protocol.UDP
		"ws":
			endpoint.protocol = Protocol.WS
	endpoint.host = Json.text(from, "host")
	endpoint.port = Json.integer(from, "port")
	endpoint.url = Json.text(from, "url")
	endpoint.token = Json.text(from, "token")
	return endpoint
