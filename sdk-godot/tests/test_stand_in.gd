extends "game_case.gd"
## A container that stands in for a server in the editor: players come to it, and play on the other.

const StandIn := preload("../addons/muster/server/stand_in.gd")

var frames := Engine.max_fps
var sleep_usec := OS.low_processor_usage_mode_sleep_usec


## A stand-in before the server of the test; a seat by way of it.
func seat_before(is_web: bool) -> MusterAssignment:
	var inner: Array[int] = [enet_port, web_port]
	enet_port = free_port(true)
	web_port = free_port(false)
	var stand_in := StandIn.new()
	add_child(stand_in)
	var opened := stand_in.open("127.0.0.1", enet_port, web_port, inner[0], inner[1])
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


func test_where_nobody_listens_a_connection_ends() -> void:
	enet_port = free_port(true)
	web_port = free_port(false)
	var client := client_at(branch("Client"))
	var connection := await client.connect_to_seat(seat_before(true))
	equal(connection.ok, false)
	check(connection.message.length() > 10, "it says so")
