//! Records in the store: one file per kind, each the only place that knows how its record, its
//! indices, its counters and its revisions go together.
//!
//! Functions here take a transaction and never begin one, so that callers compose them into one
//! serializable step. They decide nothing: what may happen to a server is in `lifecycle`, who gets
//! which in `matchmaking` and `placement`.

pub mod builds;

pub mod desired;
pub mod edge_limits;
pub mod edges;
mod error;
pub mod fleets;
pub mod flows;
pub mod health;
pub mod join_tokens;
pub mod kv;
pub mod lobbies;
pub mod matches;
pub mod namespaces;
pub(crate) mod news;
pub mod nodes;
pub(crate) mod parts;
pub mod ports;
pub mod queue_versions;
pub mod queues;
pub mod recordings;
pub mod regions;
pub mod replicas;
pub mod routes;
pub mod servers;
pub mod tickets;
pub mod timers;
pub mod tokens;
pub mod workflows;

pub use desired::{Desired, Generations, desired_for_node};
pub use error::StateError;
pub use routes::{Routed, routes_for_region};
