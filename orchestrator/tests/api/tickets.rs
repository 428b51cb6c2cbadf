//! Tickets of parties, by their own tokens, watched over WebSockets; and queues with rules.

use futures_util::StreamExt as _;
use muster_orchestrator::state::StateError;
use muster_orchestrator::state::tickets::MAX_SEARCHING;
use muster_orchestrator::tickets::RETRY_AFTER_S;
use muster_orchestrator::{keyspace, records};
use muster_protocol::api::{
    Exclusion, Page, Queue, QueueMode, RecordedTicket, Ticket, TicketExplanation, TicketState,
};
use muster_protocol::problem::ProblemCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::machines::{Machines, Servers};
use crate::pushes::push;
use crate::support::{Bench, Caller, NAMESPACE, REGION, eventually, fleet};

/// Two sides of two, near in skill.
fn sides() -> Value {
    json!({
        "name": "sides",
        "fleet": "arena",
        "attributes": {"skill": {"kind": "number", "default": 1000}},
        "teams": [{"name": "side", "count": 2, "min": 2, "max": 2}],
        "rules": [{"name": "near", "kind": "spread", "attribute": "skill", "most": 100}],
    })
}

async fn apply(api: &Caller) {
    push(api, "arena:1").await;
    let mut spec = fleet("arena", "arena:1");
    spec["regions"][REGION]["warm"] = json!(1);
    api.put("/v1/fleets/arena", spec).await.done().await;
    let queue: Queue = api.put("/v1/queues/sides", sides()).await.ok().await;
    assert_eq!((queue.version, queue.spec.teams.len(), queue.mode), (1, 1, QueueMode::Open));
    let again: Queue = api.put("/v1/queues/sides", sides()).await.ok().await;
    assert_eq!(again.version, 1, "the same again changes nothing");
}

async fn ask(api: &Caller, player: &str, skill: f64, party: Value) -> Ticket {
    let body = json!({
        "queue": "sides", "player": player, "attributes": {"skill": skill}, "party": party, "latencies_ms": {REGION: 5},
    });
    api.post("/v1/tickets", body).await.ok().await
}

/// The states that a socket tells, and the last ticket.
async fn watched(api: &Caller, ticket: &Ticket, token: &str) -> Result<(Vec<TicketState>, Ticket), Error> {
    let url = api.url.replacen("http", "ws", 1);
    let url = format!("{url}/v1/tickets/{}/watch?token={token}", ticket.id);
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let (mut states, mut last) = (Vec::new(), None);
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            let ticket: Ticket = serde_json::from_str(&text).expect("a ticket");
            if states.last() != Some(&ticket.state) {
                states.push(ticket.state);
            }
            last = Some(ticket);
        }
    }
    Ok((states, last.expect("told at once")))
}

#[tokio::test]
async fn a_party_plays_together_and_each_ticket_has_a_token_of_its_own() {
    let bench = Bench::start().await;
    let _machines = Machines::start(&bench, Servers::Ready).await;
    apply(&bench.admin).await;
    let api = bench.caller("client", "default/dev").await;
    let bob = json!([{"player": "bob", "attributes": {"skill": 1040}}]);
    let pair = ask(&api, "ann", 1_000.0, bob).await;
    let token = pair.token.clone().expect("told once");
    assert_eq!(api.get(&format!("/v1/tickets/{}", pair.id)).await.ok::<Ticket>().await.token, None);
    let far = ask(&api, "far", 2_000.0, json!([])).await;
    let own = api.with_token(&token).within(None);
    // It sees its ticket and no other, and does nothing else.
    own.get(&format!("/v1/tickets/{}", pair.id)).await.ok::<Ticket>().await;
    own.get(&format!("/v1/tickets/{}", far.id)).await.problem(ProblemCode::Forbidden).await;
    own.delete(&format!("/v1/tickets/{}", far.id)).await.problem(ProblemCode::Forbidden).await;
    own.get("/v1/regions").await.problem(ProblemCode::TokenInvalid).await;
    let wrong = format!("{}x", &token[..token.len() - 1]);
    let wrong = own.with_token(&wrong).get(&format!("/v1/tickets/{}", pair.id)).await;
    wrong.problem(ProblemCode::TokenInvalid).await;

    let (states, ()) = tokio::join!(watched(&api, &pair, &token), async {
        for player in ["cat", "dan"] {
            ask(&api, player, 980.0, json!([])).await;
        }
    });
    let (states, ticket) = states.expect("a socket");
    assert_eq!((states[0], *states.last().expect("some")), (TicketState::Searching, TicketState::Assigned));
    let at = ticket.assignment.expect("assigned");
    assert!(at.team.starts_with("side "), "{}", at.team);
    assert_eq!((at.party.len(), at.party[0].player.as_str()), (1, "bob"));
    assert!(at.party[0].seat_id != at.seat_id && at.party[0].endpoints[0].token.is_some());
    assert_ne!(at.party[0].endpoints[0].token, at.endpoints[0].token);
    // The one that is too far learns why, by how much, and what it may expect.
    let left = ask(&api, "left", 1_000.0, json!([])).await;
    let path = format!("/v1/tickets/{}/explain", far.id);
    let told = eventually("what may be expected", async || {
        let told: TicketExplanation = api.get(&path).await.ok().await;
        told.expected_wait_p50_ms.is_some().then_some(told)
    })
    .await;
    let search = told.search.expect("it searches");
    let excluded = Exclusion { by: "rule".into(), rule: Some("near".into()), tickets: 1 };
    assert_eq!((search.others, search.candidates, search.excluded.as_slice()), (1, 0, &[excluded][..]));
    assert_eq!((search.full, search.best.map(|best| (best.players, best.missing))), (4, Some((1, 3))));
    assert_eq!((search.limits[0].now, search.limits[0].relaxes_in_ms), (100.0, None));
    assert!(told.words.iter().any(|line| line.contains("rule \"near\"")), "{:?}", told.words);
    own.get(&path).await.problem(ProblemCode::Forbidden).await;
    api.delete(&format!("/v1/tickets/{}", left.id)).await.done().await;
    let over: TicketExplanation = api.get(&format!("/v1/tickets/{}/explain", left.id)).await.ok().await;
    assert_eq!((over.search, over.words.as_slice()), (None, &["cancelled".to_owned()][..]));
    bench.stop().await;
}

#[tokio::test]
async fn a_socket_that_shows_no_token_is_refused() {
    let bench = Bench::start().await;
    apply(&bench.admin).await;
    let ticket = ask(&bench.admin, "ann", 1.0, json!([])).await;
    for token in ["", "mtk_nonsense", "mst_nonsense"] {
        match watched(&bench.admin, &ticket, token).await {
            Err(Error::Http(answer)) => assert_eq!(answer.status(), 401),
            other => panic!("{token:?}: {other:?}"),
        }
    }
    bench.stop().await;
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_at_the_right_door() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    apply(api).await;
    let mut wrong = sides();
    wrong["rules"][0]["attribute"] = json!("rank");
    let problem = api.put("/v1/queues/sides", wrong).await.problem(ProblemCode::InvalidSpec).await;
    assert!(problem.detail.contains("rules[0].attribute: there is no attribute rank"), "{}", problem.detail);
    for (body, part) in [
        (json!({"attributes": {"rank": 3}}), "no attribute \"rank\""),
        (json!({"attributes": {"skill": "high"}}), "must be a number"),
        (json!({"filter": "skill >"}), "filter: "),
        (json!({"filter": "skill > 5 and skill < 3"}), "filter: at character 20: nobody can ever"),
        (json!({"party": [{"player": "b"}, {"player": "c"}]}), "a party of 3"),
        (json!({"party": [{"player": "ann"}]}), "twice"),
        (json!({"blocks": vec!["x"; 257]}), "blocks"),
    ] {
        let mut request = json!({"queue": "sides", "player": "ann"});
        request.as_object_mut().expect("an object").extend(body.as_object().expect("one").clone());
        let problem = api.post("/v1/tickets", request).await.problem(ProblemCode::InvalidRequest).await;
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }
    let large = json!({"queue": "sides", "player": "ann", "filter": "x".repeat(10 << 20)});
    api.post("/v1/tickets", large).await.problem(ProblemCode::TooLarge).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_queue_is_paused_drained_and_resumed() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    apply(api).await;
    for (action, mode) in
        [("pause", QueueMode::Paused), ("drain", QueueMode::Draining), ("resume", QueueMode::Open)]
    {
        let queue: Queue = api.post(&format!("/v1/queues/sides/{action}"), json!(null)).await.ok().await;
        assert_eq!(queue.mode, mode);
        let body = json!({"queue": "sides", "player": action});
        let asked = api.post("/v1/tickets", body).await;
        match mode {
            QueueMode::Draining => drop(asked.problem(ProblemCode::QueueDraining).await),
            _ => asked.done().await,
        }
    }
    // A change of the definition does not open a queue that is shut.
    api.post("/v1/queues/sides/pause", json!(null)).await.done().await;
    let mut spec = sides();
    spec["fill_wait_s"] = json!(3);
    let queue: Queue = api.put("/v1/queues/sides", spec).await.ok().await;
    assert_eq!((queue.version, queue.mode), (2, QueueMode::Paused));
    eventually("the reason", async || {
        let queue: Queue = api.get("/v1/queues/sides").await.ok().await;
        queue.waiting_for.iter().any(|reason| reason.contains("muster queue resume")).then_some(())
    })
    .await;
    api.post("/v1/queues/none/pause", json!(null)).await.problem(ProblemCode::QueueUnknown).await;
    bench.stop().await;
}

#[tokio::test]
async fn a_queue_records_what_its_tickets_say_while_it_is_asked_to() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    apply(api).await;
    ask(api, "unseen", 1.0, json!([])).await;
    let mut spec = sides();
    spec["recording"] = json!(true);
    api.put("/v1/queues/sides", spec).await.done().await;
    let mut asked = Vec::new();
    for (number, player) in ["ann", "bob", "cat"].into_iter().enumerate() {
        asked.push(
            ask(api, player, 1_000.0 + 500.0 * number as f64, json!([{"player": format!("{player}-2")}]))
                .await,
        );
    }
    api.delete(&format!("/v1/tickets/{}", asked[1].id)).await.done().await;
    let mut recorded: Vec<RecordedTicket> = Vec::new();
    let mut path = "/v1/queues/sides/recording?limit=2".to_owned();
    loop {
        let page: Page<RecordedTicket> = api.get(&path).await.ok().await;
        assert!(page.items.len() <= 2);
        recorded.extend(page.items);
        let Some(next) = page.next else { break };
        path = format!("/v1/queues/sides/recording?limit=2&after={next}");
    }
    let names: Vec<&str> = recorded.iter().map(|ticket| ticket.players[0].player.as_str()).collect();
    assert_eq!(names, ["ann", "bob", "cat"]);
    let left: Vec<bool> = recorded.iter().map(|ticket| ticket.left_ms.is_some()).collect();
    assert_eq!(left, [false, true, false]);
    assert_eq!(recorded[2].entered_ms, asked[2].created_at_ms);
    assert_eq!(recorded[2].players[0].attributes["skill"], muster_protocol::api::Value::Number(2_000.0));
    assert_eq!((recorded[2].players.len(), recorded[2].latencies_ms[REGION]), (2, 5));
    api.get("/v1/queues/sides/recording?after=!").await.problem(ProblemCode::InvalidRequest).await;
    api.delete("/v1/queues/sides/recording").await.done().await;
    let page: Page<RecordedTicket> = api.get("/v1/queues/sides/recording").await.ok().await;
    assert!(page.items.is_empty() && page.next.is_none());
    bench.stop().await;
}

#[tokio::test]
async fn every_call_about_tickets_is_counted_and_beyond_its_bound_told_when_to_come_again() {
    const BURST: usize = 10;
    let bench = Bench::start_with(|config| {
        config.api.ticket_calls_per_s_per_address = 1;
        config.api.explains_per_s_per_address = 0;
        config.api.explains_per_s_per_token = 0;
    })
    .await;
    apply(&bench.admin).await;
    let ticket = ask(&bench.admin, "ann", 1.0, json!([])).await;
    let (path, client) = (format!("/v1/tickets/{}", ticket.id), bench.caller("client", "default/dev").await);
    let own = client.with_token(ticket.token.as_deref().expect("told once"));
    // Of one address, whoever asks and for what.
    let mut calls = 0;
    let refused = loop {
        let (caller, path) = match calls % 4 {
            0 => (&client, path.clone()),
            1 => (&own, path.clone()),
            2 => (&client, format!("{path}/watch")),
            _ => (&own, format!("{path}/explain")),
        };
        let answer = caller.get(&path).await;
        if answer.status() == ProblemCode::TooMany.status() {
            break answer;
        }
        calls += 1;
        assert!(calls < 1_000, "tickets can be asked about without end");
    };
    assert!(calls >= BURST, "{calls}");
    let problem = refused.problem(ProblemCode::TooMany).await;
    assert!(problem.retry_after_s.is_some(), "{problem:?}");
    assert!(problem.detail.contains("api.ticket_calls_per_s_per_address"), "{}", problem.detail);
    for answer in [client.delete(&path).await, client.post(&format!("{path}/accept"), json!({})).await] {
        answer.problem(ProblemCode::TooMany).await;
    }
    // A backend is not bound, and nothing came of what was refused.
    for _ in 0..2 * BURST {
        assert_eq!(bench.admin.get(&path).await.ok::<Ticket>().await.state, TicketState::Searching);
    }
    bench.stop().await;
}

#[tokio::test]
async fn explanations_which_cost_more_have_a_bound_of_their_own() {
    let bench = Bench::start_with(|config| config.api.explains_per_s_per_token = 1).await;
    apply(&bench.admin).await;
    let ticket = ask(&bench.admin, "ann", 1.0, json!([])).await;
    let (path, client) = (format!("/v1/tickets/{}", ticket.id), bench.caller("client", "default/dev").await);
    let explain = format!("{path}/explain");
    let mut asked = 0;
    while client.get(&explain).await.status() == 200 {
        asked += 1;
        assert!(asked < 1_000, "explanations can be asked for without end");
    }
    let problem = client.get(&explain).await.problem(ProblemCode::TooMany).await;
    assert!(problem.detail.contains("api.explains_per_s_per_token"), "{}", problem.detail);
    client.get(&path).await.ok::<Ticket>().await;
    bench.admin.get(&explain).await.ok::<TicketExplanation>().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_request_sent_again_is_answered_as_before_and_another_with_its_key_is_refused() {
    let bench = Bench::start().await;
    apply(&bench.admin).await;
    let client = bench.caller("client", "default/dev").await;
    let body = |skill: f64, key: &str| json!({"queue": "sides", "player": "ann", "attributes": {"skill": skill}, "idempotency_key": key});
    let first: Ticket = client.post("/v1/tickets", body(1_000.0, "one")).await.ok().await;
    let again: Ticket = client.post("/v1/tickets", body(1_000.0, "one")).await.ok().await;
    assert_eq!((again.id, &again.token), (first.id, &first.token));
    let own = client.with_token(again.token.as_deref().expect("told again")).within(None);
    own.get(&format!("/v1/tickets/{}", first.id)).await.ok::<Ticket>().await;
    // Any field that differs, and anyone else, is another request.
    let mut other = body(1_000.0, "one");
    other["latencies_ms"] = json!({REGION: 5});
    for (caller, body) in [
        (&client, body(1_001.0, "one")),
        (&client, other),
        (&bench.caller("client", "default/dev").await, body(1_000.0, "one")),
        (&bench.admin, body(1_000.0, "one")),
    ] {
        let problem = caller.post("/v1/tickets", body).await.problem(ProblemCode::IdempotencyKeyReused).await;
        assert!(problem.detail.contains("\"one\""), "{}", problem.detail);
    }
    let lobby = json!({"fleet": "arena", "player": "ann", "idempotency_key": "one"});
    client.post("/v1/lobbies", lobby).await.problem(ProblemCode::IdempotencyKeyReused).await;
    let second: Ticket = client.post("/v1/tickets", body(1_000.0, "two")).await.ok().await;
    assert!(second.id != first.id && second.token != first.token);
    bench.stop().await;
}

/// Two hundred thousand tickets take long to make, so the number that is kept of them is raised: what counts is the number.
#[tokio::test]
async fn a_full_queue_takes_no_ticket_until_one_has_left_and_says_when_to_ask_again() {
    let bench = Bench::start().await;
    apply(&bench.admin).await;
    let db = bench.orchestrator.db();
    let fill = db.run("fill", async |mut tx| {
        let count = keyspace::ticket_count(NAMESPACE, "sides", records::TicketState::Searching);
        tx.atomic_add(&count, MAX_SEARCHING as i64 - 2);
        Ok::<_, StateError>(())
    });
    fill.await.expect("written");
    let client = bench.caller("client", NAMESPACE).await;
    let body = |player: &str| json!({"queue": "sides", "player": player, "attributes": {"skill": 1}});
    let first: Ticket = client.post("/v1/tickets", body("ann")).await.ok().await;
    client.post("/v1/tickets", body("bob")).await.done().await;
    for caller in [&client, &bench.admin] {
        let problem = caller.post("/v1/tickets", body("cat")).await.problem(ProblemCode::TooMany).await;
        assert_eq!(problem.retry_after_s, Some(RETRY_AFTER_S));
        assert!(problem.detail.contains(&format!("full with {MAX_SEARCHING} tickets")), "{}", problem.detail);
    }
    // Who is in it is not touched by it, and another queue is not full.
    client.get(&format!("/v1/tickets/{}", first.id)).await.ok::<Ticket>().await;
    let mut other = sides();
    other["name"] = json!("other");
    bench.admin.put("/v1/queues/other", other).await.done().await;
    let mut elsewhere = body("cat");
    elsewhere["queue"] = json!("other");
    client.post("/v1/tickets", elsewhere).await.done().await;
    client.delete(&format!("/v1/tickets/{}", first.id)).await.done().await;
    client.post("/v1/tickets", body("cat")).await.done().await;
    client.post("/v1/tickets", body("dan")).await.problem(ProblemCode::TooMany).await;
    bench.stop().await;
}
