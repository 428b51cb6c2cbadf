extends "calls.gd"
## Calls about clients and matches.

var _clients := {}
var _tickets := {}
## What was told last of each match, so that it is not told twice.
var _told := {}
var _owners := {}


func client_of(request: Dictionary) -> MusterClient:
	return _clients.get(Json.text(request, "client"))


func _on_client_open(request: Dictionary) -> Dictionary:
	_on_client_close(request)
	var client := MusterClient.new()
	add_child(client)
	# A conformance run leaves nothing behind that the next would find.
	client._memory.path = "user://conformance_%d.json" % randi()
	_clients[Json.text(request, "client")] = client
	var opened := client.configure(
		Json.text(request, "url"), Json.text(request, "token"), Json.text(request, "ca_pem")
	)
	client.ticket_progressed.connect(_tell_progress)
	return _outcome(opened)


func _on_client_close(request: Dictionary) -> Dictionary:
	var client := client_of(request)
	if client != null:
		client.queue_free()
		_clients.erase(Json.text(request, "client"))
	return _ok()


func _on_regions(request: Dictionary) -> Dictionary:
	var client := client_of(request)
	if client == null:
		return _closed("the client")
	var list := await client.fetch_regions(_seconds(request))
	var regions: Array[Dictionary] = []
	for region in list.regions:
		regions.append({"name": region.name, "served": region.is_served, "beacons": region.beacons})
	return _outcome(list, {"regions": regions})


func _on_measure(request: Dictionary) -> Dictionary:
	var client := client_of(request)
	if client == null:
		return _closed("the client")
	var measured := await client.measure_latencies(minf(1.0, _seconds(request)))
	return _outcome(measured, {"latencies_ms": measured.by_region})


func _tell_progress(ticket: MusterTicket) -> void:
	for match_name: String in _tickets:
		if _tickets[match_name] == ticket:
			var words := ticket.state_text() + " " + ticket.explanation
			if _told.get(match_name) != words:
				_told[match_name] = words
				var event := {"event": "progress", "match": match_name}
				event["state"] = ticket.state_text()
				event["explanation"] = ticket.explanation
				say(event)


static func party_in(from: Dictionary) -> Dictionary:
	var party := {}
	for member in Json.objects(from, "party"):
		party[Json.text(member, "player")] = Json.object(member, "attributes")
	return party


static func _texts(from: Dictionary, key: String) -> Array[String]:
	var texts: Array[String] = []
	var list: Variant = from.get(key)
	if list is Array:
		var items: Array = list
		for item: Variant in items:
			texts.append(str(item))
	return texts


func _on_match_find(request: Dictionary) -> Dictionary:
	var client := client_of(request)
	if client == null:
		return _closed("the client")
	var from := Json.object(request, "request")
	var asked := MusterMatchRequest.new(Json.text(from, "queue"), Json.text(from, "player"))
	asked.attributes = Json.object(from, "attributes")
	asked.party = party_in(from)
	asked.latencies_ms = Json.object(from, "latencies_ms")
	asked.filter = Json.text(from, "filter")
	asked.blocks = _texts(from, "blocks")
	asked.rejoin = Json.boolean(from, "rejoin", true)
	asked.previous_tokens = _texts(from, "previous_tokens")
	asked.idempotency_key = Json.text(from, "idempotency_key")
	var priority := MusterMatchRequest.PRIORITIES.find(Json.text(from, "priority", "normal"))
	asked.priority = maxi(priority, 0) as MusterMatchRequest.Priority
	return keep_ticket(request, await client.request_match(asked, _seconds(request)))


## Keeps a ticket under the request's name for it, and tells it.
func keep_ticket(request: Dictionary, ticket: MusterTicket) -> Dictionary:
	if ticket.ok or ticket.id != "":
		var match_name := Json.text(request, "match")
		_tickets[match_name] = ticket
		_owners[match_name] = client_of(request)
		_told.erase(match_name)
		_tell_progress(ticket)
	return _outcome(ticket, {"ticket": _ticket_json(ticket)})


static func _ticket_json(ticket: MusterTicket) -> Dictionary:
	var json := {
		"id": ticket.id,
		"queue": ticket.queue,
		"player": ticket.player,
		"state": ticket.state_text(),
		"explanation": ticket.explanation,
		"accepted": ticket.accepted,
	}
	if ticket.token != "":
		json["token"] = ticket.token
	if ticket.accept_by_ms > 0:
		json["accept_by_ms"] = ticket.accept_by_ms
	if ticket.assignment != null:
		json["assignment"] = JSON.parse_string(ticket.assignment.to_text())
	if ticket.lobby != null:
		json["lobby"] = lobby_json(ticket.lobby)
	return json


static func lobby_json(lobby: MusterLobby) -> Dictionary:
	return {
		"id": lobby.id,
		"code": lobby.lobby_code,
		"fleet": lobby.fleet,
		"region": lobby.region,
		"state": "running" if lobby.is_running else "waiting",
		"name": lobby.name,
		"visibility": "private" if lobby.is_private else "public",
		"open": lobby.is_open,
		"players": lobby.players,
		"max_players": lobby.max_players,
		"owner": lobby.owner,
		"config": lobby.config,
		"tags": lobby.tags,
	}


## Has `what` done with the match's ticket and its client.
func with_match(request: Dictionary, what: Callable) -> Dictionary:
	var match_name := Json.text(request, "match")
	var ticket: MusterTicket = _tickets.get(match_name)
	var owner_of: Variant = _owners.get(match_name)
	if ticket == null or not is_instance_valid(owner_of):
		return _closed("the match")
	return await what.call(owner_of, ticket)


func _on_match_wait(request: Dictionary) -> Dictionary:
	var wait := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		ticket.ok = true
		await client.wait_for_match(ticket, _seconds(request))
		return _outcome(ticket, {"ticket": _ticket_json(ticket)})
	return await with_match(request, wait)


func _on_match_read(request: Dictionary) -> Dictionary:
	var read := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		var fresh := await client.read_ticket(ticket, _seconds(request))
		if fresh.ok:
			_tickets[Json.text(request, "match")] = fresh
		return _outcome(fresh, {"ticket": _ticket_json(fresh)})
	return await with_match(request, read)


func _on_match_cancel(request: Dictionary) -> Dictionary:
	var cancel := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		return _outcome(await client.cancel(ticket, _seconds(request)))
	return await with_match(request, cancel)


func _on_match_accept(request: Dictionary) -> Dictionary:
	var accept := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		return _outcome(await client.accept_match(ticket, _seconds(request)))
	return await with_match(request, accept)


func _on_match_decline(request: Dictionary) -> Dictionary:
	var decline := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		return _outcome(await client.decline_match(ticket, _seconds(request)))
	return await with_match(request, decline)


func _on_match_explain(request: Dictionary) -> Dictionary:
	var explain := func(client: MusterClient, ticket: MusterTicket) -> Dictionary:
		var reply := await client.explain_ticket(ticket, _seconds(request))
		return _outcome(reply, {"words": _texts(reply.body, "words")})
	return await with_match(request, explain)
