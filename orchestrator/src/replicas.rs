//! This orchestrator among others on the same store: where each is reached, and what only one of them has.
//!
//! Whatever is decided, is decided in the store, where every replica reads and writes alike. Two things are
//! one replica's own: the links of the machines that happened to dial it, and the archives of builds pushed
//! to it. [`Peers`] asks another for them, [`serve`] answers, [`mirror`] copies archives so that each replica
//! soon has all of them. Which replicas live is the engine's to say: one of its workers runs in each.

mod keep;
mod mirror;
mod peers;
mod serve;

use muster_store::StoreError;

use crate::app::App;
use crate::records::ReplicaRecord;
use crate::state;

pub(crate) use keep::{announce, keep, withdraw};
pub(crate) use mirror::{Fetched, fetch, mirror};
pub(crate) use peers::Peers;
pub(crate) use serve::serve;

/// Most addresses that a machine is told.
const MAX_ADDRESSES: usize = 16;

/// Where machines may dial: this replica's links first, then the others'.
pub(crate) async fn addresses(app: &App) -> Vec<String> {
    let live = app.db.read("replicas", async |mut tx| state::replicas::live(&mut tx).await).await;
    let others = match live {
        Ok(live) => live,
        Err(error) => {
            // The machine has those it is configured with, and asks again with its next link.
            tracing::warn!(%error, "cannot read where the other orchestrators are");
            Vec::new()
        }
    };
    let others = others.into_iter().filter(|(id, _)| *id != app.replica).map(|(_, it)| it.link_address);
    let all = std::iter::once(app.link_address.clone()).chain(others);
    all.filter(|address| !address.is_empty()).take(MAX_ADDRESSES).collect()
}

/// What this replica says of itself.
fn record(app: &App) -> ReplicaRecord {
    ReplicaRecord {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        link_address: app.link_address.clone(),
        started_at_ms: app.started_at_ms,
    }
}

/// Whether `error` says that the store is closed, with which every loop ends.
fn is_closed(error: &state::StateError) -> bool {
    matches!(error, state::StateError::Store(StoreError::Closed))
}
