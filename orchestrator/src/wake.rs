//! How loops sleep: until something they watch changes, a slow tick passes, or they are to end.
//!
//! The watch makes a loop prompt, the tick makes it certain: a change that no watch told of is found at
//! the next tick.

use std::time::Duration;

use futures_util::future::select_all;
use muster_store::Watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause after a pass that failed, for a disk to get room or a store to come back.
pub(crate) const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Shortest pause between two passes of a loop, in which changes gather.
const MIN_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause between two passes, however long a pass takes: most of a long one is waiting for commits, in which
/// others are at work.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// As [`sleep`], after a pause as long as the pass that `began` then took: a loop that has much to do is
/// at most half of its time at work, and does in one pass what would have been many.
pub(crate) async fn breathe_and_sleep(
    shutdown: &CancellationToken,
    began: Instant,
    watches: Vec<Watch>,
    tick: Duration,
) -> bool {
    let pause = began.elapsed().clamp(MIN_PAUSE, MAX_PAUSE);
    sleep(shutdown, Vec::new(), pause).await && sleep(shutdown, watches, tick).await
}

/// Sleeps until one of `watches` fires or `tick` passes. Returns `false` once `shutdown` is asked for.
pub(crate) async fn sleep(shutdown: &CancellationToken, watches: Vec<Watch>, tick: Duration) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        () = any_changed(watches) => !shutdown.is_cancelled(),
        () = tokio::time::sleep(tick) => true,
    }
}

async fn any_changed(mut watches: Vec<Watch>) {
    if watches.is_empty() {
        return std::future::pending().await;
    }
    let (outcome, ..) = select_all(watches.iter_mut().map(|watch| Box::pin(watch.changed()))).await;
    if outcome.is_err() {
        // The store is closing or refused the watch; the tick, or shutdown, is what is left.
        std::future::pending::<()>().await;
    }
}
