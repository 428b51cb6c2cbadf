//! An agent's end of the tunnel, as the agent has it, in front of servers that are one game server.

use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use anyhow::Context as _;
use muster_agent::TunnelAlone;
use muster_agent::reconcile::RoutePort;
use muster_protocol::agent::PortProtocol;
use muster_protocol::id::ServerId;
use muster_transport::Identity;
use serde::{Deserialize, Serialize};

/// What it is in front of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench::edge) struct TunnelPlan {
    /// Directory of the node's identity.
    pub(in crate::bench::edge) identity: PathBuf,
    /// Where edges dial.
    pub(in crate::bench::edge) listen: SocketAddrV4,
    /// The servers it has; all of them have one port for UDP and one for TCP.
    pub(in crate::bench::edge) servers: Vec<ServerId>,
    /// Where the game server listens for UDP.
    pub(in crate::bench::edge) game: SocketAddrV4,
    /// Where it listens for TCP.
    pub(in crate::bench::edge) bulk: SocketAddrV4,
}

/// Takes edges in until it is killed.
pub(super) async fn run(plan: TunnelPlan) -> anyhow::Result<()> {
    let identity = Identity::load(&plan.identity)?.context("the stand-in's identity is not there")?;
    let port = |protocol, address| RoutePort { protocol, address: SocketAddr::V4(address) };
    let ports = [port(PortProtocol::Udp, plan.game), port(PortProtocol::Tcp, plan.bulk)];
    let servers = plan.servers.into_iter().map(|server| (server, ports.to_vec()));
    TunnelAlone::start(SocketAddr::V4(plan.listen), identity, servers)?.run().await;
    anyhow::bail!("the tunnel's end has ended")
}
