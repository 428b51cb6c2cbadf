//! Planned upgrades: a running edge hands its sockets and players to the next one in its place.
//!
//! The next edge starts beside the one before, over the same state directory, and dials the agents. Only then does it
//! ask; the one before stops reading, hands over descriptors of its sockets, which hold whatever comes
//! meanwhile, and what is not on disk. When the next one serves, the one before lets go: it takes nothing new,
//! passes on what still comes back on its tunnels, and ends when its last connection has. If anything fails
//! before that, it goes on as if nobody had asked.
//!
//! `frames` says what is said in which order, and does no I/O; `door` is the running edge's end, `before` the next one's.

#[cfg(unix)]
mod before;
#[cfg(unix)]
mod channel;
#[cfg(unix)]
mod door;
mod frames;
pub(crate) mod fuzzing;
#[cfg(not(unix))]
mod portable;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use muster_protocol::flow::FlowId;
use muster_protocol::id::{SeatId, ServerId};

#[cfg(unix)]
pub(crate) use before::Before;
#[cfg(unix)]
pub(crate) use door::{Door, Successor};
#[cfg(not(unix))]
pub(crate) use portable::{Before, Door, Successor};

/// The socket in the state directory at which the next edge asks.
const DOOR_FILE: &str = "upgrade.sock";
/// How long the next edge waits for anything that the one before has to say at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the one before stands still for the next one. Longer, so that it never goes on beside one that serves.
const STANDSTILL: Duration = Duration::from_secs(10);

/// What one edge hands to the next.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Sockets of UDP ports, by port.
    pub(crate) udp: BTreeMap<u16, UdpSocket>,
    /// Listeners of TCP and WebSocket ports, by port.
    pub(crate) tcp: BTreeMap<u16, TcpListener>,
    /// The latency beacon's socket.
    pub(crate) beacon: Option<UdpSocket>,
    /// What of the UDP worker's state is not on disk.
    pub(crate) players: Players,
}

/// What the UDP worker knows of players and does not keep on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Players {
    /// Claims whose seats have not sent yet.
    pub(crate) claims: Vec<HandedClaim>,
    /// Flows of `open` ports.
    pub(crate) flows: Vec<HandedFlow>,
}

/// A claim on its way to the next edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandedClaim {
    pub(crate) port: u16,
    pub(crate) ip: IpAddr,
    pub(crate) seat: SeatId,
    pub(crate) proof: u64,
    pub(crate) age: Duration,
}

/// A flow of an `open` port on its way to the next edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandedFlow {
    pub(crate) port: u16,
    pub(crate) id: FlowId,
    pub(crate) server: ServerId,
    pub(crate) port_index: u8,
    pub(crate) client: SocketAddr,
    pub(crate) local_ip: Option<IpAddr>,
}

/// Why the next edge cannot take over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The socket is there and cannot be spoken to.
    #[error(
        "the edge that runs in {dir} cannot be asked to hand over: {source}; stop it, then start this one"
    )]
    Ask {
        /// The state directory.
        dir: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Players are on ports that this edge is not to serve.
    #[error("players of the running edge would be lost: {0}; or stop that one, and start this")]
    Unserved(String),
    /// It broke off, or said what makes no sense.
    #[error("the running edge did not hand over ({0}) and goes on; see its log")]
    Broken(String),
}
