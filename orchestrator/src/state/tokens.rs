//! API tokens.

use muster_protocol::id::ApiTokenId;
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::ApiTokenRecord;

/// Most API tokens of an installation.
pub const MAX_TOKENS: usize = 10_000;

/// The token, if it is known.
pub async fn load(tx: &mut Transaction, token: ApiTokenId) -> Result<Option<ApiTokenRecord>, StateError> {
    kv::load(tx, &keyspace::api_token(token)).await
}

/// Writes a token.
pub fn save(tx: &mut Transaction, record: &ApiTokenRecord) {
    kv::save(tx, &keyspace::api_token(record.typed_id()), record);
}

/// Removes a token.
pub fn remove(tx: &mut Transaction, token: ApiTokenId) {
    tx.clear(&keyspace::api_token(token));
}

/// Every token, oldest first. Conflicts with their coming and going.
pub async fn list(tx: &mut Transaction) -> Result<Vec<ApiTokenRecord>, StateError> {
    let rows = kv::list(tx, &keyspace::api_tokens(), MAX_TOKENS).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}
