//! Muster's edge: the public addresses of a region, where players' packets enter and leave.
//!
//! An edge listens on the ports that the orchestrator routes to it, lets through what is proven (or what
//! an `open` port takes), and carries it to the server's agent through a QUIC tunnel: UDP packets as
//! DATAGRAM frames, TCP and WebSocket connections as streams. It knows nothing of matches, seats or
//! containers beyond the route and the session token, and it goes on with the routes it has when the
//! orchestrator is gone. Sockets of game servers are the agent's.

mod beacon;
mod clock;
mod config;
mod drops;
mod edge;
#[doc(hidden)]
pub mod fuzzing;
mod handover;
mod latency;
mod limits;
mod link;
mod listeners;
mod metrics;
mod routes;
mod saved;
mod serving;
mod sockets;
mod state_lock;
mod stream;
mod tally;
mod tls;
mod traffic;
mod trust;
mod tunnel;
mod udp;

pub use config::{Config, ConfigError};
pub use edge::{Edge, StartError, start};
pub use handover::HandoverError;
