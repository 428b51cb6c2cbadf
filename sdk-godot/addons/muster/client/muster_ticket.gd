class_name MusterTicket
extends MusterResult
## A request for a match, and what came of it.

enum State {
	## Not known yet: the ticket could not be made or read.
	NONE,
	## In its queue.
	SEARCHING,
	## In a match whose server is being started, or that waits until all have accepted.
	MATCHED,
	## Has a seat: [member assignment] says where.
	ASSIGNED,
	## Withdrawn, or its seat was given up.
	CANCELLED,
	## Nobody was found in time.
	EXPIRED,
	## Cannot be served.
	FAILED,
}

const Json := preload("../core/json.gd")

## States as the API spells them.
const STATES := {
	"searching": State.SEARCHING,
	"matched": State.MATCHED,
	"assigned": State.ASSIGNED,
	"cancelled": State.CANCELLED,
	"expired": State.EXPIRED,
	"failed": State.FAILED,
}

var id := ""
var queue := ""
var player := ""
var state := State.NONE
## In words: what the ticket waits for, or why it ended.
var explanation := ""
## Shows and withdraws this ticket and no other. Only who made the ticket is told it.
var token := ""
## Until when the match has to be accepted (Unix milliseconds, by the orchestrator's clock); 0: it
## does not.
var accept_by_ms := 0
## Whether this ticket has accepted.
var accepted := false
## The seat, once assigned; else [code]null[/code].
var assignment: MusterAssignment = null
## The lobby it is of; else [code]null[/code].
var lobby: MusterLobby = null


## Whether nothing more will come of it.
func is_over() -> bool:
	return state in [State.ASSIGNED, State.CANCELLED, State.EXPIRED, State.FAILED]


## The state as the API spells it.
func state_text() -> String:
	for text: String in STATES:
		if STATES[text] == state:
			return text
	return ""


## Reads what the API says of it; false if that is no ticket. Keeps the token that an earlier answer
## brought.
func read(from: Dictionary) -> bool:
	var text := Json.text(from, "state")
	if Json.text(from, "id") == "" or not STATES.has(text):
		return false
	id = Json.text(from, "id")
	state = STATES[text]
	queue = Json.text(from, "queue")
	player = Json.text(from, "player")
	explanation = Json.text(from, "explanation")
	token = Json.text(from, "token", token)
	accept_by_ms = Json.integer(from, "accept_by_ms")
	accepted = Json.boolean(from, "accepted")
	assignment = MusterAssignment.from_json(Json.object(from, "assignment"))
	lobby = null
	if from.has("lobby"):
		lobby = MusterLobby.from_json(Json.object(from, "lobby"))
	if assignment != null:
		assignment.player = player
	return true


## A copy of what is known, for an answer that says more.
func copy() -> MusterTicket:
	var other := MusterTicket.new()
	other.id = id
	other.queue = queue
	other.player = player
	other.state = state
	other.explanation = explanation
	other.token = token
	other.accept_by_ms = accept_by_ms
	other.accepted = accepted
	other.assignment = assignment
	other.lobby = lobby
	return other


## Says by [member ok] and [member code] whether it led to a seat.
func judge() -> void:
	match state:
		State.CANCELLED:
			fail(MATCH_CANCELLED, "the ticket was withdrawn: " + explanation)
		State.EXPIRED:
			fail(MATCH_EXPIRED, "no match was found in time: " + explanation)
		State.FAILED:
			fail(MATCH_FAILED, "the match failed: " + explanation)
		State.ASSIGNED when assignment == null:
			fail(BAD_ANSWER, "the ticket is assigned, and the answer does not say where")
