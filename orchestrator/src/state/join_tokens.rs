//! One-time join tokens.

use muster_protocol::id::JoinTokenId;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::JoinTokenRecord;

/// Most join tokens kept.
pub const MAX_JOIN_TOKENS: usize = 10_000;

/// The token, if it is known. Conflicts with its use.
pub async fn load(tx: &mut Transaction, token: JoinTokenId) -> Result<Option<JoinTokenRecord>, StateError> {
    kv::load(tx, &keyspace::join_token(token)).await
}

/// Writes a token.
pub fn save(tx: &mut Transaction, record: &JoinTokenRecord) {
    kv::save(tx, &keyspace::join_token(record.typed_id()), record);
}

/// Removes a token.
pub fn remove(tx: &mut Transaction, token: JoinTokenId) {
    tx.clear(&keyspace::join_token(token));
}

/// Every token, oldest first. Conflicts with their coming and going.
pub async fn list(tx: &mut Transaction) -> Result<Vec<JoinTokenRecord>, StateError> {
    let rows = kv::list(tx, &keyspace::join_tokens(), MAX_JOIN_TOKENS).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}
