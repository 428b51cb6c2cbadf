//! Routes: what the edge hears from the orchestrator, and what it says of it.

use std::net::UdpSocket;

use muster_edge_proxy::{Config, StartError, start};
use muster_protocol::agent::PortProtocol::{Tcp, Udp};
use muster_protocol::edge::{RouteKey, RouteTable, TokenMode::Open};
use muster_protocol::id::ServerId;
use tokio::net::TcpStream;

use crate::orchestrator::Orchestrator;
use crate::world::{World, address_of, within};

#[tokio::test(flavor = "multi_thread")]
async fn hello_says_where_players_reach_the_edge() {
    let world = World::new().await;
    let hello = world.orchestrator.hello().await;
    assert_eq!((hello.region.as_str(), hello.public_host.as_str()), ("local", "edge.example.test"));
    assert_eq!((hello.port_first, hello.port_last), (24_000, 31_999));
    assert!(!hello.tls_certificate_given && !hello.hostname.is_empty() && !hello.version.is_empty());
    assert!(world.edge.edge_id().starts_with("edge_"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_told_and_the_rest_is_served() {
    let world = World::new().await;
    let (good, taken) = (world.route(Tcp, Open), world.route(Udp, Open));
    let blocker = UdpSocket::bind(address_of(&taken)).unwrap();
    let mut outside = world.route(Tcp, Open);
    outside.key.as_mut().unwrap().edge_port = 80;
    let routes = vec![good.clone(), taken.clone(), outside];
    let applied =
        world.orchestrator.apply(RouteTable { revision: 5, full: true, routes, remove: vec![] }).await;
    let failure = |port: u32| applied.failures.iter().find(|failure| failure.edge_port == port).unwrap();
    assert_eq!(applied.failures.len(), 2);
    let told = failure(taken.key.as_ref().unwrap().edge_port);
    assert_eq!(
        (told.code.as_str(), told.server_id.as_str()),
        ("port_taken", world.server.to_string().as_str())
    );
    assert!(told.detail.contains("port_first"), "{}", told.detail);
    assert_eq!(failure(80).code, "port_outside_range");
    assert!(failure(80).detail.contains("24000-31999"), "{}", failure(80).detail);
    TcpStream::connect(address_of(&good)).await.unwrap();
    drop(blocker);
    // Nobody has to ask again: the edge does by itself.
    world.orchestrator.applied(|applied| applied.revision == 5 && applied.failures.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_opens_replaces_and_closes() {
    let world = World::new().await;
    let (stays, goes, comes) = (world.route(Tcp, Open), world.route(Tcp, Open), world.route(Tcp, Open));
    let routes = vec![stays.clone(), goes.clone()];
    world.orchestrator.apply(RouteTable { revision: 1, full: true, routes, remove: vec![] }).await;
    let mut replaced = stays.clone();
    replaced.server_id = ServerId::new().to_string();
    let delta = RouteTable {
        revision: 2,
        full: false,
        routes: vec![replaced, comes.clone()],
        remove: vec![RouteKey { ..*goes.key.as_ref().unwrap() }],
    };
    assert_eq!(world.orchestrator.apply(delta).await.failures, []);
    for route in [&stays, &comes] {
        TcpStream::connect(address_of(route)).await.unwrap();
    }
    assert!(TcpStream::connect(address_of(&goes)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_comes_back_to_a_new_orchestrator() {
    let mut world = World::new().await;
    world.orchestrator.hello().await;
    let address = world.orchestrator.kill().await;
    world.orchestrator = Orchestrator::start(&world.authority, address);
    world.serve(Tcp, Open).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_cannot_start_says_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let config = Config { state_dir: state.path().to_owned(), beacon_port: 0, ..Config::default() };
    let error = |config: Config| async { start(config).await.err().expect("it cannot start").to_string() };
    assert!(error(config.clone()).await.contains("muster token create"));
    let bad_token = Config { join_token: Some("hello".into()), ..config.clone() };
    assert!(matches!(start(bad_token).await, Err(StartError::JoinToken(_))));
    let world = World::new().await;
    // The same edge, in a place of its own.
    let copy = world.what_a_kill_leaves();
    let joined = Config { state_dir: copy.path().to_owned(), ..world.config.clone() };
    let port = world.edge.beacon_address().port();
    let second = error(Config { beacon_port: port, ..joined.clone() }).await;
    assert!(second.contains("beacon_port") && second.contains("taken"), "{second}");
    let no_key = Config {
        beacon_port: 0,
        tls_certificate: Some(state.path().join("none.pem")),
        tls_key: Some(state.path().join("none.key")),
        ..joined
    };
    let told = error(no_key).await;
    assert!(told.contains("none.pem") && told.contains("tls_certificate"), "{told}");
    within("the first edge to be unharmed", || async { world.orchestrator.report().is_some() }).await;
}
