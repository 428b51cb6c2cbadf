extends "game_case.gd"
## ENet through edges: the seat is proven from the playing socket, and what happens to an edge is
## mended. The edges are played; the server and its players are the addon's.

const FakeEdge := preload("fake_edge.gd")

const HOSTS: Array[String] = ["127.0.0.2", "127.0.0.3"]

var edges: Array[FakeEdge] = []
var told: Array[String] = []


## A seat behind two edges, with a client that sits in it.
func sit_down() -> MusterClient:
	await start_server()
	var endpoints: Array[Dictionary] = []
	var port := free_port(true)
	for host in HOSTS:
		var edge := FakeEdge.new()
		add_child(edge)
		edge.open(host, port, enet_port)
		edges.append(edge)
		endpoints.append({"host": host, "port": port, "protocol": "udp", "token": "v4.public.x"})
	var client := client_at(branch("Client"))
	client.connection_lost.connect(func(_why: MusterResult) -> void: told.append("lost"))
	client.connection_regained.connect(
		func(again: MusterConnection) -> void: told.append("at " + again.endpoint.host)
	)
	client.connection_ended.connect(func(why: MusterResult) -> void: told.append(str(why)))
	var assignment := MusterAssignment.from_json({"seat_id": "seat_1", "endpoints": endpoints})
	var connection := await client.connect_to_seat(assignment)
	equal(connection.ok, true, connection.message)
	equal(connection.endpoint.host, HOSTS[0])
	await until(func() -> bool: return server.players().size() == 1, "the player is there")
	return client


## That the server reaches the client.
func hear(client: MusterClient) -> void:
	var heard: Array[String] = []
	var hearing := func(_from: int, packet: PackedByteArray) -> void:
		heard.append(packet.get_string_from_utf8())
	client.multiplayer_api.peer_packet.connect(hearing)
	var peer := server.players()[0].peer_id
	server.multiplayer_api.send_bytes("hello".to_utf8_buffer(), peer)
	await until(func() -> bool: return heard == (["hello"] as Array[String]), "the server is heard")


func test_a_killed_edge_is_replaced_by_another() -> void:
	var client := await sit_down()
	edges[0].vanish()
	await until(func() -> bool: return told.size() == 2, "another edge")
	equal(told, ["lost", "at " + HOSTS[1]] as Array[String])
	await until(func() -> bool: return server.players().size() == 1, "the same player")
	equal(server.players()[0].seat_id, "seat_1")
	equal(server.players()[0].has_returned, true)
	await hear(client)


func test_an_edge_that_was_restarted_is_not_noticed() -> void:
	var client := await sit_down()
	var peer := client.get_connection().peer
	var proofs := edges[0].proofs
	edges[0].forget()
	await until(func() -> bool: return edges[0].proofs > proofs, "the seat is proven again")
	await hear(client)
	equal(told, [] as Array[String])
	equal(client.get_connection().peer, peer)


func test_without_any_edge_the_end_is_told() -> void:
	var client := await sit_down()
	client._keeper.rejoin_s = 2.0
	for edge in edges:
		edge.vanish()
	await until(func() -> bool: return told.size() == 2, "the end is told", 12.0)
	equal(told[0], "lost")
	check("timeout" in told[1], told[1])
	equal(client.is_in_match(), false)


func test_who_connects_anew_while_it_is_being_mended_is_served() -> void:
	var client := await sit_down()
	var assignment := client._keeper._assignment
	edges[0].vanish()
	await until(func() -> bool: return told.size() == 1, "it is lost")
	var again := await client.connect_to_seat(assignment)
	equal(again.ok, true, again.message)
	equal(client.get_connection(), again)
	await until(func() -> bool: return server.players().size() == 1, "one player")
	await hear(client)
	equal(told, ["lost"] as Array[String])
	edges[1].vanish()
	await until(func() -> bool: return told.size() == 2, "it is lost again")
	client.close_connection()
	equal(client.is_in_match(), false)
