//! Counts what is on record, for metrics.

use std::time::Duration;

use muster_store::Database;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::records::{ServerState, TicketState};
use crate::state::{StateError, servers, tickets};

/// Time between two counts.
const EVERY: Duration = Duration::from_secs(5);

/// Counts until `shutdown`.
pub(super) async fn run(db: Database, shutdown: CancellationToken) {
    loop {
        if let Err(error) = count(&db).await {
            tracing::warn!(%error, "cannot count servers and tickets");
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn count(db: &Database) -> Result<(), StateError> {
    let (servers, tickets) = db
        .read("count_records", async |mut tx| {
            Ok::<_, StateError>((
                servers::totals(&mut tx, None).await?,
                tickets::totals(&mut tx, None).await?,
            ))
        })
        .await?;
    for state in (0..).map_while(|number| ServerState::try_from(number).ok()) {
        metrics::servers(state.into(), servers.get(&state).copied().unwrap_or(0));
    }
    for state in (0..).map_while(|number| TicketState::try_from(number).ok()) {
        metrics::tickets(state.into(), tickets.get(&state).copied().unwrap_or(0));
    }
    Ok(())
}
