//! News: rows in the order of the commits that wrote them, which whoever follows them reads from where it was.
//!
//! What a row says is its kind's (`tickets`, `matches`); here is what all have in common.

use bytes::Bytes;
use muster_store::Transaction;

use super::StateError;
use crate::keyspace::KeyRange;

/// Where the news of `range` ends now: what comes later sorts behind it.
pub(crate) async fn end(tx: &mut Transaction, range: &KeyRange) -> Result<Bytes, StateError> {
    let last = tx.snapshot_get_range(&range.begin, &range.end, 1, true).await?;
    Ok(last.into_iter().next().map_or_else(|| range.begin.clone().into(), |(key, _)| key))
}

/// Removes the news of `range` up to that at `last`, which everybody has read long ago.
pub(crate) fn forget(tx: &mut Transaction, range: &KeyRange, last: &[u8]) {
    tx.clear_range(&range.begin, &range.clone().after(last).begin);
}
