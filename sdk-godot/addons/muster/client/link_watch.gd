extends RefCounted
## Decides, from how many packets came, whether a link over UDP still stands. No socket and no
## clock: both are arguments.
##
## UDP does not say that nobody listens any more, and ENet finds out after 5 s to 30 s. But an edge
## answers a preface at once: so where nothing comes, the preface is shown again. That mends a
## client whose address has changed, and an edge that was restarted, without the game noticing. If
## it is not answered, the edge is gone. If it is, the silence is the game server's, whom ENet waits
## for.

enum Action {
	NONE,
	## Show the preface again.
	PROVE,
	## The edge is gone.
	LOST,
}

## Silence after which the preface is shown again, in milliseconds: ENet's server says something
## every 500.
const QUIET_MS := 700
## Pause between two prefaces.
const PROVE_EVERY_MS := 150
## Silence after which the edge is gone: four prefaces were not answered.
const LOST_MS := 1_300
## Most that one look counts for: a game that was busy, loading a level, has not listened meanwhile.
const MAX_STEP_MS := 100

var _quiet_ms := 0
var _proved_ms := 0
var _last_ms := -1


## What to do now, when [param packets] have come since the last look.
func look(now_ms: int, packets: int) -> Action:
	var step := 0 if _last_ms < 0 else mini(now_ms - _last_ms, MAX_STEP_MS)
	_last_ms = now_ms
	if packets > 0:
		_quiet_ms = 0
		_proved_ms = 0
		return Action.NONE
	_quiet_ms += step
	if _quiet_ms >= LOST_MS:
		return Action.LOST
	if _quiet_ms < QUIET_MS or (_proved_ms > 0 and _quiet_ms - _proved_ms < PROVE_EVERY_MS):
		return Action.NONE
	_proved_ms = _quiet_ms
	return Action.PROVE
