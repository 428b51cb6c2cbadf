//! For tests: a real embedded store with machines on record, and agents and edges that do as they are
//! asked, played at the level of the steps that links take. Time is the test's own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use muster_engine::WorkerId;
use muster_protocol::agent::{self as wire, AgentHello, NodeCapacity, ServerPhase, ServerReport};
use muster_protocol::api::{FleetSpec, LimitsSpec, QueueSpec, TimeoutsSpec};
use muster_protocol::api::{PortProtocol, PortSpec, RegionSpec, TicketRequest, TokenMode};
use muster_protocol::edge::{EdgeHello, RouteFailure};
use muster_protocol::id::{EdgeId, NodeId, ServerId, TicketId};
use muster_store::{Database, OpenOptions};

use crate::asker::Asker;
use crate::clock;
use crate::lifecycle;
use crate::records::{
    BuildRecord, FleetRecord, NodeRecord, Pod, QueueRecord, RegionTarget, ServerRecord, ServerState,
};
use crate::state::{self, StateError, edges, fleets, nodes, queues, servers};
use crate::{tickets, workflows};

pub(crate) const NAMESPACE: &str = "arena/test";
pub(crate) const FLEET: &str = "arena";
pub(crate) const QUEUE: &str = "duel";
/// Where its machines are.
pub(crate) const REGION: &str = "eu";
/// Loss timeout of nodes.
pub(crate) const LOSS_MS: u64 = 20_000;
/// Retention of what is over.
pub(crate) const RETENTION_MS: u64 = 3_600_000;

/// What containers do once they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Containers {
    /// Become ready and stay.
    Good,
    /// Exit with this code before they are ready.
    Exit(i64),
}

/// The machines of a test.
pub(crate) struct World {
    pub(crate) db: Database,
    now_ms: AtomicU64,
    nodes: Vec<NodeId>,
    edges: Vec<(String, EdgeId)>,
    pub(crate) containers: Containers,
    /// Whether [`FLEET`] wants its matches filled, when it is applied next.
    pub(crate) backfill: bool,
    _dir: Option<tempfile::TempDir>,
}

/// The one replica there is.
pub(crate) fn replica() -> WorkerId {
    WorkerId::from_bytes([1; 16])
}

impl World {
    /// An empty installation.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let options = OpenOptions { cache_bytes: 8 << 20, ..OpenOptions::default() };
        let db = Database::open(&dir.path().join("store"), options).expect("a store");
        Self { _dir: Some(dir), ..Self::over(db) }
    }

    /// A world over a store that others use, too.
    pub(crate) fn over(db: Database) -> Self {
        Self {
            db,
            now_ms: AtomicU64::new(1_000_000),
            nodes: Vec::new(),
            edges: Vec::new(),
            containers: Containers::Good,
            backfill: false,
            _dir: None,
        }
    }

    /// Makes it `now_ms`.
    pub(crate) fn set_time(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The world that rows written by another release make, with machines that are on record there.
    pub(crate) async fn of_rows(rows: &[(Vec<u8>, Vec<u8>)]) -> Self {
        let mut world = Self::new();
        world.catch_up();
        for batch in rows.chunks(500) {
            let written = world.db.run("golden", async |mut tx| {
                for (key, value) in batch {
                    tx.set(key, value);
                }
                Ok::<_, StateError>(())
            });
            written.await.expect("written");
        }
        let read = world.db.read("machines", async |mut tx| {
            Ok::<_, StateError>((nodes::list(&mut tx).await?, edges::list(&mut tx).await?))
        });
        let (nodes, edges) = read.await.expect("read");
        world.nodes = nodes.iter().map(NodeRecord::typed_id).collect();
        world.edges = edges.into_iter().map(|edge| (edge.region.clone(), edge.typed_id())).collect();
        world
    }

    /// Makes it now by the system's clock, which the loops go by.
    pub(crate) fn catch_up(&self) {
        self.now_ms.store(clock::now_ms(), Ordering::Relaxed);
    }

    /// The node that joined as the `number`th.
    pub(crate) fn node(&self, number: usize) -> NodeId {
        self.nodes[number]
    }

    /// A region `eu` with one node of 64 CPUs and one edge.
    pub(crate) async fn with_region() -> Self {
        let mut world = Self::new();
        world.add_node(REGION).await;
        world.add_edge(REGION, (7_000, 7_999)).await;
        world
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn pass_time(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) async fn add_node(&mut self, region: &str) -> NodeId {
        let (node, now_ms) = (NodeId::new(), self.now_ms());
        self.db
            .run("create_node", async |mut tx| {
                nodes::create(&mut tx, node, "box", region, now_ms);
                Ok::<_, StateError>(())
            })
            .await
            .expect("written");
        self.nodes.push(node);
        self.node_says_hello(node).await;
        node
    }

    /// The node's agent connects, with what it has: nothing. Returns its session.
    pub(crate) async fn node_says_hello(&self, node: NodeId) -> u64 {
        let hello = AgentHello {
            tunnel_addresses: vec!["10.0.0.1:7500".into()],
            capacity: Some(NodeCapacity { cpu_millis: 64_000, memory_bytes: 64 << 30 }),
            servers: self.reports_of(node).await,
            ..Default::default()
        };
        lifecycle::node_connected(&self.db, node, &hello, replica(), self.now_ms()).await.expect("known")
    }

    async fn reports_of(&self, node: NodeId) -> Vec<ServerReport> {
        let desired = self.desired(node).await;
        desired.servers.iter().map(|spec| report(&spec.server_id, ServerPhase::Starting)).collect()
    }

    pub(crate) async fn add_edge(&mut self, region: &str, (first, last): (u32, u32)) -> EdgeId {
        let (edge, now_ms) = (EdgeId::new(), self.now_ms());
        self.db
            .run("create_edge", async |mut tx| {
                edges::create(&mut tx, edge, "gate", region, now_ms);
                Ok::<_, StateError>(())
            })
            .await
            .expect("written");
        let hello = EdgeHello { port_first: first, port_last: last, ..Default::default() };
        lifecycle::edge_connected(&self.db, edge, &hello, replica(), now_ms).await.expect("known");
        self.edges.push((region.to_owned(), edge));
        edge
    }

    /// Every edge connects, as it did when it joined.
    pub(crate) async fn edges_say_hello(&self) {
        for (_, edge) in &self.edges {
            let read = self.db.read("edge", async |mut tx| edges::load(&mut tx, *edge).await).await;
            let record = read.expect("read").expect("there");
            let hello = EdgeHello {
                port_first: record.port_first,
                port_last: record.port_last,
                ..Default::default()
            };
            lifecycle::edge_connected(&self.db, *edge, &hello, replica(), self.now_ms())
                .await
                .expect("known");
        }
    }

    /// Every edge says what flows it has.
    pub(crate) async fn edges_report(&self, flows: &[(ServerId, u32)]) {
        self.report_flows(&self.edges, flows).await;
    }

    /// Every edge but one says so.
    pub(crate) async fn edges_report_but(&self, silent: EdgeId, flows: &[(ServerId, u32)]) {
        let others: Vec<_> = self.edges.iter().filter(|(_, edge)| *edge != silent).cloned().collect();
        self.report_flows(&others, flows).await;
    }

    async fn report_flows(&self, edges: &[(String, EdgeId)], flows: &[(ServerId, u32)]) {
        for (_, edge) in edges {
            let written = self.db.run("edges_report", async |mut tx| {
                for (server, flows) in flows {
                    state::flows::set(&mut tx, *edge, *server, *flows).await?;
                }
                let record = edges::load(&mut tx, *edge).await?.expect("there");
                edges::reported_flows(&mut tx, *edge, record.link_session).await
            });
            written.await.expect("written");
        }
    }

    /// Applies [`FLEET`] with `build` and, by region, warm and max.
    pub(crate) async fn apply_fleet(&self, build: &str, regions: &[(&str, u32, u32)]) -> FleetRecord {
        let spec = FleetSpec {
            name: FLEET.into(),
            build: build.into(),
            lobbies: true,
            direct_connect: true,
            max_players: 4,
            ports: vec![PortSpec {
                name: "game".into(),
                protocol: PortProtocol::Udp,
                port: 7_000,
                token: TokenMode::Preface,
                tls: false,
                proxy_protocol: false,
            }],
            regions: regions
                .iter()
                .map(|(region, warm, max)| ((*region).to_owned(), RegionSpec { warm: *warm, max: *max }))
                .collect(),
            limits: LimitsSpec { cpu_millis: 500, memory_mib: 256, ..LimitsSpec::default() },
            env: BTreeMap::new(),
            args: Vec::new(),
            timeouts: TimeoutsSpec { idle_s: 60, drain_s: 30, connect_s: 90, ..TimeoutsSpec::default() },
            backfill: self.backfill,
        };
        let build = BuildRecord { digest: build.to_owned(), ..Default::default() };
        let wanted = FleetRecord {
            namespace: NAMESPACE.into(),
            name: FLEET.into(),
            build: build.digest.clone(),
            lobbies: spec.lobbies,
            direct_connect: spec.direct_connect,
            max_players: spec.max_players,
            pod: Some(Pod::from_spec(&spec, &build)),
            regions: regions
                .iter()
                .map(|(region, warm, max)| ((*region).to_owned(), RegionTarget { warm: *warm, max: *max }))
                .collect(),
            reconnect_s: Some(spec.timeouts.reconnect_s),
            connect_s: Some(spec.timeouts.connect_s),
            backfill: spec.backfill,
            ..Default::default()
        };
        let now_ms = self.now_ms();
        self.db
            .run("apply_fleet", async |mut tx| fleets::apply(&mut tx, wanted.clone(), now_ms).await)
            .await
            .expect("written")
    }

    /// Applies [`QUEUE`] of `players` on [`FLEET`], with tickets that live for 60 s.
    pub(crate) async fn apply_queue(&self, players: u32) -> QueueRecord {
        self.apply_queue_named(QUEUE, players).await
    }

    /// As [`World::apply_queue`], of another name, for single players.
    pub(crate) async fn apply_other_queue(&self, name: &str) -> QueueRecord {
        self.apply_queue_named(name, 1).await
    }

    async fn apply_queue_named(&self, name: &str, players: u32) -> QueueRecord {
        let spec = QueueSpec { ticket_ttl_s: 60, ..QueueSpec::simple(name, FLEET, players) };
        self.apply_queue_spec(&spec).await
    }

    /// Applies a queue as it is written.
    pub(crate) async fn apply_queue_spec(&self, spec: &QueueSpec) -> QueueRecord {
        let wanted = QueueRecord::from_spec(NAMESPACE, spec);
        let now_ms = self.now_ms();
        self.db
            .run("apply_queue", async |mut tx| queues::apply(&mut tx, wanted.clone(), None, now_ms).await)
            .await
            .expect("written")
    }

    /// A ticket of a player who names no latency.
    pub(crate) async fn ticket(&self, player: &str) -> TicketId {
        self.ticket_in(QUEUE, player).await
    }

    /// As [`World::ticket`], in another queue.
    pub(crate) async fn ticket_in(&self, queue: &str, player: &str) -> TicketId {
        self.ticket_of(&TicketRequest::new(queue, player)).await
    }

    /// A ticket as it is asked for.
    pub(crate) async fn ticket_of(&self, request: &TicketRequest) -> TicketId {
        self.ticket_by(request, &Asker::default()).await
    }

    /// As [`World::ticket_of`], of who is known.
    pub(crate) async fn ticket_by(&self, request: &TicketRequest, asker: &Asker) -> TicketId {
        tickets::create(&self.db, NAMESPACE, request, asker, self.now_ms()).await.expect("taken").typed_id()
    }

    /// The ticket as its owner sees it.
    pub(crate) async fn see(&self, ticket: TicketId) -> tickets::TicketView {
        tickets::get(&self.db, NAMESPACE, ticket, self.now_ms()).await.expect("read").expect("there")
    }

    pub(crate) async fn desired(&self, node: NodeId) -> state::Desired {
        self.db
            .read("desired", async |mut tx| {
                state::desired_for_node(&mut tx, node, &state::Generations::new()).await
            })
            .await
            .expect("read")
    }

    /// Every server on record, newest first.
    pub(crate) async fn servers(&self) -> Vec<ServerRecord> {
        self.db
            .read("servers", async |mut tx| servers::list(&mut tx, NAMESPACE, None, 10_000).await)
            .await
            .expect("read")
    }

    pub(crate) async fn servers_in(&self, state: ServerState) -> Vec<ServerRecord> {
        self.servers().await.into_iter().filter(|record| record.state() == state).collect()
    }

    pub(crate) async fn server(&self, id: ServerId) -> ServerRecord {
        self.db
            .read("server", async |mut tx| servers::peek(&mut tx, id).await)
            .await
            .expect("read")
            .expect("there")
    }

    /// Agents do what they are asked, once.
    pub(crate) async fn play_agents(&self) {
        for node in &self.nodes {
            for spec in self.desired(*node).await.servers {
                for report in self.answer(&spec).await {
                    self.report(*node, &report).await;
                }
            }
        }
    }

    pub(crate) async fn report(&self, node: NodeId, report: &ServerReport) {
        let record = self.db.read("node", async |mut tx| nodes::peek(&mut tx, node).await).await;
        let session = record.expect("read").expect("there").link_session;
        lifecycle::server_reported(&self.db, node, session, report, self.now_ms()).await.expect("written");
    }

    async fn answer(&self, spec: &wire::ServerSpec) -> Vec<ServerReport> {
        let id: ServerId = spec.server_id.parse().expect("an id");
        let begun = self.server(id).await.agent_ready_at_ms > 0;
        match (spec.goal(), self.containers) {
            (wire::ServerGoal::Stop, _) => vec![exited(&spec.server_id, 143)],
            (wire::ServerGoal::Run, Containers::Good) if !begun => {
                let phases = [ServerPhase::Pulling, ServerPhase::Starting, ServerPhase::Ready];
                phases.into_iter().map(|phase| report(&spec.server_id, phase)).collect()
            }
            (wire::ServerGoal::Run, Containers::Exit(code)) if !begun => {
                vec![report(&spec.server_id, ServerPhase::Starting), exited(&spec.server_id, code)]
            }
            _ => Vec::new(),
        }
    }

    /// Edges serve the routes they are given, once.
    pub(crate) async fn play_edges(&self) {
        for (region, edge) in &self.edges {
            let (_, routes) = self
                .db
                .read("routes", async |mut tx| {
                    state::routes_for_region(&mut tx, region, &state::Routed::default()).await
                })
                .await
                .expect("read");
            let ok: Vec<ServerId> = routes.iter().filter_map(|route| route.server_id.parse().ok()).collect();
            self.routes_applied(region, *edge, &ok, &[]).await;
        }
    }

    pub(crate) async fn routes_applied(
        &self,
        region: &str,
        edge: EdgeId,
        ok: &[ServerId],
        failures: &[RouteFailure],
    ) {
        let (now_ms, edge) = (self.now_ms(), (edge, self.session_of(edge).await));
        lifecycle::routes_applied(&self.db, region, edge, ok, failures, now_ms).await.expect("written");
    }

    /// The first edge, and the number of its link.
    pub(crate) async fn edge_and_session(&self) -> (EdgeId, u64) {
        let (_, edge) = self.edges[0];
        (edge, self.session_of(edge).await)
    }

    async fn session_of(&self, edge: EdgeId) -> u64 {
        let record = self.db.read("edge", async |mut tx| edges::load(&mut tx, edge).await).await;
        record.expect("read").expect("there").link_session
    }

    /// Loops, agents and edges take turns until nothing changes any more.
    pub(crate) async fn settle(&self) {
        let mut last = None;
        for _ in 0..100 {
            workflows::testing::turn(&self.db, self.now_ms()).await.expect("a turn");
            self.play_agents().await;
            self.play_edges().await;
            let now = self.servers().await;
            if last.as_ref() == Some(&now) {
                return;
            }
            last = Some(now);
        }
        panic!("the world does not settle: {last:#?}");
    }

    /// Does what is due.
    pub(crate) async fn fire_timers(&self) {
        workflows::testing::fire_timers(&self.db, RETENTION_MS, self.now_ms()).await.expect("fired");
    }
}

/// A report of a server with a container.
pub(crate) fn report(server_id: &str, phase: ServerPhase) -> ServerReport {
    ServerReport {
        server_id: server_id.to_owned(),
        phase: phase.into(),
        container_id: if phase == ServerPhase::Pulling { String::new() } else { "c0ffee".into() },
        ..Default::default()
    }
}

/// The report of an exit.
pub(crate) fn exited(server_id: &str, code: i64) -> ServerReport {
    let exit = wire::ServerExit { code, out_of_memory: false, log_tail: "last words".into() };
    ServerReport { exit: Some(exit), ..report(server_id, ServerPhase::Exited) }
}
