//! What Muster's processes say to each other and to their clients: messages, ids, tokens, headers.
//!
//! Everything here is bytes in, values out: no sockets, no clock, no runtime. A decoder takes any
//! bytes and answers with a value or an error, never with a panic; each has a property test that
//! says so, and every fixed format has golden vectors in `vectors/` that the SDKs' tests read too.

pub mod api;
pub mod beacon;
pub mod flow;
pub mod fragment;
pub mod framing;
pub mod id;
pub mod preface;
pub mod prefix;
pub mod problem;
pub mod token;
pub mod tunnel;

#[allow(missing_docs, clippy::pedantic, unreachable_pub, reason = "generated from documented .proto files")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

/// Messages of the orchestrator ↔ agent link.
pub use generated::muster::agent::v1 as agent;
/// Messages of the orchestrator ↔ edge link.
pub use generated::muster::edge::v1 as edge;
/// What an edge hands to the next one in its place.
pub use generated::muster::handover::v1 as handover;
/// Joining: how a new agent or edge gets its certificate.
pub use generated::muster::join::v1 as join;
/// Messages between orchestrators.
pub use generated::muster::peer::v1 as peer;
/// Messages that open the tunnel's streams.
pub use generated::muster::tunnel::v1 as stream;
