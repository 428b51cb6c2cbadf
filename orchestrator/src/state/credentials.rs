//! API tokens and join tokens.

use muster_protocol::id::{ApiTokenId, JoinTokenId};
use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::{ApiTokenRecord, JoinTokenRecord};

/// Most API tokens, and most join tokens, of an installation.
pub const MAX_CREDENTIALS: usize = 10_000;

/// The API token, if it is known.
pub async fn load_api_token(
    tx: &mut Transaction,
    token: ApiTokenId,
) -> Result<Option<ApiTokenRecord>, StateError> {
    kv::load(tx, &keyspace::api_token(token)).await
}

/// Writes an API token.
pub fn save_api_token(tx: &mut Transaction, record: &ApiTokenRecord) {
    kv::save(tx, &keyspace::api_token(record.typed_id()), record);
}

/// Removes an API token.
pub fn remove_api_token(tx: &mut Transaction, token: ApiTokenId) {
    tx.clear(&keyspace::api_token(token));
}

/// Every API token, oldest first.
pub async fn list_api_tokens(tx: &mut Transaction) -> Result<Vec<ApiTokenRecord>, StateError> {
    let rows = kv::list(tx, &keyspace::api_tokens(), MAX_CREDENTIALS).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}

/// The join token, if it is known.
pub async fn load_join_token(
    tx: &mut Transaction,
    token: JoinTokenId,
) -> Result<Option<JoinTokenRecord>, StateError> {
    kv::load(tx, &keyspace::join_token(token)).await
}

/// Writes a join token.
pub fn save_join_token(tx: &mut Transaction, record: &JoinTokenRecord) {
    kv::save(tx, &keyspace::join_token(record.typed_id()), record);
}

/// Removes a join token.
pub fn remove_join_token(tx: &mut Transaction, token: JoinTokenId) {
    tx.clear(&keyspace::join_token(token));
}

/// Every join token, oldest first.
pub async fn list_join_tokens(tx: &mut Transaction) -> Result<Vec<JoinTokenRecord>, StateError> {
    let rows = kv::list(tx, &keyspace::join_tokens(), MAX_CREDENTIALS).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}
