@tool
extends Node
## What the stack's servers are doing, and what they print.

## The list is new.
signal listed(servers: Array[Dictionary], why: String)
## A log was read.
signal logged(text: String)

const Json := preload("../core/json.gd")
const LocalStack := preload("local_stack.gd")

## Seconds between two looks.
const LOOK_EVERY_S := 2.0
const CALL_TIMEOUT_S := 3.0
const LOG_LINES := 200

var stack: LocalStack = null
## The server whose log is shown; empty: none.
var selected := ""

var _http := MusterHttp.new()
var _since_s := LOOK_EVERY_S
var _is_looking := false


func _ready() -> void:
	add_child(_http)


func _process(delta: float) -> void:
	_since_s += delta
	if stack == null or not stack.is_up() or _is_looking or _since_s < LOOK_EVERY_S:
		return
	_since_s = 0.0
	_is_looking = true
	await _look()
	_is_looking = false


## Stops a server: it drains first if players may be on it.
func stop(server: String) -> MusterResult:
	_reach()
	var path := _path("/v1/servers/%s/stop" % server.uri_encode()) + "&force=false"
	return await _http.send(path, {}, CALL_TIMEOUT_S)


func _look() -> void:
	_reach()
	var reply := await _http.fetch(_path("/v1/servers"), CALL_TIMEOUT_S)
	listed.emit(Json.objects(reply.body, "items"), reply.message)
	if selected != "" and reply.ok:
		await _read_log()


## Logs are text, which the API's other answers are not.
func _read_log() -> void:
	var request := HTTPRequest.new()
	request.timeout = CALL_TIMEOUT_S
	add_child(request)
	var path := _path("/v1/servers/%s/logs" % selected.uri_encode()) + "&tail=%d" % LOG_LINES
	var headers := PackedStringArray(["Authorization: Bearer " + stack.admin_token])
	if request.request(stack.url + path, headers) == OK:
		var completed: Array = await request.request_completed
		var bytes: PackedByteArray = completed[3]
		if completed[1] == 200:
			logged.emit(bytes.get_string_from_utf8())
	request.queue_free()


func _reach() -> void:
	_http.base_url = stack.url
	_http.token = stack.admin_token


func _path(path: String) -> String:
	return "%s?namespace=%s" % [path, stack.namespace_name.uri_encode()]
