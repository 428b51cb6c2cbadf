//! What runs beside the workflows: matchmaking, of the queues whose workflows are at home here, and counting.

mod counts;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use muster_engine::Clock;
use muster_store::Database;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::matchmaking::{self, Shards};

/// Starts every loop among `tasks`. They end once `stop` is cancelled. `shards` are those whose workflows are at
/// home here.
pub(crate) fn spawn(
    db: &Database,
    shards: Shards,
    clock: Arc<dyn Clock>,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    tasks.spawn(matchmaking::run(db.clone(), shards, clock, stop.clone()));
    tasks.spawn(counts::run(db.clone(), stop.clone()));
}
