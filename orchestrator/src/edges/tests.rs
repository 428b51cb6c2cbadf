//! Fake edges over real QUIC: the routes they get, what their answers do, the traffic they report.

use std::sync::Arc;

use muster_protocol::agent::{
    AgentHello, AgentMessage, PortProtocol, ServerGoal, ServerPhase, ServerReport, ToAgent, agent_message,
    to_agent,
};
use muster_protocol::edge::{
    EdgeMessage, EdgeReport, EdgeWelcome, RouteFailure, RouteTable, RoutesApplied, ServerTraffic, ToEdge,
    edge_message, to_edge,
};
use muster_protocol::id::{EdgeId, NodeId, ServerId};
use muster_protocol::peer::HeardReport;
use muster_transport::{FrameReader, FrameWriter, Identity, Role};
use quinn::{Connection, ConnectionError};

use super::reports;
use crate::installation::FIRST_NAMESPACE;
use crate::records::ServerState;
use crate::testing::{Bench, REGION, agent_hello, edge_hello, eventually, soon};
use crate::{clock, lifecycle, state};

/// An edge that has said hello and been welcomed.
struct FakeEdge {
    edge: EdgeId,
    connection: Connection,
    writer: FrameWriter,
    reader: FrameReader,
    welcome: EdgeWelcome,
}

impl FakeEdge {
    async fn connect(bench: &Bench, identity: &Identity) -> Self {
        let (connection, mut writer, mut reader) = bench.control(identity).await;
        say(&mut writer, edge_message::Body::Hello(edge_hello())).await;
        let first: Option<ToEdge> = soon("a welcome", reader.recv()).await.expect("readable");
        let Some(to_edge::Body::Welcome(welcome)) = first.and_then(|message| message.body) else {
            panic!("the first message is the welcome");
        };
        let edge = identity.id.parse().expect("an edge's id");
        Self { edge, connection, writer, reader, welcome }
    }

    /// The next table; the limits that come beside it are passed over.
    async fn table(&mut self) -> RouteTable {
        loop {
            let message: Option<ToEdge> = soon("routes", self.reader.recv()).await.expect("readable");
            match message.and_then(|message| message.body) {
                Some(to_edge::Body::Routes(table)) => return table,
                Some(to_edge::Body::Limits(_)) => {}
                other => panic!("no routes: {other:?}"),
            }
        }
    }

    async fn applied(&mut self, revision: u64, failures: Vec<RouteFailure>) {
        say(&mut self.writer, edge_message::Body::Applied(RoutesApplied { revision, failures })).await;
    }
}

async fn say(writer: &mut FrameWriter, body: edge_message::Body) {
    writer.send(&EdgeMessage { body: Some(body) }).await.expect("sent");
}

/// A node whose agent said hello, without a link of its own.
async fn node(bench: &Bench) -> NodeId {
    let node = bench.machine(Role::Agent).await.id.parse().expect("a node's id");
    lifecycle::node_connected(&bench.app.db, node, &agent_hello(), bench.app.replica, clock::now_ms())
        .await
        .expect("written");
    node
}

fn ready_report(server: ServerId) -> ServerReport {
    let at = clock::now_ms();
    ServerReport {
        server_id: server.to_string(),
        generation: 1,
        phase: ServerPhase::Ready.into(),
        pulling_at_ms: at,
        starting_at_ms: at,
        running_at_ms: at,
        ready_at_ms: at,
        ..Default::default()
    }
}

/// The agent says that `server` is ready.
async fn ready(bench: &Bench, node: NodeId, server: ServerId) {
    let report = ready_report(server);
    lifecycle::server_reported(&bench.app.db, node, 1, &report, clock::now_ms()).await.expect("written");
}

/// Connects as an agent that has `servers`, up to its welcome.
async fn connect_agent(
    bench: &Bench,
    identity: &Identity,
    servers: Vec<ServerReport>,
) -> (Connection, FrameWriter, FrameReader) {
    let (connection, mut writer, mut reader) = bench.control(identity).await;
    let hello = agent_message::Body::Hello(AgentHello { servers, ..agent_hello() });
    writer.send(&AgentMessage { body: Some(hello) }).await.expect("sent");
    let first: Option<ToAgent> = soon("a welcome", reader.recv()).await.expect("readable");
    assert!(matches!(first.and_then(|message| message.body), Some(to_agent::Body::Welcome(_))));
    (connection, writer, reader)
}

async fn say_report(writer: &mut FrameWriter, report: &ServerReport) {
    let body = Some(agent_message::Body::Report(report.clone()));
    writer.send(&AgentMessage { body }).await.expect("sent");
}

fn ports(table: &RouteTable) -> Vec<u32> {
    let mut ports: Vec<_> =
        table.routes.iter().filter_map(|route| Some(route.key.as_ref()?.edge_port)).collect();
    ports.sort_unstable();
    ports
}

#[tokio::test]
async fn the_whole_table_then_changes_and_answers_make_servers_ready() {
    let bench = Bench::start().await;
    let node = node(&bench).await;
    let first = bench.placed_server(node, 20_000).await;
    let identity = bench.machine(Role::Edge).await;
    let mut edge = FakeEdge::connect(&bench, &identity).await;
    let table = edge.table().await;
    assert!(table.full);
    assert_eq!(ports(&table), [20_000]);
    let route = &table.routes[0];
    assert_eq!((&*route.server_id, &*route.node_id), (&*first.to_string(), &*node.to_string()));
    assert_eq!(route.tunnel_addresses, agent_hello().tunnel_addresses);

    ready(&bench, node, first).await;
    assert_eq!(bench.server(first).await.state(), ServerState::Starting, "no edge serves it yet");
    edge.applied(table.revision, Vec::new()).await;
    bench.server_in(first, ServerState::Ready).await;

    let second = bench.placed_server(node, 20_001).await;
    let table = edge.table().await;
    assert!(!table.full && table.remove.is_empty());
    assert_eq!(ports(&table), [20_001]);
    edge.applied(table.revision, Vec::new()).await;
    ready(&bench, node, second).await;
    bench.server_in(second, ServerState::Ready).await;

    let now_ms = clock::now_ms();
    let stopped = lifecycle::stop_server(&bench.app.db, FIRST_NAMESPACE, first, "asked", true, now_ms).await;
    let generation = stopped.expect("written").expect("there").generation;
    let exited = ServerReport {
        server_id: first.to_string(),
        generation,
        phase: ServerPhase::Exited.into(),
        ..Default::default()
    };
    lifecycle::server_reported(&bench.app.db, node, 1, &exited, now_ms).await.expect("written");
    bench.server_in(first, ServerState::Stopped).await;
    let table = edge.table().await;
    assert!(!table.full && table.routes.is_empty());
    assert_eq!(table.remove.iter().map(|key| key.edge_port).collect::<Vec<_>>(), [20_000]);
    bench.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_fails_the_server_with_that_reason() {
    let bench = Bench::start().await;
    let node = node(&bench).await;
    let (good, bad) = (bench.placed_server(node, 20_000).await, bench.placed_server(node, 20_001).await);
    let identity = bench.machine(Role::Edge).await;
    let mut edge = FakeEdge::connect(&bench, &identity).await;
    let table = edge.table().await;
    ready(&bench, node, good).await;
    ready(&bench, node, bad).await;
    let failure = RouteFailure {
        edge_port: 20_001,
        protocol: PortProtocol::Udp.into(),
        server_id: bad.to_string(),
        code: "port_taken".into(),
        detail: "port 20001 is taken by another program".into(),
    };
    edge.applied(table.revision, vec![failure]).await;
    bench.server_in(good, ServerState::Ready).await;
    let failed = bench.server_in(bad, ServerState::Failed).await;
    assert_eq!(failed.reason, "port_taken");
    assert!(failed.detail.contains("20001"), "{}", failed.detail);
    bench.stop().await;
}

#[tokio::test]
async fn an_edge_that_comes_back_gets_everything_and_the_same_flow_key() {
    let bench = Bench::start().await;
    let node = node(&bench).await;
    bench.placed_server(node, 20_000).await;
    let identity = bench.machine(Role::Edge).await;
    let mut edge = FakeEdge::connect(&bench, &identity).await;
    assert_eq!((edge.welcome.flow_key.len(), edge.welcome.token_keys.len()), (16, 1));
    edge.table().await;
    let mut again = FakeEdge::connect(&bench, &identity).await;
    assert_eq!(again.welcome, edge.welcome);
    let table = again.table().await;
    assert!(table.full);
    assert_eq!(ports(&table), [20_000]);
    let closed = soon("the first to be closed", edge.connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("closed by {closed}") };
    assert_eq!(u64::from(close.error_code), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_restart_of_the_orchestrator_changes_nothing_for_the_games() {
    let bench = Bench::start().await;
    let agent = bench.machine(Role::Agent).await;
    let node: NodeId = agent.id.parse().expect("a node's id");
    let server = bench.placed_server(node, 20_000).await;
    let identity = bench.machine(Role::Edge).await;
    let (before, mut writer, _reader) = connect_agent(&bench, &agent, Vec::new()).await;
    let mut edge = FakeEdge::connect(&bench, &identity).await;
    let table = edge.table().await;
    let running = ready_report(server);
    say_report(&mut writer, &running).await;
    edge.applied(table.revision, Vec::new()).await;
    let ready = bench.server_in(server, ServerState::Ready).await;

    let bench = bench.restart().await;
    soon("the old links to end", async { tokio::join!(before.closed(), edge.connection.closed()) }).await;
    assert_eq!(bench.server(server).await, ready);
    let read = async || {
        let read = bench.app.db.read("test", async |mut tx| state::nodes::load(&mut tx, node).await);
        read.await.expect("readable").expect("there")
    };
    assert!(!read().await.connected, "nobody is connected at a start");

    let (_connection, _writer, mut reader) = connect_agent(&bench, &agent, vec![running]).await;
    let mut edge = FakeEdge::connect(&bench, &identity).await;
    let table = edge.table().await;
    assert!(table.full);
    assert_eq!(ports(&table), [20_000]);
    edge.applied(table.revision, Vec::new()).await;
    let told: Option<ToAgent> = soon("what is wanted", reader.recv()).await.expect("readable");
    let Some(to_agent::Body::Desired(desired)) = told.and_then(|message| message.body) else {
        panic!("not what is wanted");
    };
    assert_eq!(desired.servers[0].goal(), ServerGoal::Run);
    assert!(read().await.connected);
    assert_eq!(bench.server(server).await, ready);
    bench.stop().await;
}

#[tokio::test]
async fn flows_are_known_once_every_edge_has_reported() {
    let bench = Bench::start().await;
    let server = ServerId::new();
    // Each edge is linked to another replica: what is known must be known to both.
    let other = bench.replica().await;
    let known = async |app: &crate::app::App| {
        let read = app.db.read("test", async |mut tx| {
            state::flows::of_server(&mut tx, REGION, server, clock::now_ms()).await
        });
        read.await.expect("readable")
    };
    assert_eq!(known(&bench.app).await, None, "no edge, no word of flows");
    let identities = [bench.machine(Role::Edge).await, bench.machine(Role::Edge).await];
    let mut one = FakeEdge::connect(&bench, &identities[0]).await;
    let mut two = FakeEdge::connect(&other, &identities[1]).await;
    let report = |servers| EdgeReport { servers, ..Default::default() };
    let traffic = |flows| ServerTraffic { server_id: server.to_string(), flows, ..Default::default() };
    say(&mut one.writer, edge_message::Body::Report(report(vec![traffic(2)]))).await;
    eventually("the first report", async || {
        let read =
            bench.app.db.read("test", async |mut tx| state::edges::load(&mut tx, one.edge).await).await;
        read.expect("readable").filter(|edge| edge.flows_session == edge.link_session)
    })
    .await;
    assert_eq!(known(&bench.app).await, None, "the second may have flows too");
    say(&mut two.writer, edge_message::Body::Report(report(vec![traffic(3)]))).await;
    eventually("both reports", async || (known(&bench.app).await == Some(5)).then_some(())).await;
    say(&mut two.writer, edge_message::Body::Report(report(Vec::new()))).await;
    // Whichever replica is asked, the one that has the link is who knows.
    for app in [&bench.app, &other.app] {
        let record = app.db.read("test", async |mut tx| state::edges::load(&mut tx, two.edge).await).await;
        let record = record.expect("readable").expect("there");
        let flows = async || {
            let told = reports::reports(app, &record).await.expect("connected");
            let flows = |heard: Option<Arc<HeardReport>>| {
                Some(heard?.report.as_ref()?.servers.iter().map(|it| it.flows).sum::<u32>())
            };
            Some((flows(told.earlier)?, flows(told.latest)?))
        };
        eventually("the last two reports", async || (flows().await == Some((3, 0))).then_some(())).await;
    }
    eventually("the players to leave", async || (known(&bench.app).await == Some(2)).then_some(())).await;

    one.connection.close(0u32.into(), b"away");
    eventually("the link's end in the store", async || {
        let read =
            bench.app.db.read("test", async |mut tx| state::edges::load(&mut tx, one.edge).await).await;
        read.expect("readable").filter(|edge| !edge.connected)
    })
    .await;
    assert_eq!(known(&other.app).await, Some(2), "players go on while their edge is out of reach");
    other.stop_replica().await;
    bench.stop().await;
}

#[tokio::test]
async fn ports_that_are_none_are_refused_with_the_fix() {
    let bench = Bench::start().await;
    let identity = bench.machine(Role::Edge).await;
    let (connection, mut writer, _reader) = bench.control(&identity).await;
    let mut hello = edge_hello();
    hello.port_first = 30_000;
    hello.port_last = 20_000;
    say(&mut writer, edge_message::Body::Hello(hello)).await;
    let closed = soon("the link to be closed", connection.closed()).await;
    let ConnectionError::ApplicationClosed(close) = closed else { panic!("closed by {closed}") };
    let reason = String::from_utf8_lossy(&close.reason).into_owned();
    assert!(reason.contains("30000 to 20000"), "{reason}");
    bench.stop().await;
}
