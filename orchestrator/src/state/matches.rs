//! Matches, and the index of those that wait for a server.

use muster_protocol::id::MatchId;
use muster_store::Transaction;

use super::{StateError, fleets, kv, timers};
use crate::keyspace::{self, Timer};
use crate::records::{MatchRecord, MatchState};

/// Most matches of a fleet that wait for servers and that one pass looks at.
pub const MAX_WAITING: usize = 10_000;

/// The match.
pub async fn load(tx: &mut Transaction, match_id: MatchId) -> Result<Option<MatchRecord>, StateError> {
    kv::load(tx, &keyspace::match_(match_id)).await
}

/// As [`load`], without conflicting.
pub async fn peek(tx: &mut Transaction, match_id: MatchId) -> Result<Option<MatchRecord>, StateError> {
    kv::peek(tx, &keyspace::match_(match_id)).await
}

/// When a match that waits, for a server or for its players to accept, waits no longer.
fn deadline(record: &MatchRecord) -> Option<u64> {
    matches!(record.state(), MatchState::Waiting | MatchState::Proposed).then_some(record.deadline_ms)
}

/// Writes a match; `before` is what is there, if anything is.
pub(crate) fn save(tx: &mut Transaction, before: Option<&MatchRecord>, after: &MatchRecord) {
    let id = after.typed_id();
    kv::save(tx, &keyspace::match_(id), after);
    let was_waiting = before.is_some_and(|record| record.state() == MatchState::Waiting);
    let waits = after.state() == MatchState::Waiting;
    let key = keyspace::match_waiting(&after.namespace, &after.fleet, &after.region, id);
    if waits && !was_waiting {
        tx.set(&key, b"");
        fleets::touch(tx, &after.namespace, &after.fleet);
    }
    if was_waiting && !waits {
        tx.clear(&key);
        fleets::touch(tx, &after.namespace, &after.fleet);
    }
    let (due, was_due) = (deadline(after), before.and_then(deadline));
    if due != was_due {
        if let Some(due_ms) = was_due {
            timers::clear(tx, due_ms, &Timer::MatchDeadline(id));
        }
        if let Some(due_ms) = due {
            timers::set(tx, due_ms, &Timer::MatchDeadline(id));
        }
    }
    if after.ended_at_ms > 0 && before.is_none_or(|record| record.ended_at_ms == 0) {
        // The timer loop, which knows how long what is over is kept, moves it on from here.
        timers::set(tx, after.ended_at_ms, &Timer::MatchRemoval(id));
    }
}

/// Removes a match that is over. Its tickets are the caller's to remove.
pub(crate) fn remove(tx: &mut Transaction, match_id: MatchId) {
    tx.clear(&keyspace::match_(match_id));
}

/// Waiting matches of a fleet, region and id, oldest first within a region, without conflicting.
pub async fn waiting(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
) -> Result<Vec<(String, MatchId)>, StateError> {
    let keys = kv::scan_keys(tx, &keyspace::matches_waiting(namespace, fleet), MAX_WAITING).await?;
    Ok(keys.iter().filter_map(|key| keyspace::split_match_waiting(key)).collect())
}
