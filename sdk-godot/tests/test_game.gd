extends "game_case.gd"
## A server and clients of the addon in one process: players join by ENet and WebSocket, drop out,
## come back, and are turned away. The agent is played; there is no edge, so ports are open.


func test_a_server_says_ready_and_health_and_lets_players_in() -> void:
	await start_server()
	equal(agent.asked("POST /v1/ready").size(), 1)
	await until(func() -> bool: return not agent.asked("POST /v1/health").is_empty(), "health")
	check("Bearer agent-token" in agent.requests[0].headers, "with the server's token")
	var joined: Array[MusterPlayer] = []
	server.player_joined.connect(func(player: MusterPlayer) -> void: joined.append(player))
	var client := client_at(branch("Client"))
	var connection := await client.connect_to_seat(seat())
	equal(connection.ok, true, connection.message)
	equal(connection.transport, MusterConnection.Transport.ENET)
	equal(connection.seat_id, "seat_1")
	await until(func() -> bool: return joined.size() == 1, "the server knows the player")
	equal(joined[0].name, "ann")
	equal(joined[0].peer_id, connection.peer.get_unique_id())
	equal(server.player_of(joined[0].peer_id), joined[0])
	client.close_connection()
	await until(func() -> bool: return server.players().is_empty(), "the player has left")
	await until(
		func() -> bool: return agent.asked("POST /v1/seats/disconnected").size() == 1, "it is told"
	)
	equal(agent.asked("POST /v1/seats/disconnected")[0].body, {"seat": "seat_1"})


func test_both_transports_meet_in_one_game() -> void:
	await start_server()
	agent.on("POST /v1/seats/connected", {"seat": "seat_2", "player": "bob"})
	var first := await client_at(branch("First")).connect_to_seat(seat())
	var second := await client_at(branch("Second")).connect_to_seat(seat(true))
	equal(first.ok, true, first.message)
	equal(second.ok, true, second.message)
	equal(second.transport, MusterConnection.Transport.WEBSOCKET)
	await until(func() -> bool: return server.players().size() == 2, "both are there")
	var api := server.multiplayer_api
	equal(api.get_peers().size(), 2)
	var heard := [0, 0]
	var one := first.peer.get_unique_id()
	for pair: Array in [["First", 0], ["Second", 1]]:
		var node: Node = get_node(NodePath(str(pair[0])))
		var their_api := node.multiplayer as SceneMultiplayer
		var index: int = pair[1]
		their_api.peer_packet.connect(
			func(_from: int, _packet: PackedByteArray) -> void: heard[index] += 1
		)
	api.send_bytes("to all".to_utf8_buffer(), 0)
	api.send_bytes("to one".to_utf8_buffer(), one)
	api.send_bytes("to all but one".to_utf8_buffer(), -one)
	await until(func() -> bool: return heard == [2, 2], "each hears what is meant for it")


func test_who_shows_no_good_token_is_turned_away_with_the_reason() -> void:
	await start_server()
	agent.on_now(
		"POST /v1/seats/connected", {"code": "forbidden", "detail": "session token: expired"}, 403
	)
	var client := client_at(branch("Client"))
	for is_web: bool in [false, true]:
		var connection := await client.connect_to_seat(seat(is_web))
		failed(connection, "join_refused", "session token: expired")
	equal(server.players().size(), 0)


func test_who_shows_nonsense_is_turned_away_and_others_play() -> void:
	await start_server()
	agent.on_now("POST /v1/seats/connected", {"code": "forbidden", "detail": "no token"}, 403)
	var big := PackedByteArray()
	big.resize(5_000)
	for shown: PackedByteArray in ["no json".to_utf8_buffer(), "[]".to_utf8_buffer(), big]:
		var api := branch("Stranger%d" % shown.size())
		var told: Array[String] = []
		api.auth_callback = func(_id: int, answer: PackedByteArray) -> void:
			told.append(answer.get_string_from_utf8())
		api.peer_authenticating.connect(func(id: int) -> void: api.send_auth(id, shown))
		var peer := ENetMultiplayerPeer.new()
		equal(peer.create_client("127.0.0.1", enet_port), OK)
		api.multiplayer_peer = peer
		await until(func() -> bool: return told.size() == 1, "it is answered")
		check("join_refused" in told[0], told[0])
	agent.on_now("POST /v1/seats/connected", {"seat": "seat_1", "player": "ann"})
	var connection := await client_at(branch("Client")).connect_to_seat(seat())
	equal(connection.ok, true, connection.message)


## A game server that is not the addon's: what it answers to a token is [param answer], if anything.
func odd_server(answer: String) -> void:
	enet_port = free_port(true)
	var api := branch("Odd")
	if answer != "":
		api.auth_callback = func(id: int, _shown: PackedByteArray) -> void:
			api.send_auth(id, answer.to_utf8_buffer())
	var peer := ENetMultiplayerPeer.new()
	equal(peer.create_server(enet_port), OK)
	api.multiplayer_peer = peer


func test_a_server_without_the_addon_is_told() -> void:
	odd_server("")
	var connection := await client_at(branch("Client")).connect_to_seat(seat(), 1.5)
	failed(connection, "timeout", "Does it use this addon")


func test_a_server_that_answers_nonsense_is_told() -> void:
	odd_server("no json")
	var connection := await client_at(branch("Client")).connect_to_seat(seat(), 3.0)
	failed(connection, "join_refused", "turned the player away")


func test_a_full_server_says_so() -> void:
	await start_server(1)
	var first := await client_at(branch("First")).connect_to_seat(seat())
	equal(first.ok, true, first.message)
	agent.on_now("POST /v1/seats/connected", {"seat": "seat_2", "player": "bob"})
	var second := await client_at(branch("Second")).connect_to_seat(seat())
	failed(second, "server_full", "places are taken")
	equal(server.players().size(), 1)


func test_a_player_who_comes_back_takes_the_old_ones_place() -> void:
	await start_server()
	var back: Array[bool] = []
	server.player_joined.connect(
		func(player: MusterPlayer) -> void: back.append(player.has_returned)
	)
	var first := await client_at(branch("First")).connect_to_seat(seat())
	equal(first.ok, true, first.message)
	# The first one says nothing and is not closed, like a client that was killed.
	get_node("First").process_mode = Node.PROCESS_MODE_DISABLED
	var second := await client_at(branch("Second")).connect_to_seat(seat(true))
	equal(second.ok, true, second.message)
	await until(func() -> bool: return back == [false, true], "the same player, again")
	await until(func() -> bool: return server.multiplayer_api.get_peers().size() == 1, "one peer")
	equal(server.players().size(), 1)
	equal(agent.asked("POST /v1/seats/disconnected").size(), 0)


func test_a_client_that_was_killed_comes_back_from_the_same_address() -> void:
	await start_server()
	# Behind an edge a seat's packets always come from one address. Here the local port sees to
	# that.
	var port := free_port(true)
	var told: Array[String] = []
	server.player_joined.connect(
		func(player: MusterPlayer) -> void: told.append("joined %s" % player.has_returned)
	)
	server.player_left.connect(func(_player: MusterPlayer) -> void: told.append("left"))
	var clients: Array[ENetMultiplayerPeer] = []
	for branch_name: String in ["First", "Second"]:
		var api := branch(branch_name)
		var peer := ENetMultiplayerPeer.new()
		equal(peer.create_client("127.0.0.1", enet_port, 0, 0, 0, port), OK)
		clients.append(peer)
		api.auth_callback = func(id: int, _answer: PackedByteArray) -> void: api.complete_auth(id)
		api.peer_authenticating.connect(
			func(id: int) -> void: api.send_auth(id, '{"token": "t"}'.to_utf8_buffer())
		)
		api.multiplayer_peer = peer
		await until(func() -> bool: return told.size() > 0 and told[-1] != "left", "it joined")
		if branch_name == "First":
			told.clear()
			# No word to anybody, as when a process is killed.
			api.multiplayer_peer = OfflineMultiplayerPeer.new()
			peer.host.destroy()
			# ENet seeds its connections' ids by the second; one of the same second is taken for a
			# copy.
			var second := int(Time.get_unix_time_from_system()) + 1
			var is_later := func() -> bool: return Time.get_unix_time_from_system() > second + 0.1
			await until(is_later, "another second")
	equal(told, ["left", "joined true"] as Array[String])
	await until(func() -> bool: return server.multiplayer_api.get_peers().size() == 1, "one peer")
	equal(server.multiplayer_api.get_peers()[0], clients[1].get_unique_id())


func test_a_lost_connection_is_taken_up_again() -> void:
	await start_server()
	var client := client_at(branch("Client"))
	var told: Array[String] = []
	client.connection_lost.connect(func(why: MusterResult) -> void: told.append(why.code))
	client.connection_regained.connect(
		func(again: MusterConnection) -> void: told.append(again.seat_id)
	)
	var connection := await client.connect_to_seat(seat(true))
	equal(connection.ok, true, connection.message)
	var web := connection.peer as WebSocketMultiplayerPeer
	web.get_peer(1).close()
	await until(
		func() -> bool: return told == (["connection_lost", "seat_1"] as Array[String]),
		"%s" % [told]
	)
	equal(client.get_connection().ok, true)
	check(client.get_connection().peer != web, "another peer")


func test_what_keeps_a_connection_runs_while_the_game_is_paused() -> void:
	await start_server()
	var parts: Array[Node] = [client_at(branch("Client")), server]
	get_tree().paused = true
	while not parts.is_empty():
		var part: Node = parts.pop_back()
		check(part.can_process(), "%s is paused, too" % part.get_path())
		parts.append_array(part.get_children())
	get_tree().paused = false


func test_released_is_for_good() -> void:
	await start_server()
	var client := client_at(branch("Client"))
	var ends: Array[String] = []
	client.connection_ended.connect(func(why: MusterResult) -> void: ends.append(why.code))
	var connection := await client.connect_to_seat(seat())
	equal(connection.ok, true, connection.message)
	await until(func() -> bool: return server.players().size() == 1, "the player is there")
	# The agent may not have heard of it when the player comes again.
	server.release(connection.peer.get_unique_id())
	await until(func() -> bool: return ends == (["join_refused"] as Array[String]), "%s" % [ends])
	equal(agent.asked("POST /v1/seats/released").size(), 1)
	equal(agent.asked("POST /v1/seats/disconnected").size(), 0)


func test_match_and_drain_are_told_and_a_broken_channel_is_made_anew() -> void:
	await start_server()
	var told: Array[String] = []
	server.match_allocated.connect(
		func(of: MusterAllocation) -> void: told.append("allocated " + of.seats[0].team)
	)
	server.match_changed.connect(
		func(of: MusterAllocation) -> void: told.append("%d seats" % of.seats.size())
	)
	server.drain_requested.connect(func(by_ms: int) -> void: told.append("drain %d" % by_ms))
	await until(func() -> bool: return agent.sockets().size() == 1, "the channel is open")
	var seats := [{"seat": "seat_1", "player": "ann", "team": "red"}]
	var say := func(event: Variant) -> void:
		var text: String = event if event is String else JSON.stringify(event)
		FakeApi.tell(agent.sockets()[0], text)
	say.call("no json")
	say.call({"type": "state", "state": "ready", "allocation": null, "draining": false})
	say.call({"type": "allocated", "match_id": "m", "seats": seats, "data": {"map": 1}})
	await until(func() -> bool: return told.size() == 1, "allocated")
	equal(server.allocation.data, {"map": 1.0})
	agent.cut(agent.sockets()[0])
	await until(func() -> bool: return agent.sockets().size() == 1, "it is open again")
	say.call({"type": "allocated", "match_id": "m", "seats": seats + seats})
	# With a player on it a server that drains goes on.
	var connection := await client_at(branch("Client")).connect_to_seat(seat())
	equal(connection.ok, true, connection.message)
	say.call({"type": "draining", "deadline_ms": 7})
	say.call({"type": "draining", "deadline_ms": 7})
	await until(
		func() -> bool: return told == (["allocated red", "2 seats", "drain 7"] as Array[String]),
		"%s" % [told]
	)
	equal(agent.asked("POST /v1/shutdown").size(), 0)


func test_a_udp_players_address_is_asked_for_by_their_port() -> void:
	await start_server()
	agent.on("GET /v1/players/41234", {"address": "203.0.113.7:50321"})
	var reply := await server.fetch_address(41234)
	equal(reply.ok, true, reply.message)
	equal(reply.body.get("address"), "203.0.113.7:50321")


func test_without_muster_anyone_may_come() -> void:
	server = MusterServer.new()
	server.multiplayer_api = branch("Server")
	server.environment = MusterEnvironment.read({})
	add_child(server)
	enet_port = MusterSettings.integer(MusterSettings.ENET_PORT)
	var started := await server.start(2)
	equal(started.ok, true, started.message)
	failed(await server.start(2), "busy")
	var connection := await client_at(branch("Client")).connect_to_seat(seat())
	equal(connection.ok, true, connection.message)
	failed(await server.say_ready(), "not_under_muster", "MUSTER_SDK_URL")
	failed(await server.fetch_state(), "not_under_muster")
	var other := MusterServer.new()
	other.multiplayer_api = branch("Other")
	other.environment = MusterEnvironment.read({})
	add_child(other)
	failed(await other.start(2), "cannot_listen", "UDP port")


func test_an_agent_that_is_away_is_told_later() -> void:
	await start_server()
	var client := client_at(branch("Client"))
	var connection := await client.connect_to_seat(seat())
	equal(connection.ok, true, connection.message)
	await until(func() -> bool: return server.players().size() == 1, "the player is there")
	agent.on_now("POST /v1/seats/disconnected", "down", 503)
	agent.on("POST /v1/seats/disconnected", {"seat": "seat_1"})
	client.close_connection()
	await until(
		func() -> bool: return agent.asked("POST /v1/seats/disconnected").size() == 2, "said again"
	)


func test_the_environment_is_read() -> void:
	var environment := (
		MusterEnvironment
		. read(
			{
				"MUSTER_SDK_URL": "http://172.17.0.1:9/",
				"MUSTER_SERVER_TOKEN": "t",
				"MUSTER_SERVER_ID": "srv_1",
				"MUSTER_PORT_GAME_UDP": "7777",
				"MUSTER_PORT_ODD": "x",
				"MUSTER_PORT_FAR": "70000",
			}
		)
	)
	equal(environment.is_muster, true)
	equal(environment.is_stand_in, false)
	equal(environment.node_host(), "172.17.0.1")
	equal(environment.sdk_url, "http://172.17.0.1:9")
	equal(environment.port("game-udp"), 7777)
	equal(environment.port("odd"), 0)
	equal(environment.port("far"), 0)
	equal(MusterEnvironment.read({"MUSTER_SDK_URL": "http://x"}).is_muster, false)
