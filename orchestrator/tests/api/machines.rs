//! Machines that speak the links' protocol and start nothing: every server they are given is ready at once.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::agent::{
    AgentHello, AgentMessage, DesiredServers, LogChunk, LogsRequest, NodeCapacity, NodeUsage, ServerExit,
    ServerFailure, ServerGoal, ServerPhase, ServerReport, ServerSpec, ToAgent, agent_message, log_chunk,
    to_agent,
};
use muster_protocol::api::{JoinToken as IssuedToken, Page, Region};
use muster_protocol::edge::{
    DropCount, EdgeHello, EdgeLimits, EdgeMessage, EdgeReport, Route, RouteFailure, RoutesApplied,
    ServerTraffic, ToEdge, TunnelTraffic, edge_message, to_edge,
};
use muster_transport::{
    FrameReader, FrameWriter, Identity, Profile, Role, alpn, bind, client_config, dial, join, server_name,
};
use quinn::Connection;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::{Bench, DEADLINE, REGION, eventually};

/// How often a machine says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// What a server writes.
pub(crate) const LOG: &str = "level loaded\nlistening\n";

/// A node and an edge of the region, until dropped.
pub(crate) struct Machines {
    tasks: [JoinHandle<()>; 2],
    limits: watch::Receiver<Option<EdgeLimits>>,
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// How the node's servers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Servers {
    /// Ready at once.
    Ready,
    /// Exit at once, with an error on their log.
    Exit,
    /// Cannot be started: the node has no Docker engine.
    NoDocker,
    /// Ready at once, but the edge cannot open the first port it is asked to.
    PortTaken,
}

impl Machines {
    /// Joins a node and an edge, and waits until both are connected.
    pub(crate) async fn start(bench: &Bench, servers: Servers) -> Self {
        let (node, edge) = (identity(bench, Role::Agent).await, identity(bench, Role::Edge).await);
        let (node_link, edge_link) = (connect(bench, &node).await, connect(bench, &edge).await);
        let (told, limits) = watch::channel(None);
        let tasks =
            [tokio::spawn(run_node(node_link, servers)), tokio::spawn(run_edge(edge_link, servers, told))];
        eventually("the machines to be connected", async || {
            let regions: Page<Region> = bench.admin.get("/v1/regions").await.ok().await;
            let region = regions.items.first()?;
            (!region.beacons.is_empty() && (region.served || servers == Servers::NoDocker)).then_some(())
        })
        .await;
        Self { tasks, limits }
    }

    /// The limits that the edge was told last.
    pub(crate) fn limits(&self) -> Option<EdgeLimits> {
        self.limits.borrow().clone()
    }
}

async fn identity(bench: &Bench, role: Role) -> Identity {
    let named = if role == Role::Agent { "agent" } else { "edge" };
    let issued: IssuedToken =
        bench.admin.post("/v1/join-tokens", json!({"role": named, "region": REGION})).await.ok().await;
    let token = issued.token.parse().expect("a join token");
    let addresses = [bench.orchestrator.link_addr().to_string()];
    join(&addresses, &token, role, REGION, "box-1", &[]).await.expect("joined")
}

struct Link {
    connection: Connection,
    writer: FrameWriter,
    reader: FrameReader,
}

async fn connect(bench: &Bench, identity: &Identity) -> Link {
    let endpoint = bind("127.0.0.1:0".parse().expect("an address"), None).expect("bound");
    let config = client_config(identity, alpn::LINK, Profile::Link).expect("TLS");
    let name = server_name(Role::Orchestrator, "orchestrator");
    let mut address = bench.orchestrator.link_addr();
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    let connection = dial(&endpoint, config, &[address.to_string()], &name, DEADLINE).await.expect("dialled");
    let (send, receive) = connection.open_bi().await.expect("a stream");
    Link { connection, writer: FrameWriter::new(send), reader: FrameReader::new(receive) }
}

/// Why a node without Docker can start nothing.
pub(crate) const NO_DOCKER: &str = "no Docker engine answers; install docker.io and start it";

async fn run_node(mut link: Link, servers: Servers) {
    let unable = if servers == Servers::NoDocker { NO_DOCKER } else { "" };
    let hello = AgentHello {
        version: "0.0.0-test".into(),
        region: REGION.into(),
        hostname: "box-1".into(),
        tunnel_addresses: vec!["127.0.0.1:7402".into()],
        capacity: Some(NodeCapacity { cpu_millis: 16_000, memory_bytes: 16 << 30 }),
        unable: unable.into(),
        ..AgentHello::default()
    };
    say(&mut link.writer, agent_message::Body::Hello(hello)).await;
    let mut told: HashMap<String, (u64, i32)> = HashMap::new();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            _ = heartbeat.tick() => {
                say(&mut link.writer, agent_message::Body::Usage(NodeUsage { unable: unable.into(), ..Default::default() })).await;
            }
            message = link.reader.recv::<ToAgent>() => {
                let Ok(Some(message)) = message else { return };
                if let Some(to_agent::Body::Desired(desired)) = message.body {
                    obey(&mut link.writer, &mut told, desired, servers).await;
                }
            }
            stream = link.connection.accept_bi() => {
                let Ok((send, receive)) = stream else { return };
                tokio::spawn(tell_log(FrameWriter::new(send), FrameReader::new(receive), servers));
            }
        }
    }
}

/// Reports each server's outcome once for every goal it is given.
async fn obey(
    writer: &mut FrameWriter,
    told: &mut HashMap<String, (u64, i32)>,
    desired: DesiredServers,
    servers: Servers,
) {
    for spec in desired.servers {
        let asked = (spec.generation, spec.goal);
        if told.insert(spec.server_id.clone(), asked) == Some(asked) {
            continue;
        }
        let phase = match (spec.goal(), servers) {
            (ServerGoal::Stop, _) | (_, Servers::Exit) => ServerPhase::Exited,
            _ => ServerPhase::Ready,
        };
        let code = i64::from(spec.goal() != ServerGoal::Stop);
        let exit = ServerExit { code, out_of_memory: false, log_tail: "cannot open level\n".into() };
        // Everybody who has a seat is there at once.
        let seats = spec.allocation.iter().flat_map(|allocation| &allocation.seats);
        let report = ServerReport {
            exit: (phase == ServerPhase::Exited).then_some(exit),
            uses_sdk: spec.allocation.is_some(),
            connected_seats: seats.map(|seat| seat.seat_id.clone()).collect(),
            ..report(&spec, phase)
        };
        say(writer, agent_message::Body::Report(report)).await;
    }
}

fn report(spec: &ServerSpec, phase: ServerPhase) -> ServerReport {
    let at_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let at_ms = at_ms.as_millis() as u64;
    ServerReport {
        server_id: spec.server_id.clone(),
        generation: spec.generation,
        phase: phase.into(),
        container_id: "c0ffee".into(),
        pulling_at_ms: at_ms,
        starting_at_ms: at_ms,
        running_at_ms: at_ms,
        ready_at_ms: if phase == ServerPhase::Ready { at_ms } else { 0 },
        ended_at_ms: if phase == ServerPhase::Exited { at_ms } else { 0 },
        ..ServerReport::default()
    }
}

async fn say(writer: &mut FrameWriter, body: agent_message::Body) {
    // The orchestrator may be gone already, at the end of a test.
    let _ = writer.send(&AgentMessage { body: Some(body) }).await;
}

async fn tell_log(mut writer: FrameWriter, mut reader: FrameReader, servers: Servers) {
    let Ok(Some(request)) = reader.recv::<LogsRequest>().await else { return };
    let body = match servers {
        Servers::Ready | Servers::PortTaken => log_chunk::Body::Output(Bytes::from_static(LOG.as_bytes())),
        Servers::Exit | Servers::NoDocker => log_chunk::Body::Refused(ServerFailure {
            code: "log_gone".into(),
            detail: format!("the container of {} is gone", request.server_id),
        }),
    };
    let _ = writer.send(&LogChunk { body: Some(body) }).await;
    writer.finish();
    // Wait for the other side to close, so that what was sent arrives.
    let _ = writer.into_inner().stopped().await;
}

async fn run_edge(mut link: Link, behaviour: Servers, limits: watch::Sender<Option<EdgeLimits>>) {
    let mut taken: Option<RouteFailure> = None;
    let hello = EdgeHello {
        version: "0.0.0-test".into(),
        region: REGION.into(),
        hostname: "box-1".into(),
        public_host: "edge.example".into(),
        port_first: 20_000,
        port_last: 20_999,
        beacon_port: 19_999,
        tls_certificate_given: false,
    };
    tell(&mut link.writer, edge_message::Body::Hello(hello)).await;
    let (mut servers, mut node, mut beats) = (Vec::new(), String::new(), 0);
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    loop {
        tokio::select! {
            _ = heartbeat.tick() => {
                beats += 1;
                tell(&mut link.writer, edge_message::Body::Report(edge_report(&servers, &node, beats))).await;
            }
            message = link.reader.recv::<ToEdge>() => {
                let Ok(Some(message)) = message else { return };
                match message.body {
                    Some(to_edge::Body::Routes(table)) => {
                        servers.extend(table.routes.iter().map(|route| route.server_id.clone()));
                        if let Some(route) = table.routes.last() {
                            node.clone_from(&route.node_id);
                        }
                        servers.sort();
                        servers.dedup();
                        if taken.is_none() && behaviour == Servers::PortTaken {
                            taken = table.routes.first().map(taken_port);
                        }
                        let still = |failure: &RouteFailure| servers.contains(&failure.server_id);
                        let failures = taken.iter().filter(|failure| still(failure)).cloned().collect();
                        let applied = RoutesApplied { revision: table.revision, failures };
                        tell(&mut link.writer, edge_message::Body::Applied(applied)).await;
                    }
                    Some(to_edge::Body::Limits(told)) => {
                        limits.send_replace(Some(told));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What an edge says at its `beats`th heartbeat: each server plays, somebody tries to, one packet in a hundred is lost.
fn edge_report(servers: &[String], node: &str, beats: u64) -> EdgeReport {
    let traffic = |id: &String| ServerTraffic {
        server_id: id.clone(),
        flows: 2,
        packets_to_server: beats * 1_000,
        packets_to_clients: beats * 2_000,
        bytes_to_server: beats * 100_000,
        bytes_to_clients: beats * 300_000,
        drops: vec![DropCount { reason: "unproven".into(), count: beats * 1_000 }],
    };
    EdgeReport {
        servers: servers.iter().map(traffic).collect(),
        drops: vec![DropCount { reason: "unproven".into(), count: beats * 1_000 }],
        tunnels: vec![TunnelTraffic {
            node_id: node.to_owned(),
            rtt_us: 1_500,
            packets_sent: beats * 1_000,
            packets_lost: beats * 10,
            datagrams_dropped: 3,
            queue_p99_us: 80,
            mtu: 1_452,
            added_p50_us: 45,
            added_p99_us: 95,
        }],
        added_p50_us: 40,
        added_p99_us: 90,
    }
}

fn taken_port(route: &Route) -> RouteFailure {
    let key = route.key.unwrap_or_default();
    RouteFailure {
        edge_port: key.edge_port,
        protocol: key.protocol,
        server_id: route.server_id.clone(),
        code: "port_taken".into(),
        detail: format!("port {} is taken by another program on the edge", key.edge_port),
    }
}

async fn tell(writer: &mut FrameWriter, body: edge_message::Body) {
    let _ = writer.send(&EdgeMessage { body: Some(body) }).await;
}
