//! What many tests do.

use muster_store::{Database, StoreError, Transaction};

pub(crate) async fn set(database: &Database, key: &[u8], value: &[u8]) {
    write(database, |tx| tx.set(key, value)).await;
}

/// Commits what `write` writes.
pub(crate) async fn write(database: &Database, write: impl Fn(&mut Transaction)) {
    let written = database.run("write", async |mut tx: Transaction| {
        write(&mut tx);
        Ok::<_, StoreError>(())
    });
    written.await.unwrap();
}

pub(crate) async fn get(database: &Database, key: &[u8]) -> Option<Vec<u8>> {
    let found = database.read("get", async |mut tx: Transaction| tx.get(key).await);
    found.await.unwrap().map(|value| value.to_vec())
}

/// All rows of `[begin, end)`.
pub(crate) async fn rows(database: &Database, begin: &[u8], end: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let found =
        database.read("rows", async |mut tx: Transaction| tx.get_range(begin, end, usize::MAX, false).await);
    found.await.unwrap().into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}
