extends "game_case.gd"
## A container that stands in for a server in the editor: players come to it, and play on the other.

const StandIn := preload("../addons/muster/server/stand_in.gd")

## What players go by.
var way: StandIn = null
var frames := Engine.max_fps
var sleep_usec := OS.low_processor_usage_mode_sleep_usec


## A stand-in before the server of the test; a seat by way of it.
func seat_before(is_web: bool) -> MusterAssignment:
	var inner: Array[int] = [enet_port, web_port]
	enet_port = free_port(true)
	web_port = free_port(false)
	way = StandIn.new()
	add_child(way)
	var opened := way.open("127.0.0.1", enet_port, web_port, inner[0], inner[1])
	equal(opened.ok, true, opened.message)
	# What it asks of the engine is not for the other tests.
	Engine.max_fps = frames
	OS.low_processor_usage_mode_sleep_usec = sleep_usec
	return seat(is_web)


func plays(is_web: bool) -> void:
	await start_server()
	var client := client_at(branch("Client"))
	var connection := await client.connect_to_seat(seat_before(is_web))
	equal(connection.ok, true, connection.message)
	await until(func() -> bool: return server.players().size() == 1, "the player is there")
	var heard: Array[int] = []
	client.multiplayer_api.peer_packet.connect(
		func(_from: int, packet: PackedByteArray) -> void: heard.append(packet.size())
	)
	var bytes := PackedByteArray()
	bytes.resize(200_000)
	server.multiplayer_api.send_bytes(bytes, server.players()[0].peer_id)
	await until(
		func() -> bool: return heard == ([200_000] as Array[int]), "much at once comes whole"
	)
	client.close_connection()
	await until(
		func() -> bool: return server.players().is_empty(), "that the player left does, too"
	)


func test_a_player_by_enet_plays_by_way_of_it() -> void:
	await plays(false)


func test_a_player_by_websocket_plays_by_way_of_it() -> void:
	await plays(true)


func test_a_websocket_whose_way_falls_silent_is_made_anew() -> void:
	await start_server()
	var client := client_at(branch("Client"))
	client._connector.web_heartbeat_s = 0.5
	var told: Array[String] = []
	client.connection_lost.connect(func(why: MusterResult) -> void: told.append(why.code))
	client.connection_regained.connect(
		func(again: MusterConnection) -> void: told.append(again.seat_id)
	)
	var connection := await client.connect_to_seat(seat_before(true))
	equal(connection.ok, true, connection.message)
	# No end is sent, as by a network that goes away.
	way.set_process(false)
	await until(
		func() -> bool: return told == (["connection_lost"] as Array[String]), "%s" % [told]
	)
	way.set_process(true)
	await until(func() -> bool: return told.has("seat_1"), "%s" % [told])


func test_where_nobody_listens_a_connection_ends() -> void:
	enet_port = free_port(true)
	web_port = free_port(false)
	var client := client_at(branch("Client"))
	var connection := await client.connect_to_seat(seat_before(true))
	equal(connection.ok, false)
	check(connection.message.length() > 10, "it says so")


## The agent takes a server that never speaks to it for ready once its ports listen.
func test_it_speaks_to_the_agent_before_its_ports_listen() -> void:
	agent = fake_api()
	web_port = free_port(false)
	server = MusterServer.new()
	server.multiplayer_api = branch("Server")
	server.environment = (
		MusterEnvironment
		. read(
			{
				"MUSTER_SDK_URL": agent.url(),
				"MUSTER_SERVER_TOKEN": "agent-token",
				"MUSTER_PORT_WEB": str(web_port),
				MusterEnvironment.STAND_IN: "1",
			}
		)
	)
	add_child(server)
	agent.on("GET /v1/server", {"code": "later", "detail": "not now"}, 503)
	var started := await server.start(8)
	equal(started.ok, true, started.message)
	await until(func() -> bool: return agent.asked("GET /v1/server").size() > 0, "it has asked")
	equal(await can_connect(), false, "the agent has not heard of it yet")
	agent.on_now("GET /v1/server", {"id": "srv_1", "state": "starting"})
	var is_open := false
	var deadline := Deadline.new(5.0)
	while not is_open and not deadline.is_over():
		await get_tree().process_frame
		is_open = await can_connect()
	check(is_open, "its ports listen")
	equal(agent.asked("POST /v1/ready").size(), 0, "that is for the server in the editor to say")
	Engine.max_fps = frames
	OS.low_processor_usage_mode_sleep_usec = sleep_usec


func can_connect() -> bool:
	var stream := StreamPeerTCP.new()
	if stream.connect_to_host("127.0.0.1", web_port) != OK:
		return false
	var settled := func() -> bool:
		stream.poll()
		return stream.get_status() != StreamPeerTCP.STATUS_CONNECTING
	await Deadline.new(1.0).until(get_tree(), settled)
	return stream.get_status() == StreamPeerTCP.STATUS_CONNECTED
