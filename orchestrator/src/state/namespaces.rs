//! Namespaces.

use muster_store::Transaction;

use super::{StateError, kv};
use crate::keyspace;
use crate::records::NamespaceRecord;

/// Most namespaces of an installation.
pub const MAX_NAMESPACES: usize = 1_000;

/// The namespace, if there is one of that name.
pub async fn load(tx: &mut Transaction, name: &str) -> Result<Option<NamespaceRecord>, StateError> {
    kv::load(tx, &keyspace::namespace(name)).await
}

/// Writes a namespace. The caller has compared [`list`] with [`MAX_NAMESPACES`].
pub fn save(tx: &mut Transaction, record: &NamespaceRecord) {
    kv::save(tx, &keyspace::namespace(&record.name), record);
}

/// Every namespace, by name.
pub async fn list(tx: &mut Transaction) -> Result<Vec<NamespaceRecord>, StateError> {
    let rows = kv::list(tx, &keyspace::namespaces(), MAX_NAMESPACES).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}
