@tool
class_name MusterHttp
extends Node
## Calls of an HTTP API with JSON: one answer for each, within its time, whatever goes wrong.
##
## Used by [MusterClient], [MusterLobbies] and [MusterServer]; a game has no need of it.

const Json := preload("json.gd")
const Deadline := preload("clock.gd")

## Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES := 1024 * 1024
## Calls that are under way at the same time.
const MAX_CALLS := 32
## Times a call is made again because no answer came.
const MAX_REPEATS := 2
## Pause before the first repeat, in seconds; the next one's is twice as long.
const REPEAT_AFTER_S := 0.1

## After which a call is made again.
const REPEATED: Array[String] = [MusterResult.UNREACHABLE, MusterResult.CONNECTION_LOST]

const METHODS: Dictionary = {
	HTTPClient.METHOD_GET: "GET",
	HTTPClient.METHOD_POST: "POST",
	HTTPClient.METHOD_PUT: "PUT",
	HTTPClient.METHOD_DELETE: "DELETE",
}

## What the engine says, as code and words.
const FAULTS := {
	HTTPRequest.RESULT_TIMEOUT:
	[
		MusterResult.TIMEOUT,
		"no answer in time. Check that the URL is right, and that no firewall is between"
	],
	HTTPRequest.RESULT_TLS_HANDSHAKE_ERROR:
	[
		MusterResult.TLS_UNTRUSTED,
		(
			"the TLS certificate there is not trusted. If it is of a CA of your own, name its file in "
			+ "the setting muster/client/ca_file; and check this machine's clock"
		)
	],
	HTTPRequest.RESULT_CANT_RESOLVE:
	[MusterResult.UNREACHABLE, "there is no such host. Check the URL and the network"],
	HTTPRequest.RESULT_CANT_CONNECT:
	[
		MusterResult.UNREACHABLE,
		"nobody answers there. Check the URL, and that the orchestrator runs"
	],
	HTTPRequest.RESULT_NO_RESPONSE:
	[MusterResult.CONNECTION_LOST, "the connection ended before the answer. Try again"],
	HTTPRequest.RESULT_CONNECTION_ERROR:
	[MusterResult.CONNECTION_LOST, "the connection ended in the middle of the answer. Try again"],
	HTTPRequest.RESULT_BODY_SIZE_LIMIT_EXCEEDED:
	[MusterResult.BAD_ANSWER, "the answer is too large for one of Muster's API. Check the URL"],
}

## Where the API is, without a slash at the end.
var base_url := ""
## Bearer token of calls that bring none of their own.
var token := ""
## The CA to trust, for https; [code]null[/code]: those of the system.
var authority: X509Certificate = null

var _under_way := 0


## Reads [param path].
func fetch(path: String, timeout_s: float, bearer := "") -> MusterReply:
	return await call_api(HTTPClient.METHOD_GET, path, {}, timeout_s, bearer)


## Sends [param body] to [param path]. It is sent again if no answer came, so that the call has to
## bear that.
func send(path: String, body: Dictionary, timeout_s: float, bearer := "") -> MusterReply:
	return await call_api(HTTPClient.METHOD_POST, path, body, timeout_s, bearer)


## One call, repeated while there is time and nobody answers.
func call_api(
	method: HTTPClient.Method, path: String, body: Dictionary, timeout_s: float, bearer := ""
) -> MusterReply:
	var deadline := Deadline.new(timeout_s)
	var reply := await _once(method, path, body, deadline, bearer)
	for repeat in MAX_REPEATS:
		if not reply.code in REPEATED or deadline.is_over():
			break
		await deadline.pause(get_tree(), REPEAT_AFTER_S * (1 << repeat))
		if deadline.is_over():
			break
		reply = await _once(method, path, body, deadline, bearer)
	return reply


func _once(
	method: HTTPClient.Method, path: String, body: Dictionary, deadline: Deadline, bearer: String
) -> MusterReply:
	var reply := MusterReply.new()
	var what := "%s %s%s" % [METHODS[method], base_url, path]
	if not (base_url.begins_with("http://") or base_url.begins_with("https://")):
		reply.fail(
			MusterResult.INVALID_ARGUMENT,
			(
				"the URL is %s; give it as http://host:port or https://host:port"
				% JSON.stringify(base_url)
			)
		)
		return reply
	if _under_way >= MAX_CALLS:
		reply.fail(MusterResult.BUSY, "%s: %d calls are under way already" % [what, MAX_CALLS], 1.0)
		return reply
	var request := HTTPRequest.new()
	request.body_size_limit = MAX_ANSWER_BYTES
	request.max_redirects = 0
	request.timeout = maxf(deadline.left_s(), 0.05)
	if base_url.begins_with("https://"):
		request.set_tls_options(TLSOptions.client(authority))
	add_child(request)
	_under_way += 1
	var error := request.request(base_url + path, _headers(body, bearer), method, _text(body))
	if error == OK:
		var completed: Array = await request.request_completed
		var result: HTTPRequest.Result = completed[0]
		var status: int = completed[1]
		var bytes: PackedByteArray = completed[3]
		if result == HTTPRequest.RESULT_CANT_CONNECT and request.get_body_size() >= 0:
			# The engine says the same of a connection that ends in the middle of an answer.
			result = HTTPRequest.RESULT_CONNECTION_ERROR
		_read(reply, what, result, status, bytes)
	else:
		reply.fail(
			MusterResult.INVALID_ARGUMENT,
			"%s cannot be called: %s. Check the URL" % [what, error_string(error)]
		)
	_under_way -= 1
	request.queue_free()
	return reply


func _headers(body: Dictionary, bearer: String) -> PackedStringArray:
	var headers := PackedStringArray(["Accept: application/json"])
	var shown := token if bearer == "" else bearer
	# A token with a line's end in it would be a header more.
	shown = shown.strip_edges().replace("\n", "").replace("\r", "")
	if shown != "":
		headers.append("Authorization: Bearer " + shown)
	if not body.is_empty():
		headers.append("Content-Type: application/json")
	return headers


static func _text(body: Dictionary) -> String:
	return "" if body.is_empty() else JSON.stringify(body)


## Fills [param reply] from what [HTTPRequest] says.
static func _read(
	reply: MusterReply,
	what: String,
	result: HTTPRequest.Result,
	status: int,
	bytes: PackedByteArray
) -> void:
	if result == HTTPRequest.RESULT_SUCCESS:
		read_answer(reply, what, status, bytes)
		return
	var fault: Array = FAULTS.get(result, [MusterResult.BAD_ANSWER, "what came is no answer"])
	var code: String = fault[0]
	var words: String = fault[1]
	reply.fail(code, "%s: %s" % [what, words])


## Fills [param reply] from a whole answer: JSON, or a problem document if the status is no success.
static func read_answer(
	reply: MusterReply, what: String, status: int, bytes: PackedByteArray
) -> void:
	reply.status = status
	var found: Variant = {}
	if not bytes.is_empty():
		found = Json.object_in(bytes.get_string_from_utf8())
	var is_success := status >= 200 and status < 300
	if found is Dictionary:
		reply.body = found
		if is_success:
			return
		var problem: Dictionary = found
		var code := Json.text(problem, "code")
		if code != "":
			var message := Json.text(problem, "detail", Json.text(problem, "title", code))
			var fix := Json.text(problem, "fix")
			if fix != "":
				message = "%s. %s" % [message.trim_suffix("."), fix]
			reply.fail(code, message, Json.number(problem, "retry_after_s"))
			return
	var words := "%s: the answer (status %d) is not what Muster's API gives" % [what, status]
	words += ". Check that the URL is an orchestrator's, and that its version fits this addon's"
	reply.fail(MusterResult.BAD_ANSWER, words)
