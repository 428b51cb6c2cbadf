//! A server's life: what may happen to it, what follows, and the steps that others take it through.
//!
//! [`machine`] is the pure state machine of one server, [`fleet`] the pure comparison of a fleet with
//! what is wanted, [`backoff`] how a crash loop is slowed, [`explain`] the words for where a server is.
//! [`steps`] holds the entry points, each one transaction and idempotent: links and the API call them,
//! they call nobody back. What time does, and what follows from a fleet, is in `workflows`.

pub mod backoff;
mod claim;
pub mod explain;
pub mod fleet;
pub mod machine;
#[cfg(test)]
mod machine_tests;
pub mod standing;
mod steps;

pub(crate) use backoff::is_failing;
pub(crate) use claim::claim_warm;
pub use explain::explain;
pub(crate) use standing::failing;
pub(crate) use steps::{Lost, MAX_CONCURRENT, give_up_node, happen, pass_drain_deadline, require_edge_link};
pub use steps::{
    StepError, edge_connected, edge_disconnected, node_connected, node_disconnected, node_unable,
    orchestrator_started, routes_applied, server_reported, stop_server,
};
