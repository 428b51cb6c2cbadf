//! An edge with a fake agent and a fake orchestrator around it, and how tests wait.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use muster_edge_proxy::{Config, Edge, start};
use muster_protocol::agent::PortProtocol;
use muster_protocol::edge::{Route, RouteKey, RouteTable, TokenMode};
use muster_protocol::id::{EdgeId, NodeId, ServerId};
use muster_transport::{Role, provider};
use rustls::RootCertStore;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::agent::Agent;
use crate::authority::Authority;
use crate::orchestrator::Orchestrator;

/// Longest that anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Name that players reach the edge by, and that its own certificate carries.
pub(crate) const PUBLIC_HOST: &str = "edge.example.test";

/// Ports of these tests: below the system's own, so that no client socket sits there by chance.
const FIRST_PORT: u16 = 24_000;
const LAST_PORT: u16 = 31_999;

pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) agent: Agent,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) edge: Edge,
    pub(crate) config: Config,
    pub(crate) server: ServerId,
    _state: tempfile::TempDir,
}

pub(crate) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A port that is free for UDP and TCP, and that no other test of this process gets.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = LAST_PORT - FIRST_PORT + 1;
    // Runs of this test at the same time begin at different places.
    let base = (std::process::id() % 61) as u16 * 131;
    loop {
        let port = FIRST_PORT + base.wrapping_add(NEXT.fetch_add(1, Relaxed)) % span;
        if UdpSocket::bind(loopback(port)).is_ok() && TcpListener::bind(loopback(port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `is` says yes.
pub(crate) async fn within<F: Future<Output = bool>>(what: &str, is: impl Fn() -> F) {
    let end = Instant::now() + DEADLINE;
    while !is().await {
        assert!(Instant::now() < end, "waited {} s for {what}", DEADLINE.as_secs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let authority = Authority::new();
        let orchestrator = Orchestrator::start(&authority, loopback(0));
        let agent = Agent::start(&authority, NodeId::new(), loopback(0));
        let state = tempfile::tempdir().unwrap();
        authority.issue(Role::Edge, &EdgeId::new().to_string(), &[PUBLIC_HOST]).save(state.path()).unwrap();
        let mut config = Config {
            state_dir: state.path().to_owned(),
            orchestrator: vec![orchestrator.address.to_string()],
            listen_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            public_host: PUBLIC_HOST.to_owned(),
            port_first: FIRST_PORT,
            port_last: LAST_PORT,
            beacon_port: 0,
            ..Config::default()
        };
        adjust(&mut config);
        let edge = start(config.clone()).await.unwrap();
        Self { authority, agent, orchestrator, edge, config, server: ServerId::new(), _state: state }
    }

    /// A copy of the edge's files as they are now.
    pub(crate) fn what_a_kill_leaves(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(&self.config.state_dir).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_type().unwrap().is_file() {
                continue;
            }
            std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// A route of this world's server to this world's agent, on a free port.
    pub(crate) fn route(&self, protocol: PortProtocol, mode: TokenMode) -> Route {
        Route {
            key: Some(RouteKey { edge_port: free_port().into(), protocol: protocol.into() }),
            server_id: self.server.to_string(),
            port_name: "game".into(),
            port_index: 2,
            token_mode: mode.into(),
            tls: false,
            proxy_protocol: false,
            node_id: self.agent.node.to_string(),
            tunnel_addresses: vec![self.agent.address.to_string()],
        }
    }

    /// Waits until the edge has reported as many drops for `reason`.
    pub(crate) async fn counted(&self, reason: &str, count: u64) {
        within(&format!("{count} of {reason}"), || async {
            let report = self.orchestrator.report().unwrap_or_default();
            report.drops.iter().any(|drops| drops.reason == reason && drops.count == count)
        })
        .await;
    }

    /// Serves one such route, and returns where.
    pub(crate) async fn serve(&self, protocol: PortProtocol, mode: TokenMode) -> SocketAddr {
        self.serve_route(self.route(protocol, mode)).await
    }

    pub(crate) async fn serve_route(&self, route: Route) -> SocketAddr {
        let address = address_of(&route);
        let table = RouteTable { revision: 1, full: true, routes: vec![route], remove: vec![] };
        assert_eq!(self.orchestrator.apply(table).await.failures, []);
        address
    }
}

pub(crate) fn address_of(route: &Route) -> SocketAddr {
    loopback(route.key.as_ref().unwrap().edge_port as u16)
}

/// Connects from an address of this machine.
pub(crate) async fn connect_from(source: [u8; 4], edge: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(edge).await.unwrap()
}

/// Connects by TLS as who trusts `authority`; `None` if the edge shows a certificate of another.
pub(crate) async fn try_connect_tls(authority: &Authority, edge: SocketAddr) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(edge).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(PUBLIC_HOST.try_into().unwrap(), tcp).await.ok()
}

pub(crate) async fn connect_tls(authority: &Authority, edge: SocketAddr) -> TlsStream<TcpStream> {
    try_connect_tls(authority, edge).await.expect("a certificate of that authority")
}
