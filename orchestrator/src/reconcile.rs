//! The loops that make what is be what is wanted, and are not workflows yet: placement, timers, idleness,
//! matchmaking.
//!
//! All are level-triggered: each pass compares records and acts in small transactions, and a pass that is
//! cut off or fails is simply made again. They share nothing in memory, and several orchestrators may run
//! them on one store: where two do the same thing, the store lets one win.

mod idle;
mod placement;
#[cfg(test)]
mod tests;
mod timers;

use std::sync::Arc;

use muster_protocol::id::ServerId;
use muster_store::Database;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::matchmaking;

/// Flows and connections open to a server in a region, as the edges say; `None` if no edge says.
pub(crate) type Flows = Arc<dyn Fn(&str, ServerId) -> Option<u32> + Send + Sync>;

/// What the loops need to know of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long what is over is kept, in milliseconds.
    pub(crate) retention_ms: u64,
}

/// Starts every loop among `tasks`. They end once `stop` is cancelled.
pub fn spawn(app: &Arc<App>, stop: &CancellationToken, tasks: &TaskTracker) {
    let links = app.links.clone();
    let flows: Flows = Arc::new(move |region, server| links.flows(region, server));
    let settings = Settings { retention_ms: u64::from(app.config.retention_s) * 1_000 };
    spawn_on(&app.db, &flows, settings, stop, tasks);
}

/// As [`spawn`], from its parts.
pub(crate) fn spawn_on(
    db: &Database,
    flows: &Flows,
    settings: Settings,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) {
    tasks.spawn(placement::run(db.clone(), stop.clone()));
    tasks.spawn(timers::run(db.clone(), settings, stop.clone()));
    tasks.spawn(idle::run(db.clone(), flows.clone(), stop.clone()));
    tasks.spawn(matchmaking::run(db.clone(), stop.clone()));
}

/// One turn of what follows changes, for tests with a time of their own.
#[cfg(test)]
pub(crate) async fn turn(db: &Database, now_ms: u64) -> Result<(), crate::state::StateError> {
    let fleets =
        db.read("fleets", async |mut tx| crate::state::fleets::page(&mut tx, None, 1_000).await).await?;
    for (_, fleet) in fleets {
        db.run("look", async |mut tx| {
            crate::workflows::look(&mut tx, &fleet.namespace, &fleet.name, now_ms).await.map(drop)
        })
        .await?;
    }
    placement::pass(db, now_ms).await?;
    Ok(())
}

/// Everything due at `now_ms`, for tests with a time of their own.
#[cfg(test)]
pub(crate) async fn fire_timers(
    db: &Database,
    settings: Settings,
    now_ms: u64,
) -> Result<(), crate::state::StateError> {
    timers::pass(db, settings, now_ms).await
}
