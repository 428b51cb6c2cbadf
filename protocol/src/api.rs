//! The HTTP API's JSON: what requests carry and what answers hold, one file per resource.
//!
//! One definition serves the orchestrator, which also makes its OpenAPI document from it, and every
//! Rust client. Times are Unix milliseconds (`…_ms`), durations carry their unit in the name, sizes are
//! bytes unless the name says otherwise. Unknown fields in a specification are refused, so that a typo
//! is an error and not a default; unknown fields in an answer are ignored, so that newer servers can say more.

mod attribute;
mod build;
mod edge_limits;
mod edge_traffic;
mod explanation;
mod fleet;
mod lobby;
mod node;
mod population;
mod queue;
mod rules;
mod server;
mod status;
mod ticket;
mod token;
mod workflow;

pub use attribute::*;
pub use build::*;
pub use edge_limits::*;
pub use edge_traffic::*;
pub use explanation::*;
pub use fleet::*;
pub use lobby::*;
pub use node::*;
pub use population::*;
pub use queue::*;
pub use rules::*;
pub use server::*;
pub use status::*;
pub use ticket::*;
pub use token::*;
pub use workflow::*;

use serde::{Deserialize, Serialize};

/// A list answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Pass as `after` to get the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a count is where nothing is said.
fn one() -> u32 {
    1
}

/// Whether a count says nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Longest name of a namespace part, fleet, queue, port, tag or region, in bytes.
pub const MAX_NAME_BYTES: usize = 63;

/// Whether `name` is 1 to [`MAX_NAME_BYTES`] of `a-z`, `0-9` and inner `-`, as every name must be.
pub fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !bytes.is_empty()
        && bytes.len() <= MAX_NAME_BYTES
        && bytes.iter().all(|b| inner(*b))
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-'
}

/// Whether `namespace` is two names with a slash between: game and environment, as `arena/prod`.
pub fn is_namespace(namespace: &str) -> bool {
    namespace.split_once('/').is_some_and(|(game, environment)| is_name(game) && is_name(environment))
}
