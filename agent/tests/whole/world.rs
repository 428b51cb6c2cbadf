//! The agent's end of the tunnel without the agent, in front of a game server that is the test's own: nothing
//! here needs Docker.

use std::net::SocketAddr;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use muster_agent::TunnelAlone;
use muster_agent::reconcile::RoutePort;
use muster_protocol::agent::PortProtocol;
use muster_protocol::fragment::MAX_PACKET_BYTES;
use muster_protocol::id::{EdgeId, NodeId, ServerId};
use muster_protocol::tunnel::OpenTarget;
use muster_transport::{Profile, Role, alpn, client_config};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::authority::Authority;
use crate::node::tunnel_by;
use crate::orchestrator::PATIENCE;
use crate::tunnel::Edge;

/// Position of the server's TCP port among its ports; the first is the UDP port.
pub(crate) const TCP_PORT: u32 = 1;

/// A node with one server.
pub(crate) struct World {
    authority: Authority,
    node: NodeId,
    tunnel: SocketAddr,
    pub(crate) open: OpenTarget,
    metrics: PrometheusHandle,
    // What runs goes with the world.
    running: JoinSet<()>,
}

impl World {
    /// A node whose server sends each packet back, and each byte.
    pub(crate) async fn new() -> Self {
        let game = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let mut world = Self::around(game.local_addr().expect("bound")).await;
        world.running.spawn(send_back(game));
        world
    }

    /// A node whose server is at `game` for UDP, and sends each byte of TCP back.
    pub(crate) async fn around(game: SocketAddr) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let mut world = Self::of(game, tcp.local_addr().expect("bound"));
        world.running.spawn(echo(tcp));
        world
    }

    /// A node whose server is at `game` for UDP, and at `tcp`.
    pub(crate) fn of(game: SocketAddr, tcp: SocketAddr) -> Self {
        let (authority, node) = (Authority::new(), NodeId::new());
        let identity = authority.identity(Role::Agent, &node.to_string());
        let ports = vec![
            RoutePort { protocol: PortProtocol::Udp, address: game },
            RoutePort { protocol: PortProtocol::Tcp, address: tcp },
        ];
        let server = ServerId::new();
        let any = "127.0.0.1:0".parse().expect("an address");
        let recorder = PrometheusBuilder::new().build_recorder();
        // Its metrics are made while it starts, on this thread.
        let start = || TunnelAlone::start(any, identity, [(server, ports)]);
        let end = metrics::with_local_recorder(&recorder, start).expect("binds");
        let tunnel = end.address();
        let mut running = JoinSet::new();
        running.spawn(end.run());
        let open = OpenTarget { server, port_index: 0, client: None };
        Self { authority, node, tunnel, open, metrics: recorder.handle(), running }
    }

    /// Waits until at least `count` packets were dropped for `reason`, and says how many were.
    pub(crate) async fn dropped(&self, reason: &str, count: u64) -> u64 {
        let name = format!("muster_agent_tunnel_packets_dropped_total{{reason=\"{reason}\"}} ");
        let began = Instant::now();
        loop {
            let page = self.metrics.render();
            let told = page.lines().find_map(|line| line.strip_prefix(&name)).expect("each reason is told");
            let dropped = told.parse().expect("a count");
            if dropped >= count {
                return dropped;
            }
            assert!(began.elapsed() < PATIENCE, "{dropped} were dropped as {reason}, not {count}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// How a new edge dials for a connection of `profile`.
    pub(crate) fn config(&self, profile: Profile) -> quinn::ClientConfig {
        let identity = self.authority.identity(Role::Edge, &EdgeId::new().to_string());
        client_config(&identity, alpn::TUNNEL, profile).expect("usable")
    }

    /// A connection that is made as `config` says.
    pub(crate) async fn tunnel(&self, config: quinn::ClientConfig) -> quinn::Connection {
        tunnel_by(self.node, self.tunnel, config).await
    }

    /// A new edge's end of a connection of datagrams.
    pub(crate) async fn edge(&self) -> Edge {
        Edge::new(self.tunnel(self.config(Profile::TunnelDatagrams)).await)
    }
}

async fn send_back(game: UdpSocket) {
    let mut packet = vec![0; MAX_PACKET_BYTES];
    while let Ok((length, from)) = game.recv_from(&mut packet).await {
        // One that is not sent is as one lost on the way.
        let _ = game.send_to(&packet[..length], from).await;
    }
}

async fn echo(tcp: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((mut connection, _)) = tcp.accept().await {
        connections.spawn(async move {
            let (mut from, mut to) = connection.split();
            // One that breaks is over for both.
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
    }
}
