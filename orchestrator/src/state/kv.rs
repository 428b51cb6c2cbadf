//! Records and counters as keys and values: prost in, prost out.
//!
//! The only place of the orchestrator that decodes values. It knows no kind of record.

use bytes::Bytes;
use muster_store::Transaction;
use prost::Message;

use super::StateError;
use crate::keyspace::KeyRange;

/// The record at `key`. Conflicts with later writes of it.
pub async fn load<M: Message + Default>(tx: &mut Transaction, key: &[u8]) -> Result<Option<M>, StateError> {
    tx.get(key).await?.map(|value| decode(key, &value)).transpose()
}

/// As [`load`], without conflicting.
pub async fn peek<M: Message + Default>(tx: &mut Transaction, key: &[u8]) -> Result<Option<M>, StateError> {
    tx.snapshot_get(key).await?.map(|value| decode(key, &value)).transpose()
}

/// Writes `record` at `key`.
pub fn save<M: Message>(tx: &mut Transaction, key: &[u8], record: &M) {
    tx.set(key, &record.encode_to_vec());
}

/// At most `limit` records of `range` in key order, with their keys. Conflicts with later writes there.
pub async fn list<M: Message + Default>(
    tx: &mut Transaction,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<(Bytes, M)>, StateError> {
    decode_rows(tx.get_range(&range.begin, &range.end, limit, false).await?)
}

/// As [`list`], without conflicting.
pub async fn scan<M: Message + Default>(
    tx: &mut Transaction,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<(Bytes, M)>, StateError> {
    decode_rows(tx.snapshot_get_range(&range.begin, &range.end, limit, false).await?)
}

/// At most `limit` keys of `range` in order, without conflicting.
pub async fn scan_keys(
    tx: &mut Transaction,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<Bytes>, StateError> {
    let rows = tx.snapshot_get_range(&range.begin, &range.end, limit, false).await?;
    Ok(rows.into_iter().map(|(key, _)| key).collect())
}

/// The number at `key`, 0 if there is none, without conflicting.
pub async fn peek_number(tx: &mut Transaction, key: &[u8]) -> Result<i64, StateError> {
    Ok(tx.snapshot_get(key).await?.map_or(0, |value| number(&value)))
}

/// The number at `key`, 0 if there is none. Conflicts with later additions.
pub async fn load_number(tx: &mut Transaction, key: &[u8]) -> Result<i64, StateError> {
    Ok(tx.get(key).await?.map_or(0, |value| number(&value)))
}

/// At most `limit` numbers of `range`, with their keys, without conflicting.
pub async fn scan_numbers(
    tx: &mut Transaction,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<(Bytes, i64)>, StateError> {
    let rows = tx.snapshot_get_range(&range.begin, &range.end, limit, false).await?;
    Ok(rows.into_iter().map(|(key, value)| (key, number(&value))).collect())
}

/// Tells whoever watches the revision at `key` that what it stands for has changed.
pub fn bump(tx: &mut Transaction, key: &[u8]) {
    tx.atomic_add(key, 1);
}

/// Decodes a value that was read in another way.
pub fn decode<M: Message + Default>(key: &[u8], value: &[u8]) -> Result<M, StateError> {
    M::decode(value).map_err(|error| StateError::Corrupt {
        kind: std::any::type_name::<M>().rsplit("::").next().unwrap_or_default(),
        key: format!("{:?}", Bytes::copy_from_slice(key)),
        reason: error.to_string(),
    })
}

fn decode_rows<M: Message + Default>(rows: Vec<(Bytes, Bytes)>) -> Result<Vec<(Bytes, M)>, StateError> {
    rows.into_iter()
        .map(|(key, value)| {
            let record = decode(&key, &value)?;
            Ok((key, record))
        })
        .collect()
}

/// The little-endian number that atomic addition keeps.
pub fn number(value: &[u8]) -> i64 {
    value.try_into().map_or(0, i64::from_le_bytes)
}
