//! Records as the API tells them: pure conversions, one file per resource.
//!
//! Nothing here reads the store or the clock; what a view needs beside its record is passed in.

mod build;
mod edge_traffic;
mod endpoint;
mod explanation;
mod fleet;
mod lobby;
mod machine;
mod queue;
mod server;
mod ticket;
mod workflow;

pub(crate) use build::{build, upload};
pub(crate) use edge_traffic::edge_traffic;
pub(crate) use endpoint::EndpointError;
pub(crate) use explanation::explanation;
pub(crate) use fleet::fleet;
pub(crate) use lobby::lobby;
pub(crate) use machine::{edge, node, node_state, region};
pub(crate) use queue::{queue, queue_version, recorded};
pub(crate) use server::server;
pub(crate) use ticket::{allocated, ticket};
pub(crate) use workflow::{engine_status, workflow, workflow_detail};
