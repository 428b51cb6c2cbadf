extends RefCounted
## Finds out why an edge did not open a WebSocket: the engine does not hand out the status of a
## handshake that failed, so it is asked for once more, as plain HTTP.

const TIMEOUT_S := 2.0

## What an edge says by its status.
const CODES := {
	401: "refused_untrusted",
	403: "refused_wrong_port",
	503: "refused_unavailable",
}


## Fills [param result] with the reason, as far as there is one.
static func explain(
	result: MusterResult, url: String, node: Node, authority: X509Certificate
) -> void:
	var request := HTTPRequest.new()
	request.timeout = TIMEOUT_S
	request.max_redirects = 0
	if url.begins_with("wss:"):
		request.set_tls_options(TLSOptions.client(authority))
	node.add_child(request)
	var headers := PackedStringArray(
		[
			"Connection: Upgrade",
			"Upgrade: websocket",
			"Sec-WebSocket-Version: 13",
			"Sec-WebSocket-Key: " + Marshalls.raw_to_base64(Crypto.new().generate_random_bytes(16)),
		]
	)
	if request.request("http" + url.trim_prefix("ws"), headers) == OK:
		var completed: Array = await request.request_completed
		var outcome: HTTPRequest.Result = completed[0]
		var status: int = completed[1]
		_read(result, outcome, status)
	request.queue_free()


static func _read(result: MusterResult, outcome: HTTPRequest.Result, status: int) -> void:
	if outcome == HTTPRequest.RESULT_TLS_HANDSHAKE_ERROR:
		var words := "the edge's TLS certificate is not trusted. If it is of a CA of your own, "
		words += "name its file in the setting " + MusterSettings.CA
		result.fail(MusterResult.TLS_UNTRUSTED, words)
	elif outcome == HTTPRequest.RESULT_CANT_CONNECT or outcome == HTTPRequest.RESULT_CANT_RESOLVE:
		result.fail(
			MusterResult.UNREACHABLE, "no edge listens there; it is down, or the network is"
		)
	elif outcome == HTTPRequest.RESULT_SUCCESS and CODES.has(status):
		var code: String = CODES[status]
		result.fail(
			code,
			"the edge does not open the WebSocket (status %d); ask for the match again" % status
		)
	elif outcome == HTTPRequest.RESULT_SUCCESS and status != 101:
		result.fail(
			MusterResult.BAD_ANSWER,
			(
				"what answers does not open a WebSocket (status %d). Is it an edge of Muster's?"
				% status
			)
		)
