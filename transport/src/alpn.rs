//! Names of the protocols spoken over QUIC. A connection speaks exactly one.

/// A new agent or edge asks for its certificate; it shows none.
pub const JOIN: &[u8] = b"muster-join/1";
/// Agent or edge to orchestrator: control.
pub const LINK: &[u8] = b"muster-link/1";
/// Orchestrator to orchestrator: what only the other has.
pub const PEER: &[u8] = b"muster-peer/1";
/// Edge to agent: players' packets.
pub const TUNNEL: &[u8] = b"muster-tunnel/1";
