//! What cannot work says why and what mends it, and what can go on goes on.

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use muster_loadtest::harness::specs::arena_fleet;
use muster_loadtest::harness::stack::{FLEET_DEADLINE, REGION, Stack};
use muster_loadtest::harness::steps::Steps;
use muster_loadtest::harness::wait::{Look, until, when};
use muster_loadtest::link;
use muster_protocol::api::{AllocateRequest, Endpoint, NodeState, PortProtocol, Server, ServerState};
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::token::{SessionClaims, TokenSigner};

use crate::support::{BUILD, FLEET, open_for_players, options, printed, stack};

/// Ports taken before the edge could: more than one, wherever the orchestrator begins.
const TAKEN: u16 = 3;
/// Shortest life of a session token that can be configured.
const SHORTEST_TTL_S: u32 = 30;

/// Waits until a server of the fleet has failed; it.
async fn failed_server(stack: &Stack) -> Server {
    until("a server to fail", FLEET_DEADLINE, async || {
        let servers = stack.servers(FLEET).await?;
        let failed = servers.iter().find(|server| server.state == ServerState::Failed);
        Ok(failed.cloned().map_or_else(
            || Look::NotYet(format!("{:?}", servers.iter().map(|s| s.state).collect::<Vec<_>>())),
            Look::Holds,
        ))
    })
    .await
    .expect("a server fails")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_exits_at_once_says_why_and_does_not_spin() {
    let stack = stack(options("exits-at-once")).await;
    let mut spec = arena_fleet(FLEET, BUILD, REGION, 1, 2);
    spec.env.insert("ARENA_EXIT_AT_START".into(), "3".into());
    stack.studio.apply_fleet(&spec).await.expect("the specification itself is fine");
    let server = failed_server(&stack).await;
    assert_eq!(server.reason, "exited_before_ready");
    assert!(server.explanation.contains("exit code 3"), "{}", server.explanation);
    let exit = server.exit.expect("it says how it ended");
    assert_eq!((exit.code, exit.out_of_memory), (3, false));
    assert!(exit.log_tail.contains("ARENA_EXIT_AT_START"), "{}", exit.log_tail);
    let shown = printed(&stack, &["server", "show", &server.id.to_string()]).await;
    assert!(shown.contains("exit code 3") && shown.contains("ARENA_EXIT_AT_START"), "{shown}");

    let fleet = until("the fleet to say so", FLEET_DEADLINE, async || {
        let fleet = stack.studio.fleet(FLEET).await?;
        let told = fleet.waiting_for.iter().any(|reason| reason.contains("exit code 3"));
        Ok(if told { Look::Holds(fleet) } else { Look::NotYet(format!("{:?}", fleet.waiting_for)) })
    })
    .await
    .expect("the fleet explains");
    // The pauses double from one second: whatever time has passed, no more starts fit into it.
    let starts = stack.servers(FLEET).await.expect("listed").len();
    assert!(starts <= 12, "{starts} starts: {:?}", fleet.waiting_for);

    // Mended by a new specification, without anything else being done.
    spec.env.clear();
    stack.apply_fleet(&spec).await.expect("the mended fleet becomes warm");
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_told_and_another_is_used() {
    let stack = stack(options("port-taken")).await;
    let edge = stack.admin.edges(None).await.expect("listed").items.remove(0);
    let taken = edge.port_first..edge.port_first + TAKEN;
    // Whoever else uses this machine has them, for UDP and TCP.
    let udp: Vec<UdpSocket> =
        taken.clone().map(|port| UdpSocket::bind(("127.0.0.1", port)).expect("free until now")).collect();
    let tcp: Vec<TcpListener> =
        taken.clone().map(|port| TcpListener::bind(("127.0.0.1", port)).expect("free until now")).collect();
    let fleet = arena_fleet(FLEET, BUILD, REGION, 2, 4);
    stack.apply_fleet(&fleet).await.expect("the fleet becomes warm all the same");
    let servers = stack.servers(FLEET).await.expect("listed");
    for server in &servers {
        if server.state == ServerState::Ready {
            let ports = server.ports.iter().map(|port| port.edge_port);
            assert!(ports.clone().all(|port| !taken.contains(&port)), "{:?}", ports.collect::<Vec<_>>());
        }
    }
    let told =
        servers.iter().find(|server| server.reason == "port_taken").expect("one server met a taken port");
    assert!(
        taken.clone().any(|port| told.explanation.contains(&port.to_string())),
        "the port is named: {}",
        told.explanation
    );
    let listed = printed(&stack, &["server", "ls", "--all"]).await;
    assert!(listed.contains(&told.explanation), "{listed}");
    drop((udp, tcp));
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_docker_the_node_says_so_and_what_to_do() {
    let mut options = options("no-docker");
    let socket = options.dir.join("no-such-engine.sock");
    options.docker_socket = Some(socket.display().to_string());
    let mut stack = Stack::start_orchestrator(options, &mut Steps::silent()).await.expect("it starts");
    stack.launch_agent().await.expect("it starts");
    let node = until("the node to say what it lacks", Duration::from_secs(30), async || {
        stack.agent.as_mut().expect("launched").check_alive()?;
        let nodes = stack.admin.nodes(None).await?.items;
        let unable = nodes.into_iter().find(|node| node.state == NodeState::Unable);
        Ok(unable.map_or_else(|| Look::NotYet("no node is unable".into()), Look::Holds))
    })
    .await
    .expect("the node joins without Docker");
    assert!(node.explanation.contains("Docker"), "{}", node.explanation);
    assert!(
        node.explanation.contains("no-such-engine.sock"),
        "it names where it looked: {}",
        node.explanation
    );
    let status = stack.admin.status().await.expect("answers");
    assert!(status.problems.iter().any(|problem| problem.contains("Docker")), "{:?}", status.problems);
    let shown = printed(&stack, &["status"]).await;
    assert!(shown.contains("Docker") && shown.contains("no-such-engine.sock"), "{shown}");
}

fn udp_endpoint(endpoints: &[Endpoint]) -> Endpoint {
    let udp = endpoints.iter().find(|endpoint| endpoint.protocol == PortProtocol::Udp);
    udp.expect("the fleet has a UDP port").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_edge_refuses_tokens_that_do_not_open_the_port() {
    let mut options = options("bad-tokens");
    options.session_token_ttl_s = Some(SHORTEST_TTL_S);
    let stack = stack(options).await;
    open_for_players(&stack).await;
    let request = AllocateRequest { regions: vec![], players: vec!["ann".into()], data: None };
    let seat = stack.studio.allocate(FLEET, &request).await.expect("one is warm").seats.remove(0);
    let good = udp_endpoint(&seat.endpoints);
    link::open(&good, None).await.expect("the token as it was given opens the port");

    let refusal = async |token: String| {
        let endpoint = Endpoint { token: Some(token), ..good.clone() };
        let error = link::open(&endpoint, None).await.map(drop).expect_err("refused");
        format!("{error:#}")
    };
    let text = refusal("not a token at all".into()).await;
    assert!(text.contains("token_malformed"), "{text}");
    let text = refusal(of_another_installation()).await;
    assert!(text.contains("token_untrusted"), "{text}");
    let tcp = seat.endpoints.iter().find(|endpoint| endpoint.protocol == PortProtocol::Tcp);
    let text = refusal(tcp.and_then(|tcp| tcp.token.clone()).expect("a token for the TCP port")).await;
    assert!(text.contains("token_wrong_port"), "{text}");

    let deadline = Duration::from_secs(u64::from(2 * SHORTEST_TTL_S));
    until("the token to expire", deadline, async || {
        Ok(match link::open(&good, None).await.map(drop) {
            Ok(()) => Look::NotYet("it still opens the port".into()),
            Err(error) => {
                let text = format!("{error:#}");
                when(text.contains("token_expired"), || text.clone())
            }
        })
    })
    .await
    .expect("the edge refuses it in time");
    stack.stop(&[FLEET]).await.expect("everything stops in order");
}

/// The first key pair of RFC 8032's test vectors, seed and public key: any but the installation's own.
const STRANGERS_KEY: [u8; 64] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, //
    0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60, //
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, //
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

/// A token that is right in everything but the key that signed it.
fn of_another_installation() -> String {
    let signer = TokenSigner::new("stranger", &STRANGERS_KEY).expect("a key pair");
    let now_ms = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64);
    let claims = SessionClaims {
        namespace: "arena/test".into(),
        server: ServerId::new(),
        port: "game-udp".into(),
        seat: SeatId::new(),
        player: "ann".into(),
        issued_at_ms: now_ms,
        expires_at_ms: now_ms + 600_000,
    };
    signer.sign(&claims).expect("it can be signed")
}
