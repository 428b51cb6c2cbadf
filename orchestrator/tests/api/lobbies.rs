//! Lobbies, and servers joined by their id.

use muster_protocol::api::{Lobby, LobbyState, Page, Server, Ticket, TicketState, Visibility};
use muster_protocol::problem::ProblemCode;
use serde_json::{Value, json};

use crate::machines::{Machines, Servers};
use crate::pushes::push;
use crate::support::{Bench, Caller, REGION, eventually, fleet};

async fn apply(api: &Caller, warm: u32) {
    push(api, "arena:1").await;
    let mut spec = fleet("arena", "arena:1");
    spec["regions"][REGION]["warm"] = json!(warm);
    for (name, value) in
        [("lobbies", json!(true)), ("direct_connect", json!(true)), ("max_players", json!(3))]
    {
        spec[name] = value;
    }
    api.put("/v1/fleets/arena", spec).await.done().await;
    eventually("warm servers", async || {
        let page: Page<Server> = api.get("/v1/servers?state=ready").await.ok().await;
        (page.items.len() == warm as usize).then_some(())
    })
    .await;
}

async fn make(api: &Caller, player: &str, lobby: Value) -> Ticket {
    let body = json!({"fleet": "arena", "player": player, "latencies_ms": {REGION: 5}, "lobby": lobby});
    api.post("/v1/lobbies", body).await.ok().await
}

fn lobby(ticket: &Ticket) -> &Lobby {
    ticket.lobby.as_ref().expect("a lobby's ticket says so")
}

async fn lobbies(api: &Caller, filter: &str) -> Vec<String> {
    let page: Page<Lobby> = api.get(&format!("/v1/lobbies?{filter}")).await.ok().await;
    page.items.into_iter().map(|lobby| lobby.name).collect()
}

#[tokio::test]
async fn players_make_lobbies_find_them_join_them_and_leave() {
    let bench = Bench::start().await;
    let _machines = Machines::start(&bench, Servers::Ready).await;
    apply(&bench.admin, 3).await;
    let api = bench.caller("client", "default/dev").await;
    let dust = json!({"name": "Dust", "tags": {"map": "dust"}, "config": {"rounds": 3}});
    let ann = make(&api, "ann", dust).await;
    assert_eq!((ann.state, ann.queue.as_str()), (TicketState::Assigned, ""));
    let made = lobby(&ann).clone();
    assert_eq!((made.players, made.max_players, made.open, made.state), (1, 3, true, LobbyState::Running));
    assert_eq!((&made.config, made.owner.as_str()), (&json!({"rounds": 3}), "ann"));
    let hidden = make(&api, "hid", json!({"name": "Hidden", "visibility": "private"})).await;
    assert_eq!(lobby(&hidden).visibility, Visibility::Private);
    make(&api, "ice", json!({"name": "Ice", "tags": {"map": "ice"}, "max_players": 2})).await;

    // Listed by what they are like, those that take fewest first.
    assert_eq!(lobbies(&api, "").await, ["Ice", "Dust"]);
    assert_eq!(lobbies(&api, &format!("fleet=arena&region={REGION}&tag.map=dust&open=true")).await, ["Dust"]);
    let first: Page<Lobby> = api.get("/v1/lobbies?limit=1").await.ok().await;
    let next = first.next.expect("there are two");
    assert_eq!(lobbies(&api, &format!("limit=1&after={next}")).await, ["Dust"]);
    for (query, part) in [("opne=true", "opne"), ("region=eu", "name the fleet"), ("after=!", "no place")] {
        let problem =
            api.get(&format!("/v1/lobbies?{query}")).await.problem(ProblemCode::InvalidRequest).await;
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }

    // By code as it is typed, by id, and as the fullest.
    let path = format!("/v1/lobbies/{}/join", made.code.to_lowercase());
    let bob: Ticket =
        api.post(&path, json!({"player": "bob", "party": [{"player": "cat"}]})).await.ok().await;
    let (at, other) =
        (bob.assignment.as_ref().expect("assigned"), ann.assignment.as_ref().expect("assigned"));
    assert_eq!((at.server_id, at.match_id), (other.server_id, made.id));
    assert!(at.party.len() == 1 && at.endpoints[0].token.is_some());
    let by_id = format!("/v1/lobbies/{}/join", made.id);
    let problem = api.post(&by_id, json!({"player": "dan"})).await.problem(ProblemCode::LobbyFull).await;
    assert!(problem.detail.contains("0 of 3 seats are free"), "{}", problem.detail);
    let found: Ticket =
        api.post("/v1/lobbies/find", json!({"fleet": "arena", "player": "dan"})).await.ok().await;
    assert_eq!(lobby(&found).name, "Ice");
    let missing = json!({"fleet": "arena", "player": "eve"});
    api.post("/v1/lobbies/find", missing.clone()).await.problem(ProblemCode::LobbyUnknown).await;
    let code = &lobby(&hidden).code;
    let shown: Lobby = api.get(&format!("/v1/lobbies/{code}")).await.ok().await;
    assert_eq!(shown.name, "Hidden");
    api.post(&format!("/v1/lobbies/{code}/join"), json!({"player": "eve"})).await.done().await;

    // A name is no proof that a seat is one's own; the ticket's token is.
    let claim =
        |shown: &[&String]| json!({"player": "bob", "party": [{"player": "cat"}], "previous_tokens": shown});
    let problem = api.post(&by_id, claim(&[])).await.problem(ProblemCode::SeatHeld).await;
    assert!(problem.detail.contains("bob") && problem.fix.contains("previous_tokens"), "{problem:?}");
    let token = bob.token.as_ref().expect("told once");
    let bob: Ticket = api.post(&by_id, claim(&[token])).await.ok().await;
    assert_eq!(bob.assignment.as_ref().map(|at| at.match_id), Some(made.id));
    let problem =
        api.post(&by_id, claim(&[&"x".to_owned()])).await.problem(ProblemCode::InvalidRequest).await;
    assert!(problem.detail.contains("previous_tokens[0]: is no ticket's own token"), "{}", problem.detail);

    // Who leaves, by the ticket's own token, makes room; the server is told.
    let own = api.with_token(bob.token.as_deref().expect("told once")).within(None);
    own.delete(&format!("/v1/tickets/{}", bob.id)).await.done().await;
    let shown: Lobby = api.get(&format!("/v1/lobbies/{}", made.id)).await.ok().await;
    assert_eq!(shown.players, 1);
    let over: Ticket = api.get(&format!("/v1/tickets/{}", bob.id)).await.ok().await;
    assert_eq!((over.state, over.lobby), (TicketState::Cancelled, None));
    let found: Ticket = api.post("/v1/lobbies/find", missing).await.ok().await;
    assert_eq!(lobby(&found).name, "Dust");
    bench.stop().await;
}

#[tokio::test]
async fn a_lobby_without_a_warm_server_waits_and_one_without_any_is_refused() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    apply(api, 0).await;
    let body = json!({"fleet": "arena", "player": "ann"});
    let problem = api.post("/v1/lobbies", body).await.problem(ProblemCode::NoCapacity).await;
    assert!(problem.detail.contains("has no node") && problem.retry_after_s.is_some(), "{}", problem.detail);
    let _machines = Machines::start(&bench, Servers::Ready).await;
    let mut ticket = make(api, "ann", json!({})).await;
    let code = lobby(&ticket).code.clone();
    let mut bob: Ticket =
        api.post(&format!("/v1/lobbies/{code}/join"), json!({"player": "bob"})).await.ok().await;
    for ticket in [&mut ticket, &mut bob] {
        while !ticket.state.is_final() {
            assert!(ticket.explanation.contains("server"), "{}", ticket.explanation);
            let path = format!("/v1/tickets/{}?state={}&wait_s=30", ticket.id, ticket.state.as_str());
            *ticket = api.get(&path).await.ok().await;
        }
        assert_eq!(ticket.state, TicketState::Assigned, "{}", ticket.explanation);
    }
    assert_eq!(ticket.assignment.map(|at| at.server_id), bob.assignment.map(|at| at.server_id));
    bench.stop().await;
}

#[tokio::test]
async fn a_server_is_joined_by_its_id_where_its_fleet_allows_that() {
    let bench = Bench::start().await;
    let _machines = Machines::start(&bench, Servers::Ready).await;
    apply(&bench.admin, 1).await;
    let api = bench.caller("client", "default/dev").await;
    let page: Page<Server> = bench.admin.get("/v1/servers?state=ready").await.ok().await;
    let path = format!("/v1/servers/{}/join", page.items[0].id);
    let ann: Ticket =
        api.post(&path, json!({"player": "ann", "party": [{"player": "bob"}]})).await.ok().await;
    let at = ann.assignment.expect("assigned");
    assert_eq!((at.server_id, ann.lobby), (page.items[0].id, None));
    let two = json!({"player": "cat", "party": [{"player": "dan"}]});
    api.post(&path, two).await.problem(ProblemCode::ServerFull).await;
    api.post(&path, json!({"player": "cat"})).await.done().await;
    let nowhere = "/v1/servers/srv_01h455vb4pex5vsknk084sn02q/join";
    api.post(nowhere, json!({"player": "cat"})).await.problem(ProblemCode::ServerUnknown).await;
    let mut spec = fleet("arena", "arena:1");
    spec["regions"][REGION]["warm"] = json!(1);
    bench.admin.put("/v1/fleets/arena", spec).await.done().await;
    let problem = api.post(&path, json!({"player": "eve"})).await.problem(ProblemCode::FleetDisallows).await;
    assert!(problem.detail.contains("direct_connect = true"), "{}", problem.detail);
    let body = json!({"fleet": "arena", "player": "eve"});
    let problem = api.post("/v1/lobbies", body).await.problem(ProblemCode::FleetDisallows).await;
    assert!(problem.detail.contains("lobbies = true"), "{}", problem.detail);
    bench.stop().await;
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_and_codes_are_not_guessed_at_will() {
    let bench = Bench::start_with(|config| config.api.tickets_per_s_per_address = 1).await;
    let api = &bench.admin;
    apply(api, 0).await;
    for (path, body, part) in [
        ("/v1/lobbies", json!({"fleet": "arena", "player": ""}), "player: empty"),
        (
            "/v1/lobbies",
            json!({"fleet": "arena", "player": "a", "lobby": {"max_players": 0}}),
            "lobby.max_players",
        ),
        (
            "/v1/lobbies",
            json!({"fleet": "arena", "player": "a", "lobby": {"max_players": 9}}),
            "more than the 3",
        ),
        ("/v1/lobbies", json!({"fleet": "arena", "player": "a", "lobby": {"nmae": "x"}}), "nmae"),
        ("/v1/lobbies/find", json!({"fleet": "arena", "player": "a", "tags": {"A B": "x"}}), "tags: \"A B\""),
        ("/v1/lobbies/ABC/join", json!({"player": "a"}), "neither a lobby's code nor its id"),
        ("/v1/lobbies/ABCDEF/join", json!({"player": "a", "party": [{"player": "a"}]}), "twice"),
    ] {
        let problem = api.post(path, body).await.problem(ProblemCode::InvalidRequest).await;
        assert!(problem.detail.contains(part), "{}", problem.detail);
    }
    let large = json!({"fleet": "arena", "player": "a", "lobby": {"config": "x".repeat(2 << 20)}});
    api.post("/v1/lobbies", large).await.problem(ProblemCode::TooLarge).await;
    let client = bench.caller("client", "default/dev").await;
    let mut guesses = 0;
    while client.get("/v1/lobbies/ABCDEF").await.status() == 404 {
        guesses += 1;
        assert!(guesses < 1_000, "codes can be guessed without end");
    }
    client.get("/v1/lobbies/ABCDEF").await.problem(ProblemCode::TooMany).await;
    bench.stop().await;
}
