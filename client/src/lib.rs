//! Client of Muster's HTTP API: one method per call, typed by `muster_protocol::api`.
//!
//! It adds to plain HTTP only what every caller would otherwise write again: the token and namespace
//! on each request, problem documents turned into errors, uploads that resume, logs as a stream, and
//! transport errors that say what to check. It keeps no state and retries nothing but upload chunks:
//! what to do about a failed call is the caller's to decide.

mod builds;
mod error;
mod fleets;
mod http;
mod lobbies;
mod machines;
mod queues;
mod servers;
mod stream;
mod tickets;
mod tokens;
mod workflows;

pub use builds::{UploadStep, file_digest};
pub use error::{ClientError, ConfigError};
pub use http::Client;
pub use lobbies::LobbyFilter;
pub use servers::ServerFilter;
pub use stream::ByteStream;
pub use workflows::WorkflowFilter;
