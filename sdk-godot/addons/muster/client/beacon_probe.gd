extends RefCounted
## Measures round trips to beacons, on a thread of its own: a game's frame is longer than most of
## them.

const Beacon := preload("../protocol/beacon.gd")

## Requests to each beacon.
const ROUNDS := 4
## Pause between two, in microseconds.
const ROUND_EVERY_USEC := 50_000
## Pause between two looks for answers.
const LOOK_EVERY_USEC := 250
## Most beacons that are asked.
const MAX_BEACONS := 64

## Set when there is nothing more to come; read from another thread.
var is_done := false
## Smallest round trip in microseconds, by region.
var best_usec := {}


class Target:
	extends RefCounted
	var region := ""
	var host := ""
	var port := 0
	var socket: PacketPeerUDP = null
	## When each was sent, by its nonce.
	var nonces := {}
	var answers := 0


## Asks all beacons until every one has answered each time, or the time is over. Blocks: for a
## thread.
func run(targets: Array[Target], timeout_s: float) -> void:
	var started := Time.get_ticks_usec()
	var ends := started + int(timeout_s * 1_000_000.0)
	for target in targets:
		var socket := PacketPeerUDP.new()
		var address := IP.resolve_hostname(target.host)
		if address != "" and socket.connect_to_host(address, target.port) == OK:
			target.socket = socket
	var rounds := 0
	while Time.get_ticks_usec() < ends:
		if rounds < ROUNDS and Time.get_ticks_usec() - started >= rounds * ROUND_EVERY_USEC:
			_ask(targets)
			rounds += 1
		var missing := 0
		for target in targets:
			missing += _listen(target)
		if rounds == ROUNDS and missing == 0:
			break
		OS.delay_usec(LOOK_EVERY_USEC)
	for target in targets:
		if target.socket != null:
			target.socket.close()
	is_done = true


func _ask(targets: Array[Target]) -> void:
	for target in targets:
		if target.socket == null:
			continue
		var nonce := Crypto.new().generate_random_bytes(8)
		target.nonces[nonce] = Time.get_ticks_usec()
		# One that cannot be sent is one that is not answered.
		target.socket.put_packet(Beacon.encode(nonce))


## Reads what has come; how many answers are missing.
func _listen(target: Target) -> int:
	if target.socket == null:
		return 0
	while target.socket.get_available_packet_count() > 0:
		var nonce := Beacon.nonce_in(target.socket.get_packet())
		if not target.nonces.has(nonce):
			continue
		var sent_usec: int = target.nonces[nonce]
		var took := Time.get_ticks_usec() - sent_usec
		target.nonces.erase(nonce)
		target.answers += 1
		var best: int = best_usec.get(target.region, took)
		best_usec[target.region] = mini(took, best)
	return target.nonces.size()
