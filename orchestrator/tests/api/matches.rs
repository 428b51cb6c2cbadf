//! Tickets, allocations and servers, with machines that pretend.

use muster_protocol::api::{
    Allocated, Edge, EdgeTraffic, Fleet, Node, NodeState, Page, PortProtocol, Region, Server, ServerState,
    Status, Ticket, TicketExplanation, TicketState,
};
use muster_protocol::id::TicketId;
use muster_protocol::problem::ProblemCode;
use reqwest::Method;
use serde_json::{Value, json};

use crate::machines::{LOG, Machines, NO_DOCKER, Servers};
use crate::pushes::push;
use crate::support::{Answer, Bench, Caller, REGION, eventually, fleet, queue};

async fn apply(api: &Caller, warm: u32, players: u32) {
    push(api, "arena:1").await;
    let mut spec = fleet("arena", "arena:1");
    spec["regions"][REGION]["warm"] = json!(warm);
    api.put("/v1/fleets/arena", spec).await.done().await;
    api.put("/v1/queues/duel", queue("duel", "arena", players)).await.done().await;
}

async fn ticket(api: &Caller, player: &str) -> Ticket {
    let body = json!({"queue": "duel", "player": player, "latencies_ms": {REGION: 5}});
    api.post("/v1/tickets", body).await.ok().await
}

/// Long-polls until the ticket is in its last state.
async fn settled(api: &Caller, mut ticket: Ticket) -> Ticket {
    while !ticket.state.is_final() {
        let path = format!("/v1/tickets/{}?state={}&wait_s=60", ticket.id, ticket.state.as_str());
        ticket = api.get(&path).await.ok().await;
    }
    ticket
}

async fn servers(api: &Caller, filter: &str) -> Vec<Server> {
    let page: Page<Server> = api.get(&format!("/v1/servers?{filter}")).await.ok().await;
    page.items
}

async fn ready_servers(api: &Caller, count: usize) -> Vec<Server> {
    eventually("warm servers", async || {
        Some(servers(api, "state=ready").await).filter(|servers| servers.len() == count)
    })
    .await
}

#[tokio::test]
async fn players_get_a_server_and_tokens_for_it() {
    let bench = Bench::start().await;
    let _machines = Machines::start(&bench, Servers::Ready).await;
    apply(&bench.admin, 1, 2).await;
    ready_servers(&bench.admin, 1).await;
    // All a player needs is a client's token.
    let api = bench.caller("client", "default/dev").await;
    let ann = ticket(&api, "ann").await;
    assert_eq!(ann.state, TicketState::Searching);
    assert!(ann.explanation.contains("a match needs 2 players"), "{}", ann.explanation);
    let bob_asked = ticket(&api, "bob").await;
    let (ann, bob) = (settled(&api, ann).await, settled(&api, bob_asked.clone()).await);
    assert_eq!((ann.state, bob.state), (TicketState::Assigned, TicketState::Assigned));
    assert!(ann.matched_at_ms.is_some() && ann.assigned_at_ms.is_some());
    let (at, other) = (ann.assignment.expect("assigned"), bob.assignment.expect("assigned"));
    assert_eq!((at.server_id, at.match_id), (other.server_id, other.match_id));
    assert_ne!(at.seat_id, other.seat_id);
    let by_name =
        |name: &str| at.endpoints.iter().find(|endpoint| endpoint.port_name == name).expect("a port");
    let (game, web, free) = (by_name("game"), by_name("web"), by_name("free"));
    assert_eq!((game.protocol, game.host.as_str()), (PortProtocol::Udp, "edge.example"));
    assert!((20_000..=20_999).contains(&game.port));
    assert!(game.token.as_deref().is_some_and(|token| token.starts_with("v4.public.")));
    let url = web.url.as_deref().expect("a WebSocket has a URL");
    assert!(url.starts_with(&format!("wss://edge.example:{}/?token=v4.public.", web.port)), "{url}");
    assert!(free.token.is_none());
    // What one asks for again is minted again.
    let again: Ticket = api.get(&format!("/v1/tickets/{}", ann.id)).await.ok().await;
    assert_eq!(again.assignment.expect("assigned").seat_id, at.seat_id);

    // The studio sees the server, its seats and flows.
    let server = eventually("the edge to report flows", async || {
        let server: Server = bench.admin.get(&format!("/v1/servers/{}", at.server_id)).await.ok().await;
        (server.flows > 0).then_some(server)
    })
    .await;
    assert_eq!((server.state, server.match_id), (ServerState::Allocated, Some(at.match_id)));
    assert_eq!(server.seats.len(), 2);
    for state in [ServerState::Pending, ServerState::Placing, ServerState::Ready, ServerState::Allocated] {
        assert!(server.entered_ms.contains_key(&state), "{state:?} in {:?}", server.entered_ms);
    }

    // Who asks again while they have a seat has it again, by another ticket; who does not want it gives it up.
    let seats = async || {
        let server: Server = bench.admin.get(&format!("/v1/servers/{}", at.server_id)).await.ok().await;
        server.seats
    };
    eventually("both to be there", async || seats().await.iter().all(|seat| seat.connected).then_some(()))
        .await;
    let ask = async |rejoin: bool, shown: &Ticket| -> Ticket {
        let body = json!({
            "queue": "duel", "player": "bob", "rejoin": rejoin, "previous_tokens": [shown.token.clone().expect("told once")],
        });
        api.post("/v1/tickets", body).await.ok().await
    };
    // A client says any name it likes: without the ticket's token it is nobody's.
    let stranger = ticket(&api, "bob").await;
    assert_eq!(stranger.state, TicketState::Searching);
    let explained: TicketExplanation =
        api.get(&format!("/v1/tickets/{}/explain", stranger.id)).await.ok().await;
    assert!(explained.words.iter().any(|line| line.contains("previous_tokens")), "{:?}", explained.words);
    assert_eq!(seats().await.len(), 2);
    let back = ask(true, &bob_asked).await;
    assert_eq!((back.state, back.token.is_some()), (TicketState::Assigned, true), "{}", back.explanation);
    let place = back.assignment.as_ref().expect("assigned");
    assert_eq!((place.server_id, place.seat_id), (other.server_id, other.seat_id));
    let older: Ticket = api.get(&format!("/v1/tickets/{}", bob.id)).await.ok().await;
    assert!(older.state == TicketState::Cancelled && older.assignment.is_none(), "{older:?}");
    let elsewhere = ask(false, &back).await;
    assert_eq!(elsewhere.state, TicketState::Searching);
    assert_eq!(seats().await.len(), 1);
    // To withdraw an assigned ticket is to leave.
    api.delete(&format!("/v1/tickets/{}", ann.id)).await.done().await;
    assert!(seats().await.is_empty());
    bench.stop().await;
}

#[tokio::test]
async fn a_server_is_claimed_by_request_until_none_is_free() {
    let bench = Bench::start().await;
    let api = bench.caller("deploy", "default/dev").await;
    let empty = json!({});
    let answer = api.post("/v1/fleets/arena/allocate", empty.clone()).await;
    answer.problem(ProblemCode::FleetUnknown).await;
    push(&api, "arena:1").await;
    let mut spec = fleet("arena", "arena:1");
    spec["regions"][REGION] = json!({"warm": 1, "max": 1});
    api.put("/v1/fleets/arena", spec).await.done().await;
    // Nobody serves the region yet.
    let answer = api.post("/v1/fleets/arena/allocate", empty.clone()).await;
    let problem = answer.problem(ProblemCode::RegionUnserved).await;
    assert!(problem.detail.contains("no node"), "{}", problem.detail);

    let _machines = Machines::start(&bench, Servers::Ready).await;
    ready_servers(&api, 1).await;
    let answer = api.post("/v1/fleets/arena/allocate", json!({"regions": ["mars"]})).await;
    let problem = answer.problem(ProblemCode::RegionUnserved).await;
    assert!(problem.detail.contains("mars"));
    let players: Vec<String> = (0..20).map(|n| format!("player-{n}")).collect();
    let body = json!({"regions": [REGION], "players": players, "data": "{\"map\":\"dust\"}"});
    let claimed: Allocated = api.post("/v1/fleets/arena/allocate", body).await.ok().await;
    assert_eq!(claimed.region, REGION);
    let named: Vec<String> = claimed.seats.iter().map(|seat| seat.player.clone()).collect();
    assert_eq!(named, players);
    assert!(claimed.seats.iter().all(|seat| seat.endpoints.len() == 3));
    let answer = api.post("/v1/fleets/arena/allocate", empty).await;
    let problem = answer.problem(ProblemCode::NoCapacity).await;
    assert!(problem.detail.contains("max"), "{}", problem.detail);
    let answer = api.post("/v1/fleets/arena/allocate", json!({"players": ["a", "a"]})).await;
    answer.problem(ProblemCode::InvalidRequest).await;
    bench.stop().await;
}

#[tokio::test]
async fn servers_are_listed_read_and_stopped() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let _machines = Machines::start(&bench, Servers::Ready).await;
    apply(api, 3, 2).await;
    let warm = ready_servers(api, 3).await;
    for filter in ["fleet=other", "region=mars", "state=failed"] {
        assert!(servers(api, filter).await.is_empty(), "{filter}");
    }
    assert_eq!(servers(api, &format!("fleet=arena&region={REGION}&state=ready")).await.len(), 3);
    let first: Page<Server> = api.get("/v1/servers?limit=2").await.ok().await;
    let after = first.next.expect("a third");
    let second: Page<Server> = api.get(&format!("/v1/servers?limit=2&after={after}")).await.ok().await;
    let mut ids: Vec<_> = first.items.iter().chain(&second.items).map(|server| server.id).collect();
    assert!(ids.is_sorted_by(|newer, older| newer.uuid() > older.uuid()), "newest first: {ids:?}");
    ids.reverse();
    let mut known: Vec<_> = warm.iter().map(|server| server.id).collect();
    known.sort_by_key(muster_protocol::id::ServerId::uuid);
    assert_eq!(ids, known);
    for query in ["state=sleepy", "after=nonsense", "flet=arena"] {
        api.get(&format!("/v1/servers?{query}")).await.problem(ProblemCode::InvalidRequest).await;
    }

    let id = warm[0].id;
    let answer = Answer::of(api.request(Method::GET, &format!("/v1/servers/{id}/logs?tail=10"))).await;
    assert_eq!(answer.0.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.0.text().await.expect("a log"), LOG);

    let stopped: Server =
        api.post(&format!("/v1/servers/{id}/stop?force=true"), json!(null)).await.ok().await;
    assert!(matches!(stopped.state, ServerState::Draining | ServerState::Stopped), "{stopped:?}");
    let over = eventually("the server to be over", async || {
        let server: Server = api.get(&format!("/v1/servers/{id}")).await.ok().await;
        server.state.is_final().then_some(server)
    })
    .await;
    assert_eq!((over.state, over.reason.as_str()), (ServerState::Stopped, "stopped_by_request"));
    // The fleet replaces it, and stopping what is over is no harm.
    eventually("a replacement", async || (servers(api, "state=ready").await.len() == 3).then_some(())).await;
    let again: Server = api.post(&format!("/v1/servers/{id}/stop"), json!(null)).await.ok().await;
    assert_eq!(again.state, ServerState::Stopped);
    bench.stop().await;
}

#[tokio::test]
async fn a_container_that_exits_at_once_is_explained() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let _machines = Machines::start(&bench, Servers::Exit).await;
    apply(api, 1, 2).await;
    let failed =
        eventually("a failed server", async || servers(api, "state=failed").await.into_iter().next()).await;
    let exit = failed.exit.expect("how it ended");
    assert_eq!((exit.code, exit.log_tail.as_str()), (1, "cannot open level\n"));
    assert!(!failed.reason.is_empty() && !failed.explanation.is_empty());
    // Its container is gone with its log, but what it said last is kept.
    let log = Answer::of(api.request(Method::GET, &format!("/v1/servers/{}/logs", failed.id))).await;
    assert_eq!(log.0.text().await.expect("a log"), "cannot open level\n");
    let waiting = eventually("the fleet to say so", async || {
        let fleet: Fleet = api.get("/v1/fleets/arena").await.ok().await;
        fleet.waiting_for.into_iter().find(|why| why.contains("fail"))
    })
    .await;
    assert!(waiting.contains(REGION) && waiting.contains("muster server"), "{waiting}");
    let status: Status = api.get("/v1/status").await.ok().await;
    assert!(status.problems.iter().any(|problem| problem.contains("fleet arena")), "{:?}", status.problems);
    bench.stop().await;
}

#[tokio::test]
async fn a_node_without_docker_is_named_wherever_it_matters() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let _machines = Machines::start(&bench, Servers::NoDocker).await;
    apply(api, 1, 2).await;
    let nodes: Page<Node> = api.get("/v1/nodes").await.ok().await;
    assert_eq!((nodes.items[0].state, nodes.items[0].explanation.as_str()), (NodeState::Unable, NO_DOCKER));
    let fleet: Fleet = api.get("/v1/fleets/arena").await.ok().await;
    assert!(fleet.waiting_for.iter().any(|why| why.contains(NO_DOCKER)), "{:?}", fleet.waiting_for);
    let status: Status = api.get("/v1/status").await.ok().await;
    assert!(status.problems.iter().any(|problem| problem.contains(NO_DOCKER)), "{:?}", status.problems);
    let ann = ticket(api, "ann").await;
    eventually("the ticket to say so", async || {
        let ticket: Ticket = api.get(&format!("/v1/tickets/{}", ann.id)).await.ok().await;
        ticket.explanation.contains(NO_DOCKER).then_some(())
    })
    .await;
    bench.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_on_the_edge_costs_one_server_and_is_not_given_again() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let _machines = Machines::start(&bench, Servers::PortTaken).await;
    apply(api, 1, 2).await;
    let warm = ready_servers(api, 1).await.remove(0);
    let failed = servers(api, "state=failed").await.remove(0);
    assert_eq!(failed.reason, "port_taken");
    assert!(failed.explanation.contains("is taken"), "{}", failed.explanation);
    // Of the ports that the failed server had, the one that was taken is in quarantine.
    let ports = |server: &Server| -> Vec<_> {
        server.ports.iter().map(|port| (port.protocol == PortProtocol::Udp, port.edge_port)).collect()
    };
    let shared = ports(&failed).into_iter().filter(|port| ports(&warm).contains(port)).count();
    assert!(shared < failed.ports.len(), "{:?} and {:?}", failed.ports, warm.ports);
    bench.stop().await;
}

#[tokio::test]
async fn machines_and_regions_are_shown() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let machines = Machines::start(&bench, Servers::Ready).await;
    let nodes: Page<Node> = api.get("/v1/nodes").await.ok().await;
    let node = &nodes.items[0];
    assert_eq!((node.state, node.region.as_str(), node.cpu_millis), (NodeState::Ready, REGION, 16_000));
    let edges: Page<Edge> = api.get("/v1/edges").await.ok().await;
    assert!(edges.items[0].connected);
    assert_eq!(edges.items[0].public_host, "edge.example");
    let client = bench.caller("client", "default/dev").await;
    let regions: Page<Region> = client.get("/v1/regions").await.ok().await;
    assert_eq!(regions.items[0].beacons[0].port, 19_999);
    apply(api, 2, 2).await;
    ready_servers(api, 2).await;
    let nodes: Page<Node> = api.get("/v1/nodes").await.ok().await;
    assert_eq!((nodes.items[0].servers, nodes.items[0].cpu_millis_reserved), (2, 200));
    let status: Status = api.get("/v1/status").await.ok().await;
    assert_eq!((status.nodes_ready, status.edges_connected), (1, 1));
    assert_eq!(status.servers[&ServerState::Ready], 2);
    assert!(status.problems.is_empty(), "{:?}", status.problems);
    drop(machines);
    let status = eventually("the machines to be missed", async || {
        let status: Status = api.get("/v1/status").await.ok().await;
        (status.nodes_ready == 0 && status.edges_connected == 0).then_some(status)
    })
    .await;
    assert!(status.problems.iter().any(|problem| problem.contains("disconnected")), "{:?}", status.problems);
    bench.stop().await;
}

#[tokio::test]
async fn what_goes_through_an_edge_is_shown_as_it_reported_it() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let machines = Machines::start(&bench, Servers::Ready).await;
    apply(api, 2, 2).await;
    ready_servers(api, 2).await;
    let edges: Page<Edge> = api.get("/v1/edges").await.ok().await;
    let path = format!("/v1/edges/{}/traffic", edges.items[0].id);
    let traffic = eventually("two reports of both servers", async || {
        let traffic: EdgeTraffic = api.get(&path).await.ok().await;
        (traffic.over_ms > 0 && traffic.total.flows == 4).then_some(traffic)
    })
    .await;
    assert_eq!((traffic.edge, traffic.region.as_str()), (edges.items[0].id, REGION));
    assert_eq!((traffic.added_p50_us, traffic.added_p99_us), (40, 90));
    assert_eq!((traffic.servers_routed, traffic.servers.len()), (2, 2));
    for server in &traffic.servers {
        assert_eq!((server.namespace.as_str(), server.fleet.as_str()), ("default/dev", "arena"));
        let of = &server.traffic;
        assert!(of.packets_to_servers_per_s > 0 && of.packets_to_clients_per_s > of.packets_to_servers_per_s);
        assert!(of.bytes_to_servers_per_s > 0 && of.bytes_to_clients_per_s > of.bytes_to_servers_per_s);
        let [drops] = &server.drops[..] else { panic!("{:?}", server.drops) };
        assert_eq!((drops.reason.as_str(), of.drops_per_s), ("unproven", drops.per_s));
        assert!(drops.per_s > 0);
        assert_eq!(server.tunnel.as_ref(), traffic.tunnels.first(), "the one to the server's node");
    }
    let [drops] = &traffic.drops[..] else { panic!("{:?}", traffic.drops) };
    assert_eq!((drops.reason.as_str(), traffic.total.drops_per_s), ("unproven", drops.per_s));
    assert!(drops.count >= 2_000 && drops.per_s > 0, "{drops:?}");
    let [tunnel] = &traffic.tunnels[..] else { panic!("{:?}", traffic.tunnels) };
    let nodes: Page<Node> = api.get("/v1/nodes").await.ok().await;
    assert_eq!((tunnel.node, tunnel.rtt_us, tunnel.mtu), (nodes.items[0].id, 1_500, 1_452));
    assert_eq!((tunnel.added_p50_us, tunnel.added_p99_us), (45, 95));
    assert_eq!((tunnel.lost_ppm, tunnel.datagrams_dropped, tunnel.queue_p99_us), (10_000, 3, 80));
    assert!(tunnel.packets_sent_per_s > 0 && tunnel.packets_lost >= 20, "{tunnel:?}");
    let nobody = "/v1/edges/edge_01h455vb4pex5vsknk084sn02q/traffic";
    api.get(nobody).await.problem(ProblemCode::EdgeUnknown).await;

    drop(machines);
    let problem = eventually("the edge to be missed", async || {
        let answer = api.get(&path).await;
        if answer.status() == 200 { None } else { Some(answer.problem(ProblemCode::EdgeUnreachable).await) }
    })
    .await;
    assert!(problem.fix.contains("muster edges ls"), "{}", problem.fix);
    bench.stop().await;
}

#[tokio::test]
async fn a_ticket_without_a_match_is_explained_withdrawn_or_expires() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let body = json!({"queue": "duel", "player": "ann"});
    let problem = api.post("/v1/tickets", body.clone()).await.problem(ProblemCode::QueueUnknown).await;
    assert!(problem.fix.contains("muster queue apply"));
    apply(api, 0, 2).await;
    let bad: [(Value, &str); 4] = [
        (json!({"queue": "duel", "player": ""}), "player"),
        (json!({"queue": "duel", "player": "x".repeat(129)}), "player"),
        (json!({"queue": "no such", "player": "ann"}), "queue"),
        (json!({"queue": "duel", "player": "ann", "latencies_ms": {"Mars!": 1}}), "latencies_ms"),
    ];
    for (body, field) in bad {
        let problem = api.post("/v1/tickets", body).await.problem(ProblemCode::InvalidRequest).await;
        assert!(problem.detail.contains(field), "{}", problem.detail);
    }
    // A region nobody serves: not lost, and told with the region and the way out.
    let ann: Ticket = api.post("/v1/tickets", body).await.ok().await;
    let path = format!("/v1/tickets/{}", ann.id);
    let why = eventually("the explanation", async || {
        let ticket: Ticket = api.get(&path).await.ok().await;
        assert_eq!(ticket.state, TicketState::Searching);
        Some(ticket.explanation).filter(|why| why.contains("no node"))
    })
    .await;
    assert!(why.contains(REGION), "{why}");
    // A poll for a state that it has left answers at once; an unknown one is refused.
    let now: Ticket = api.get(&format!("{path}?state=matched&wait_s=60")).await.ok().await;
    assert_eq!(now.state, TicketState::Searching);
    api.get(&format!("{path}?state=lost&wait_s=1")).await.problem(ProblemCode::InvalidRequest).await;

    // A poll that waits is woken by the withdrawal.
    let (poll, ()) = tokio::join!(
        async { api.get(&format!("{path}?state=searching&wait_s=60")).await.ok::<Ticket>().await },
        async { api.delete(&path).await.done().await },
    );
    assert_eq!(poll.state, TicketState::Cancelled);
    api.delete(&path).await.done().await;
    let unknown = TicketId::new();
    api.get(&format!("/v1/tickets/{unknown}")).await.problem(ProblemCode::TicketUnknown).await;
    let poll = api.get(&format!("/v1/tickets/{unknown}?state=searching&wait_s=60")).await;
    poll.problem(ProblemCode::TicketUnknown).await;
    api.delete(&format!("/v1/tickets/{unknown}")).await.problem(ProblemCode::TicketUnknown).await;

    // One that finds nobody expires.
    let mut spec = queue("duel", "arena", 2);
    spec["ticket_ttl_s"] = json!(1);
    api.put("/v1/queues/duel", spec).await.done().await;
    let bob = ticket(api, "bob").await;
    let bob = settled(api, bob).await;
    assert_eq!(bob.state, TicketState::Expired);
    assert!(bob.explanation.contains("ticket_ttl_s"), "{}", bob.explanation);
    bench.stop().await;
}
