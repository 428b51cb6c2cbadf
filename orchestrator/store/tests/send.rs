//! That transactions can be run where futures must be `Send`: spawned tasks, boxed futures,
//! trait methods, nested helpers, with captures borrowed. Most of it is checked by compiling.

#![allow(clippy::unwrap_used, reason = "a failed test is how a test speaks")]

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use muster_store::{Database, OpenOptions, StoreError, Transaction};

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("missing")]
    Missing,
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Service {
    database: Database,
    names: HashMap<String, String>,
}

async fn helper(
    tx: &mut Transaction,
    name: &str,
    extra: &HashMap<String, String>,
) -> Result<usize, StoreError> {
    let found = tx.get(name.as_bytes()).await?;
    tx.set(name.as_bytes(), found.as_deref().unwrap_or(b"new"));
    Ok(extra.len())
}

impl Service {
    async fn operation(&self, name: &str) -> Result<usize, AppError> {
        self.database
            .run("operation", async |mut tx| {
                let count = helper(&mut tx, name, &self.names).await?;
                for (key, value) in &self.names {
                    helper(&mut tx, key, &self.names).await?;
                    tx.set(key.as_bytes(), value.as_bytes());
                }
                for key in self.names.keys().map(String::as_str) {
                    helper(&mut tx, key, &self.names).await?;
                }
                if tx.get(b"absent").await?.is_some() {
                    return Err(AppError::Missing);
                }
                Ok(count)
            })
            .await
    }
}

async fn generic<K: AsRef<[u8]> + Send + Sync>(database: &Database, key: K) -> Result<bool, StoreError> {
    database.read("generic", async |mut tx| Ok(tx.get(key.as_ref()).await?.is_some())).await
}

fn boxed<'a>(
    database: &'a Database,
    key: &'a str,
) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>> {
    Box::pin(async move {
        database
            .run("boxed", async |mut tx: Transaction| {
                tx.set(key.as_bytes(), b"boxed");
                Ok(())
            })
            .await
    })
}

trait Operation {
    fn go(&self, database: &Database) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Operation for String {
    async fn go(&self, database: &Database) -> Result<(), StoreError> {
        database
            .run("trait", async |mut tx| {
                tx.get(self.as_bytes()).await?;
                tx.set(self.as_bytes(), b"trait");
                Ok(())
            })
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_wherever_a_future_must_be_send() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&dir.path().join("store"), OpenOptions::default()).unwrap();
    let names = HashMap::from([("one".to_owned(), "1".to_owned()), ("two".to_owned(), "2".to_owned())]);
    let service = Arc::new(Service { database: database.clone(), names });

    let owned = service.clone();
    assert_eq!(tokio::spawn(async move { owned.operation("name").await }).await.unwrap().unwrap(), 2);
    let owned = database.clone();
    assert!(tokio::spawn(async move { generic(&owned, "name").await }).await.unwrap().unwrap());
    let owned = database.clone();
    tokio::spawn(async move { boxed(&owned, "boxed").await }).await.unwrap().unwrap();
    let owned = database.clone();
    tokio::spawn(async move { "trait".to_owned().go(&owned).await }).await.unwrap().unwrap();
    let key = vec![1u8];
    tokio::spawn(async move {
        service
            .database
            .run("spawned", async |mut tx| {
                tx.set(&key, b"spawned");
                helper(&mut tx, "other", &service.names).await
            })
            .await
    })
    .await
    .unwrap()
    .unwrap();
    for key in ["name", "one", "boxed", "trait", "\u{1}", "other"] {
        assert!(generic(&database, key).await.unwrap(), "{key}");
    }
}
