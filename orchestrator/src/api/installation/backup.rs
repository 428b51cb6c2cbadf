//! `GET /v1/backup`: everything the installation has, as a file.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::mpsc;

use crate::api::auth::{Admin, Grant};
use crate::app::App;
use crate::backup;

/// Pieces that wait to be sent, of at most 4 MiB each.
const MAX_WAITING: usize = 4;

/// Take a backup
///
/// All records as they are now, and the archives of all builds; the orchestrator goes on meanwhile. It holds the
/// installation's keys. An answer that ends early is no backup: the file says so of itself.
#[utoipa::path(get, path = "/v1/backup", tag = "installation",
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn take_backup(State(app): State<Arc<App>>, grant: Grant<Admin>) -> Response {
    tracing::info!(token = %grant.caller.token, "backup asked for");
    let (out, pieces) = mpsc::channel(MAX_WAITING);
    tokio::spawn(backup::take(app, out));
    let pieces = stream::unfold(pieces, async |mut pieces| Some((pieces.recv().await?, pieces)));
    ([(header::CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces)).into_response()
}
