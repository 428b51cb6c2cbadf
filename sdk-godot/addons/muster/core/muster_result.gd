@tool
class_name MusterResult
extends RefCounted
## What came of a call: whether it went well, and if not, why.
##
## Every call of the addon ends with one of these, or with a class that extends it and carries the
## value, within a time that the call states. Nothing is thrown, and nothing waits for ever:
## [codeblock]
## var ticket := await Muster.client.find_match(request)
## if not ticket.ok:
##     print(ticket.code, ": ", ticket.message)
## [/codeblock]
## [member code] is for programs and keeps its meaning. It is a code of Muster's API, as
## [code]queue_unknown[/code] or [code]lobby_full[/code], or one of the constants here.

## A setting or an argument is missing, or cannot be used; nothing was sent.
const INVALID_ARGUMENT := "invalid_argument"
## Nobody is there: no orchestrator, no edge, no network, no such host.
const UNREACHABLE := "unreachable"
## Somebody may be there, and the time of the call was over first.
const TIMEOUT := "timeout"
## The other side's TLS certificate is not trusted, or not valid at the time this machine's clock
## shows.
const TLS_UNTRUSTED := "tls_untrusted"
## The connection ended in the middle of an answer or a game.
const CONNECTION_LOST := "connection_lost"
## Something answered, but not as Muster does: no JSON, or not of its shape.
const BAD_ANSWER := "bad_answer"
## How the ticket ended; the message has its explanation.
const MATCH_FAILED := "match_failed"
const MATCH_EXPIRED := "match_expired"
const MATCH_CANCELLED := "match_cancelled"
## The match has no port that this client can use.
const NO_ENDPOINT := "no_endpoint"
## The edge refused the session token: [code]refused_expired[/code] and its like.
const REFUSED := "refused_"
## The edge cannot take the player now.
const REFUSED_UNAVAILABLE := "refused_unavailable"
## The token's time is over: read the ticket again.
const REFUSED_EXPIRED := "refused_expired"
## The session token is not good; over WebSocket, it may also have expired.
const REFUSED_UNTRUSTED := "refused_untrusted"
## The game server turned the player away.
const JOIN_REFUSED := "join_refused"
## Every place on the game server is taken.
const SERVER_FULL := "server_full"
## The ticket, the connection or the match was closed, or there is none.
const CLOSED := "closed"
## The same thing is under way already, or too much of it.
const BUSY := "busy"
## This process does not run under Muster.
const NOT_UNDER_MUSTER := "not_under_muster"
## The port to listen on is taken, or may not be used.
const CANNOT_LISTEN := "cannot_listen"
## This platform has no such thing.
const UNSUPPORTED := "unsupported"

## Whether it went well.
var ok := true
## Stable code of what went wrong; empty if nothing did.
var code := ""
## What happened and what to do about it, for a developer to read.
var message := ""
## Seconds after which to try again, if that may help; 0: it is not said.
var retry_after_s := 0.0


## Marks this as failed.
func fail(with_code: String, with_message: String, retry_after := 0.0) -> void:
	ok = false
	code = with_code
	message = with_message
	retry_after_s = retry_after


## Marks this as failed for the reasons of [param other].
func fail_as(other: MusterResult) -> void:
	fail(other.code, other.message, other.retry_after_s)


func _to_string() -> String:
	return "ok" if ok else "%s: %s" % [code, message]
