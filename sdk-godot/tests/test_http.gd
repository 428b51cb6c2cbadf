extends "case.gd"
## Whatever answers, or does not: one typed result, in time.

var fake: FakeApi = null
var http: MusterHttp = null


func _ready() -> void:
	fake = fake_api()
	http = MusterHttp.new()
	add_child(http)
	http.base_url = fake.url()
	http.token = "secret"


func test_an_answer_is_read_and_the_token_is_sent() -> void:
	fake.on("GET /v1/regions", {"items": []})
	var reply := await http.fetch("/v1/regions", 2.0)
	equal(reply.ok, true, reply.message)
	equal(reply.status, 200)
	equal(reply.body, {"items": []})
	check(
		"authorization: bearer secret" in fake.requests[0].headers.to_lower(), "the token is sent"
	)


func test_a_problem_keeps_its_code_and_its_way_out() -> void:
	fake.on(
		"POST /v1/tickets",
		{
			"code": "queue_unknown",
			"detail": "there is no queue q.",
			"fix": "apply it",
			"retry_after_s": 3
		},
		404
	)
	var reply := await http.send("/v1/tickets", {"queue": "q"}, 2.0)
	failed(reply, "queue_unknown", "there is no queue q. apply it")
	equal(reply.retry_after_s, 3.0)
	equal(fake.requests[0].body, {"queue": "q"})


func test_an_empty_success_is_one() -> void:
	fake.on("DELETE /v1/tickets/t", null, 204)
	var reply := await http.call_api(HTTPClient.METHOD_DELETE, "/v1/tickets/t", {}, 2.0)
	equal(reply.ok, true, reply.message)


func test_what_is_no_json_is_a_bad_answer() -> void:
	var deep := "[".repeat(100) + "]".repeat(100)
	for body: Variant in [
		"<html>login</html>",
		"[1, 2]",
		'"text"',
		"{",
		'{"deep": %s}' % deep,
		PackedByteArray([0xff, 0xfe, 0x00, 0x01]),
		"x".repeat(2 * 1024 * 1024)
	]:
		var one := fake_api()
		one.on("GET /v1/regions", body)
		http.base_url = one.url()
		failed(await http.fetch("/v1/regions", 2.0), "bad_answer")
	fake.on("GET /v1/regions", "bad gateway", 502)
	http.base_url = fake.url()
	failed(await http.fetch("/v1/regions", 2.0), "bad_answer", "502")


func test_nobody_there_is_unreachable() -> void:
	var server := TCPServer.new()
	equal(server.listen(0, "127.0.0.1"), OK)
	http.base_url = "http://127.0.0.1:%d" % server.get_local_port()
	server.stop()
	failed(await http.fetch("/v1/regions", 2.0), "unreachable", "orchestrator runs")


func test_silence_is_a_timeout() -> void:
	fake.on("GET /v1/regions", {}, 200, FakeApi.Manner.SILENT)
	var began := Time.get_ticks_msec()
	failed(await http.fetch("/v1/regions", 0.3), "timeout")
	check(Time.get_ticks_msec() - began >= 250, "it was waited for")


func test_a_connection_that_ends_too_soon_is_tried_again_and_told() -> void:
	fake.on("GET /v1/regions", {"items": []}, 200, FakeApi.Manner.CLOSE)
	fake.on("GET /v1/regions", {"items": []})
	var reply := await http.fetch("/v1/regions", 3.0)
	equal(reply.ok, true, reply.message)
	equal(fake.requests.size(), 2)
	fake.on("GET /v1/status", {"items": []}, 200, FakeApi.Manner.CUT)
	reply = await http.fetch("/v1/status", 3.0)
	equal(reply.ok, false)
	check(reply.code in ["connection_lost", "bad_answer"], reply.code)


func test_tls_that_fails_is_named() -> void:
	# Whatever is wrong with the other side's TLS, a certificate or that it speaks none, the engine
	# says the same.
	var server := TCPServer.new()
	equal(server.listen(0, "127.0.0.1"), OK)
	var connections: Array[StreamPeerTCP] = []
	var serve := func() -> void:
		while server.is_listening():
			if server.is_connection_available():
				connections.append(server.take_connection())
				connections[-1].put_data("HTTP/1.1 400 Bad Request\r\n\r\n".to_ascii_buffer())
			await get_tree().process_frame
	serve.call()
	http.base_url = "https://127.0.0.1:%d" % server.get_local_port()
	failed(await http.fetch("/v1/regions", 10.0), "tls_untrusted", "clock")
	server.stop()


func test_a_url_that_is_none_is_refused_before_anything_is_sent() -> void:
	for url: String in ["", "127.0.0.1:7400", "ftp://x"]:
		http.base_url = url
		failed(await http.fetch("/v1/regions", 1.0), "invalid_argument", "http://host:port")


func test_a_token_is_never_another_header() -> void:
	fake.on("GET /v1/regions", {"items": []})
	http.token = "a\r\nX-Evil: 1"
	await http.fetch("/v1/regions", 2.0)
	check(not "\r\nX-Evil" in fake.requests[0].headers, "one line")
