extends "case.gd"
## The client against an orchestrator that says what a test wants.

var fake: FakeApi = null
var client: MusterClient = null


func _ready() -> void:
	fake = fake_api()
	client = client_of(fake)


func ticket(state: String, more := {}) -> Dictionary:
	var json := {
		"id": "tkt_1",
		"queue": "quick",
		"player": "ann",
		"state": state,
		"explanation": "is " + state
	}
	if state == "assigned":
		json["assignment"] = {
			"match_id": "match_1",
			"server_id": "srv_1",
			"region": "local",
			"seat_id": "seat_1",
			"team": "red",
			"endpoints":
			[
				{
					"port_name": "enet",
					"protocol": "udp",
					"host": "127.0.0.1",
					"port": 1,
					"token_mode": "preface",
					"token": "v4.public.x"
				}
			]
		}
	return json.merged(more, true)


func request() -> MusterMatchRequest:
	var asked := MusterMatchRequest.new("quick", "ann")
	# As one has it from JSON; the API wants whole numbers.
	asked.latencies_ms = {"local": 4.2}
	return asked


func test_a_match_is_found_and_progress_is_told() -> void:
	fake.on("POST /v1/tickets", ticket("searching", {"token": "own"}))
	fake.on("GET /v1/tickets/tkt_1/watch", null, 101)
	fake.greetings = [JSON.stringify(ticket("searching", {"explanation": "waits for bob"}))]
	var told: Array[String] = []
	client.ticket_progressed.connect(
		func(changed: MusterTicket) -> void:
			told.append(changed.explanation)
			if told.size() == 1:
				FakeApi.tell(fake.sockets()[0], JSON.stringify(ticket("assigned")))
	)
	var asked := request()
	asked.attributes = {"skill": 7}
	asked.party = {"bob": {"skill": 3}}
	var found := await client.find_match(asked, 5.0)
	equal(found.ok, true, found.message)
	equal(told, ["waits for bob", "is assigned"] as Array[String])
	equal(found.state, MusterTicket.State.ASSIGNED)
	equal(found.token, "own")
	equal(found.assignment.seat_id, "seat_1")
	equal(found.assignment.endpoints[0].protocol, MusterEndpoint.Protocol.UDP)
	var body: Dictionary = fake.asked("POST /v1/tickets")[0].body
	equal(body["attributes"], {"skill": 7.0})
	equal(body["party"], [{"player": "bob", "attributes": {"skill": 3.0}}])
	equal(body["latencies_ms"], {"local": 5.0})
	check('"local":5}' in JSON.stringify(asked.to_json()).replace(" ", ""), "a whole number")
	check(str(body["idempotency_key"]) != "", "it can be sent again")
	var watched := fake.asked("GET /v1/tickets/tkt_1/watch")[0]
	check("Bearer own" in watched.headers, "the ticket's own token is shown")


func test_a_watch_that_breaks_in_the_middle_is_made_anew() -> void:
	fake.on("POST /v1/tickets", ticket("searching"))
	fake.on("GET /v1/tickets/tkt_1/watch", null, 101)
	fake.on("GET /v1/tickets/tkt_1", ticket("matched"))
	fake.greetings = [JSON.stringify(ticket("searching")), "{no json", "[]", '{"id": "tkt_other"}']
	client.ticket_progressed.connect(
		func(changed: MusterTicket) -> void:
			var open := fake.sockets()
			if changed.state == MusterTicket.State.MATCHED:
				fake.greetings = [JSON.stringify(ticket("assigned"))]
			elif not open.is_empty():
				fake.cut(open[0])
	)
	var found := await client.find_match(request(), 8.0)
	equal(found.ok, true, found.message)
	equal(fake.asked("GET /v1/tickets/tkt_1/watch").size(), 2)


func test_a_ticket_that_ends_says_how() -> void:
	for pair: Array in [
		["failed", "match_failed"], ["expired", "match_expired"], ["cancelled", "match_cancelled"]
	]:
		var one := fake_api()
		var state: String = pair[0]
		var code: String = pair[1]
		client.configure(one.url(), "token")
		one.on("POST /v1/tickets", ticket("searching"))
		one.on(
			"GET /v1/tickets/tkt_1", ticket(state, {"explanation": "the image has no entry point"})
		)
		failed(await client.find_match(request(), 5.0), code, "no entry point")


func test_who_has_waited_long_enough_withdraws() -> void:
	fake.on("POST /v1/tickets", ticket("searching"))
	fake.on("GET /v1/tickets/tkt_1", ticket("searching", {"explanation": "waits for 3 players"}))
	fake.on("DELETE /v1/tickets/tkt_1", null, 204)
	failed(await client.find_match(request(), 0.6), "timeout", "waits for 3 players")
	equal(fake.asked("DELETE /v1/tickets/tkt_1").size(), 1)


func test_answers_that_make_no_sense_are_named() -> void:
	for body: Variant in [
		"{}", '{"id": 5, "state": "searching"}', '{"id": "t", "state": "dancing"}'
	]:
		var one := fake_api()
		client.configure(one.url(), "token")
		one.on("POST /v1/tickets", body)
		failed(await client.request_match(request()), "bad_answer")
	fake.on("POST /v1/tickets", ticket("assigned", {"assignment": {"endpoints": 7}}))
	client.configure(fake.url(), "token")
	failed(await client.request_match(request()), "bad_answer", "does not say where")
	fake.on("GET /v1/regions", '{"items": {}}')
	failed(await client.fetch_regions(), "bad_answer")


func test_a_wrong_token_is_the_orchestrators_word() -> void:
	fake.on("POST /v1/tickets", {"code": "token_invalid", "detail": "the token is not known"}, 401)
	failed(await client.find_match(request(), 5.0), "token_invalid", "not known")


func test_what_cannot_be_asked_is_not_sent() -> void:
	failed(await client.request_match(MusterMatchRequest.new("quick", "")), "invalid_argument")
	failed(await client.cancel(MusterTicket.new()), "closed")
	failed(await client.leave(), "closed")
	var waiting := MusterTicket.new()
	failed(await client.connect_to_match(waiting), "closed", "wait for it")
	failed(client.configure(fake.url(), "t", "no pem"), "invalid_argument", "ca.pem")
	failed(await client.find_match(request()), "invalid_argument", "ca.pem")
	equal(fake.requests.size(), 0)


func test_the_token_of_the_last_ticket_brings_a_player_back() -> void:
	fake.on("POST /v1/tickets", ticket("assigned", {"token": "first"}))
	var found := await client.find_match(request(), 5.0)
	equal(found.ok, true, found.message)
	await client.find_match(request(), 5.0)
	var asked := fake.asked("POST /v1/tickets")
	check(not asked[0].body.has("previous_tokens"), "at first there is none")
	equal(asked[1].body.get("previous_tokens"), ["first"])
	fake.on("DELETE /v1/tickets/tkt_1", null, 204)
	await client.cancel(found)
	await client.find_match(request(), 5.0)
	check(not fake.asked("POST /v1/tickets")[2].body.has("previous_tokens"), "who left has none")


func test_regions_are_measured_against_their_beacons() -> void:
	var beacon := UDPServer.new()
	equal(beacon.listen(0, "127.0.0.1"), OK)
	var is_up := [true]
	var answer := func() -> void:
		while is_up[0]:
			beacon.poll()
			if beacon.is_connection_available():
				var peer := beacon.take_connection()
				while is_up[0]:
					beacon.poll()
					while peer.get_available_packet_count() > 0:
						var packet := peer.get_packet()
						packet[4] = 2
						# A stranger's answer does not count.
						peer.put_packet(
							"MSTB".to_ascii_buffer() + PackedByteArray([2, 0, 0, 0, 0, 1])
						)
						peer.put_packet(packet)
					await get_tree().process_frame
			await get_tree().process_frame
	answer.call()
	(
		fake
		. on(
			"GET /v1/regions",
			{
				"items":
				[
					{
						"name": "near",
						"served": true,
						"beacons": [{"host": "127.0.0.1", "port": beacon.get_local_port()}]
					},
					{"name": "dead", "served": true, "beacons": [{"host": "127.0.0.1", "port": 1}]},
					{"name": "odd", "beacons": [{"host": 7, "port": "x"}, 3]},
				]
			}
		)
	)
	var measured := await client.measure_latencies(0.6)
	is_up[0] = false
	equal(measured.ok, true, measured.message)
	equal(measured.regions, ["near", "dead", "odd"] as Array[String])
	equal(measured.by_region.keys(), ["near"])
	equal(measured.nearest(), "near")


func test_no_edge_that_answers_is_told_in_time() -> void:
	fake.on("POST /v1/tickets", ticket("assigned"))
	var found := await client.find_match(request(), 5.0)
	failed(await client.connect_to_match(found, 0.8), "timeout", "no edge")


func test_an_edges_refusal_is_told() -> void:
	var edge := UDPServer.new()
	equal(edge.listen(0, "127.0.0.1"), OK)
	var refuse := func() -> void:
		while edge.is_listening():
			edge.poll()
			if edge.is_connection_available():
				edge.take_connection().put_packet("4d535452010304".hex_decode())
			await get_tree().process_frame
	refuse.call()
	var assigned := ticket("assigned")
	assigned["assignment"]["endpoints"][0]["port"] = edge.get_local_port()
	fake.on("POST /v1/tickets", assigned)
	var found := await client.find_match(request(), 5.0)
	failed(await client.connect_to_match(found, 3.0), "refused_wrong_port", "again")
	edge.stop()


## An assigned ticket whose only way is a WebSocket at that URL.
func by_websocket(url: String) -> MusterTicket:
	var assigned := ticket("assigned")
	assigned["assignment"]["endpoints"] = [{"host": "127.0.0.1", "protocol": "ws", "url": url}]
	fake.on("POST /v1/tickets", assigned)
	return await client.find_match(request(), 5.0)


func test_a_websocket_where_no_edge_listens_is_told() -> void:
	var listener := TCPServer.new()
	equal(listener.listen(0, "127.0.0.1"), OK)
	var found := await by_websocket("ws://127.0.0.1:%d/?token=t" % listener.get_local_port())
	listener.stop()
	failed(await client.connect_to_match(found, 3.0), "unreachable", "no edge")


func test_a_websocket_whose_certificate_nobody_trusts_is_told() -> void:
	var listener := TCPServer.new()
	equal(listener.listen(0, "127.0.0.1"), OK)
	var found := await by_websocket("wss://127.0.0.1:%d/?token=t" % listener.get_local_port())
	# Seconds in which nothing else happens.
	var crypto := Crypto.new()
	var key := crypto.generate_rsa(2048)
	var certificate := crypto.generate_self_signed_certificate(key, "CN=127.0.0.1")
	var serve := func() -> void:
		var streams: Array[StreamPeerTLS] = []
		while listener.is_listening():
			if listener.is_connection_available():
				streams.append(StreamPeerTLS.new())
				streams[-1].accept_stream(
					listener.take_connection(), TLSOptions.server(key, certificate)
				)
			for stream in streams:
				stream.poll()
			await get_tree().process_frame
	serve.call()
	failed(await client.connect_to_match(found, 5.0), "tls_untrusted", "ca_file")
	listener.stop()


func test_a_match_without_a_port_for_us_is_told() -> void:
	var assigned := ticket("assigned")
	assigned["assignment"]["endpoints"][0]["protocol"] = "tcp"
	fake.on("POST /v1/tickets", assigned)
	failed(await client.play(request(), 5.0), "no_endpoint", "udp")


func test_lobbies_are_asked_for_as_the_api_has_it() -> void:
	var lobbies := MusterLobbies.new(client)
	add_child(lobbies)
	var json := {
		"id": "match_1",
		"code": "KQXBTZ",
		"fleet": "arena",
		"open": true,
		"players": 1,
		"max_players": 8,
		"visibility": "private",
		"state": "running",
		"tags": {"map": "dust"}
	}
	fake.on("POST /v1/lobbies", ticket("assigned", {"lobby": json}))
	var spec := MusterLobbySpec.new("Ann's")
	spec.tags = {"map": "dust"}
	spec.is_private = true
	var made := await lobbies.create("arena", "ann", spec)
	equal(made.ok, true, made.message)
	equal(made.lobby.lobby_code, "KQXBTZ")
	equal(made.lobby.tags, {"map": "dust"})
	equal(
		fake.asked("POST /v1/lobbies")[0].body["lobby"],
		{"name": "Ann's", "visibility": "private", "tags": {"map": "dust"}}
	)
	fake.on("GET /v1/lobbies", {"items": [json, {"no": "lobby"}], "next": "x"})
	var page := await lobbies.list("arena", {"map": "du st"})
	equal(page.lobbies.size(), 1)
	equal(page.next, "x")
	equal(fake.requests[-1].path, "/v1/lobbies?fleet=arena&tag.map=du%20st&open=true")
	fake.on(
		"POST /v1/lobbies/KQXBTZ/join", {"code": "lobby_full", "detail": "8 of 8 are there"}, 409
	)
	failed(await lobbies.join(" KQXBTZ", "bob"), "lobby_full", "8 of 8")
	fake.on("POST /v1/lobbies/find", {"code": "lobby_unknown", "detail": "no lobby fits"}, 404)
	failed(await lobbies.find("arena", "cat", {"map": "ice"}), "lobby_unknown")
	fake.on("GET /v1/lobbies/KQXBTZ", json)
	equal((await lobbies.fetch("KQXBTZ")).is_private, true)
