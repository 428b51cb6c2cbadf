//! What an edge reported last, whichever replica has its link.

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::id::EdgeId;
use muster_protocol::peer::{HeardReport, peer_request::Body};
use muster_transport::FrameReader;

use crate::app::App;
use crate::links::Reports;
use crate::records::EdgeRecord;

/// How long another replica may take to send what it granted.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there are no reports.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReportsError {
    /// The edge has no link.
    #[error("the edge {0} is not connected")]
    NotConnected(EdgeId),
    /// The replica that has the link did not send them.
    #[error("{0}")]
    Replica(String),
}

/// The last reports of the edge of `record`.
///
/// # Errors
/// [`ReportsError`].
pub(crate) async fn reports(app: &App, record: &EdgeRecord) -> Result<Reports, ReportsError> {
    let edge = record.typed_id();
    if let Some(status) = app.links.edge(edge) {
        return Ok(status.reports);
    }
    let replica = record.connected.then(|| record.replica()).flatten();
    let replica =
        replica.filter(|replica| *replica != app.replica).ok_or(ReportsError::NotConnected(edge))?;
    let failed = |error: &dyn std::error::Error| ReportsError::Replica(error.to_string());
    let asked = app.peers.ask(&app.db, replica, Body::EdgeId(edge.to_string())).await;
    let (_writer, mut reader) = asked.map_err(|error| failed(&error))?;
    let received = tokio::time::timeout(SEND_TIMEOUT, async {
        let latest = next(&mut reader).await?;
        Ok(Reports { latest, earlier: next(&mut reader).await? })
    });
    match received.await {
        Ok(received) => received,
        Err(elapsed) => Err(failed(&elapsed)),
    }
}

async fn next(reader: &mut FrameReader) -> Result<Option<Arc<HeardReport>>, ReportsError> {
    let heard = reader.recv::<HeardReport>().await;
    Ok(heard.map_err(|error| ReportsError::Replica(error.to_string()))?.map(Into::into))
}
