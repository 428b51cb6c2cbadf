extends "case.gd"
## A game server of the addon with an agent that is played, and clients of it, all in one process.

var agent: FakeApi = null
var server: MusterServer = null
var enet_port := 0
var web_port := 0


## A branch of the scene tree with a multiplayer API of its own.
func branch(branch_name: String) -> SceneMultiplayer:
	var node := Node.new()
	node.name = branch_name
	add_child(node)
	var api := SceneMultiplayer.new()
	get_tree().set_multiplayer(api, node.get_path())
	return api


static func free_port(is_udp: bool) -> int:
	if is_udp:
		var socket := PacketPeerUDP.new()
		socket.bind(0)
		return socket.get_local_port()
	var listener := TCPServer.new()
	listener.listen(0)
	return listener.get_local_port()


func start_server(max_players := 8) -> void:
	agent = fake_api()
	for path: String in ["ready", "health", "shutdown"]:
		agent.on("POST /v1/" + path, null, 204)
	for path: String in ["connected", "disconnected", "released"]:
		agent.on("POST /v1/seats/" + path, {"seat": "seat_1", "player": "ann"})
	agent.on("GET /v1/events", null, 101)
	enet_port = free_port(true)
	web_port = free_port(false)
	server = MusterServer.new()
	server.multiplayer_api = branch("Server")
	server.environment = (
		MusterEnvironment
		. read(
			{
				"MUSTER_SDK_URL": agent.url(),
				"MUSTER_SERVER_TOKEN": "agent-token",
				"MUSTER_PORT_ENET": str(enet_port),
				"MUSTER_PORT_WEB": str(web_port),
			}
		)
	)
	add_child(server)
	var started := await server.start(max_players)
	equal(started.ok, true, started.message)


## A client, and a seat on the server by this way.
func client_at(api: SceneMultiplayer) -> MusterClient:
	var client := MusterClient.new()
	client.multiplayer_api = api
	add_child(client)
	return client


func seat(is_web := false) -> MusterAssignment:
	var endpoint := {"host": "127.0.0.1", "port": enet_port, "protocol": "udp"}
	if is_web:
		endpoint = {"host": "127.0.0.1", "protocol": "ws", "url": "ws://127.0.0.1:%d" % web_port}
	return MusterAssignment.from_text(
		JSON.stringify({"seat_id": "seat_1", "endpoints": [endpoint]})
	)
