//! What every QUIC hop between Muster's processes shares.
//!
//! Mutual TLS under Muster's own CA, one ALPN per purpose, framed prost messages over streams, dialling
//! with backoff, and transport settings fit for game packets. It knows nothing of servers, routes or
//! matches: who may say what on a connection is decided by its users.

mod admission;
pub mod alpn;
mod backoff;
mod beside;
mod buffers;
mod congestion;
mod endpoint;
mod framed;
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod join;
mod mark;
mod orchestrators;
mod overflow;
mod packer;
mod peer;
mod profile;
mod quic;
mod tls;
mod udp;
mod vital;

pub use admission::Admission;
pub use backoff::Backoff;
pub use beside::Beside;
pub use buffers::set_buffers;
pub use congestion::TunnelRate;
pub use endpoint::{DialError, STAGGER, bind, dial, dial_address, dial_each, listen};
pub use framed::{FrameIoError, FrameReader, FrameWriter};
pub use identity::{Identity, IdentityError};
pub use join::{JoinError, JoinToken, JoinTokenError, authority_fingerprint, join};
pub use orchestrators::Orchestrators;
pub use packer::{Packer, Unsent};
pub use peer::{PeerIdentity, Role, RoleError, peer_identity, server_name};
pub use profile::Profile;
pub use quic::{Change, ConnectionId, Counts, Quic};
pub use tls::{ClientCertificate, TlsError, client_config, provider, server_config};
pub use udp::{Batch, Glued, Packet, Readiness, UdpSocket};
pub use vital::spawn_vital;
