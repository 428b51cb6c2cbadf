//! For tests: an orchestrator's listener on a real store and real QUIC, without API and loops, and
//! machines that join it and speak as an agent or edge would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::{Engine, Options, Registry, WorkerId};
use muster_protocol::agent::{AgentHello, NodeCapacity};
use muster_protocol::api::JoinRole;
use muster_protocol::edge::EdgeHello;
use muster_protocol::id::{NodeId, ServerId};
use muster_store::{Database, OpenOptions};
use muster_transport::{
    ClientCertificate, FrameReader, FrameWriter, Identity, JoinError, JoinToken, Profile, Role, alpn,
};
use quinn::{Connection, Endpoint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::TicketLimits;
use crate::app::App;
use crate::blobs::Blobs;
use crate::config::{ApiConfig, Config};
use crate::join::token;
use crate::links::Links;
use crate::records::{Goal, Pod, Port, PortProtocol, ServerRecord, ServerState, StateEntry, TokenMode};
use crate::replicas::{self, Peers};
use crate::state::{self, StateError};
use crate::{clock, installation, lifecycle, listener};

/// How long anything may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const REGION: &str = "eu";

/// Waits for `future`, failing the test if it takes longer than [`DEADLINE`].
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let Ok(value) = tokio::time::timeout(DEADLINE, future).await else { panic!("waited in vain for {what}") };
    value
}

/// Asks `probe` until it answers, failing the test if that takes longer than [`DEADLINE`]: by tokio's clock, so that where a
/// test has paused it, only what is waited for counts, and not how busy the machine is.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A listening orchestrator.
pub(crate) struct Bench {
    pub(crate) app: Arc<App>,
    pub(crate) tasks: TaskTracker,
    address: SocketAddr,
    endpoint: Endpoint,
    stop: CancellationToken,
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory")).await
    }

    /// Ends, and starts anew on the same store as an orchestrator does. What is written at the end is
    /// nothing, so this is a crash as much as a restart.
    pub(crate) async fn restart(self) -> Self {
        let bench = Self::start_in(self.end().await).await;
        let (now_ms, timeout_ms) = (clock::now_ms(), bench.app.config.node_loss_timeout_ms());
        lifecycle::orchestrator_started(&bench.app.db, true, now_ms, timeout_ms).await.expect("recovered");
        bench
    }

    /// The engine's worker of this replica, without any workflow: what shows that it lives.
    pub(crate) fn worker(&self) -> Engine {
        let options = Options { worker: self.app.replica, ..Options::default() };
        Engine::start(self.app.db.clone(), Registry::new(), options)
    }

    /// Another replica on the same store, with a directory of its own.
    pub(crate) async fn replica(&self) -> Self {
        Self::start_on(self.app.db.clone(), tempfile::tempdir().expect("a directory")).await
    }

    async fn start_in(directory: tempfile::TempDir) -> Self {
        let db =
            Database::open(&directory.path().join("store.redb"), OpenOptions::default()).expect("opened");
        Self::start_on(db, directory).await
    }

    async fn start_on(db: Database, directory: tempfile::TempDir) -> Self {
        let now_ms = clock::now_ms();
        let authority = installation::open(&db, directory.path(), now_ms).await.expect("made");
        let identity = authority.orchestrator_identity(now_ms).expect("signed");
        let server = muster_transport::server_config(
            &identity,
            &[alpn::JOIN, alpn::LINK, alpn::PEER],
            ClientCertificate::Optional,
            Profile::Link,
        )
        .expect("TLS");
        let any = "127.0.0.1:0".parse().expect("an address");
        let endpoint = muster_transport::bind(any, Some(server)).expect("bound");
        let address = endpoint.local_addr().expect("bound");
        let client = muster_transport::client_config(&identity, alpn::PEER, Profile::Link).expect("TLS");
        let app = Arc::new(App {
            db,
            links: Arc::new(Links::new()),
            blobs: Blobs::open(directory.path()).expect("opened"),
            peers: Peers::new(endpoint.clone(), client),
            replica: WorkerId::random(),
            link_address: address.to_string(),
            authority: Arc::new(authority),
            ticket_limits: TicketLimits::new(&ApiConfig::default()),
            config: Arc::new(Config { data_dir: directory.path().to_owned(), ..Config::default() }),
            started: std::time::Instant::now(),
            started_at_ms: now_ms,
            metrics: None,
        });
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        replicas::announce(&app).await.expect("written");
        tasks.spawn(listener::accept(app.clone(), endpoint.clone(), stop.clone(), tasks.clone()));
        Self { app, tasks, address, endpoint, stop, directory }
    }

    /// A join token of the installation, made at `now_ms` and good for a minute.
    pub(crate) async fn join_token(&self, role: JoinRole, now_ms: u64) -> JoinToken {
        let (record, token) = token::mint(role, REGION, 60, self.app.authority.fingerprint(), now_ms);
        let saved = self
            .app
            .db
            .run("test", async |mut tx| {
                state::join_tokens::save(&mut tx, &record);
                Ok::<_, StateError>(())
            })
            .await;
        saved.expect("saved");
        token
    }

    /// Joins as a machine would.
    pub(crate) async fn join(
        &self,
        token: &JoinToken,
        role: Role,
        region: &str,
        host_names: &[String],
    ) -> Result<Identity, JoinError> {
        let addresses = [self.address.to_string()];
        soon("joining", muster_transport::join(&addresses, token, role, region, "box-1", host_names)).await
    }

    /// A machine of `role` that has joined.
    pub(crate) async fn machine(&self, role: Role) -> Identity {
        let joins = if role == Role::Agent { JoinRole::Agent } else { JoinRole::Edge };
        let token = self.join_token(joins, clock::now_ms()).await;
        self.join(&token, role, REGION, &[]).await.expect("joined")
    }

    /// Dials the link as `identity`.
    pub(crate) async fn dial(&self, identity: &Identity) -> Connection {
        self.dial_as(identity, alpn::LINK).await
    }

    /// Dials as `identity`, to speak `protocol`.
    pub(crate) async fn dial_as(&self, identity: &Identity, protocol: &[u8]) -> Connection {
        let endpoint =
            muster_transport::bind("127.0.0.1:0".parse().expect("an address"), None).expect("bound");
        let config = muster_transport::client_config(identity, protocol, Profile::Link).expect("TLS");
        let name = muster_transport::server_name(Role::Orchestrator, "orchestrator");
        muster_transport::dial(&endpoint, config, &[self.address.to_string()], &name, DEADLINE)
            .await
            .expect("dialled")
    }

    /// Dials the link and opens its control stream.
    pub(crate) async fn control(&self, identity: &Identity) -> (Connection, FrameWriter, FrameReader) {
        let connection = self.dial(identity).await;
        let (send, receive) = connection.open_bi().await.expect("a stream");
        (connection, FrameWriter::new(send), FrameReader::new(receive))
    }

    /// A server placed on `node`, whose one UDP port is `edge_port` on the edges.
    pub(crate) async fn placed_server(&self, node: NodeId, edge_port: u16) -> ServerId {
        let (id, now_ms) = (ServerId::new(), clock::now_ms());
        let port = Port {
            name: "game".into(),
            protocol: PortProtocol::Udp.into(),
            container_port: 7000,
            token_mode: TokenMode::Open.into(),
            tls: false,
            proxy_protocol: false,
            edge_port: u32::from(edge_port),
        };
        let entered = [ServerState::Pending, ServerState::Placing];
        let record = ServerRecord {
            id: Some(id.into()),
            namespace: installation::FIRST_NAMESPACE.into(),
            fleet: "arena".into(),
            region: REGION.into(),
            state: ServerState::Placing.into(),
            entered: entered.map(|state| StateEntry { state: state.into(), at_ms: now_ms }).to_vec(),
            node: Some(node.into()),
            ports: vec![port.clone()],
            generation: 1,
            goal: Goal::Run.into(),
            holds_resources: true,
            ..Default::default()
        };
        let pod = Pod { ports: vec![port], ..Default::default() };
        let saved = self
            .app
            .db
            .run("test", async |mut tx| {
                state::servers::create(&mut tx, &record, &pod);
                Ok::<_, StateError>(())
            })
            .await;
        saved.expect("saved");
        id
    }

    /// The server as it stands.
    pub(crate) async fn server(&self, id: ServerId) -> ServerRecord {
        let read = self.app.db.read("test", async |mut tx| state::servers::load(&mut tx, id).await).await;
        read.expect("readable").expect("there")
    }

    /// Waits until the server is in `state`.
    pub(crate) async fn server_in(&self, id: ServerId, state: ServerState) -> ServerRecord {
        eventually(&format!("{id} in {state:?}"), async || {
            Some(self.server(id).await).filter(|server| server.state() == state)
        })
        .await
    }

    pub(crate) async fn stop(self) {
        drop(self.end().await);
    }

    /// Ends a [`Bench::replica`]: the store goes on.
    pub(crate) async fn stop_replica(self) {
        self.leave().await;
    }

    async fn end(self) -> tempfile::TempDir {
        self.leave().await;
        self.app.db.clone().shutdown().await;
        self.directory
    }

    async fn leave(&self) {
        self.stop.cancel();
        self.app.links.close();
        self.endpoint.close(0u32.into(), b"the test is over");
        self.tasks.close();
        soon("the sessions to end", self.tasks.wait()).await;
    }
}

/// What an agent says first.
pub(crate) fn agent_hello() -> AgentHello {
    AgentHello {
        version: "0.0.0-other".into(),
        region: REGION.into(),
        hostname: "box-1".into(),
        tunnel_addresses: vec!["127.0.0.1:7402".into()],
        capacity: Some(NodeCapacity { cpu_millis: 4_000, memory_bytes: 8 << 30 }),
        servers: Vec::new(),
        unable: String::new(),
    }
}

/// What an edge says first.
pub(crate) fn edge_hello() -> EdgeHello {
    EdgeHello {
        version: "0.0.0-other".into(),
        region: REGION.into(),
        hostname: "box-1".into(),
        public_host: "127.0.0.1".into(),
        port_first: 20_000,
        port_last: 20_999,
        beacon_port: 19_999,
        tls_certificate_given: false,
    }
}
