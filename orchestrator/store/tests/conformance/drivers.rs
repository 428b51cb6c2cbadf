//! A fresh store of each driver.

use std::future::{Ready, ready};

use muster_store::limits::KEYSPACE_END;
use muster_store::{Database, OpenOptions, StoreError, Transaction};

/// A store, and what keeps its place.
pub(crate) struct Store {
    pub(crate) database: Database,
    _directory: Option<tempfile::TempDir>,
}

impl Store {
    /// Leaves nothing behind; a store that its test has shut down is left as it is.
    pub(crate) async fn close(self) {
        let cleared = self.database.run("clear", async |mut tx: Transaction| {
            tx.clear_range(b"", KEYSPACE_END);
            Ok::<_, StoreError>(())
        });
        match cleared.await {
            Ok(()) | Err(StoreError::Closed) => self.database.shutdown().await,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn embedded() -> Ready<Store> {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::open(&directory.path().join("store"), OpenOptions::default()).unwrap();
    ready(Store { database, _directory: Some(directory) })
}

pub(crate) fn memory() -> Ready<Store> {
    ready(Store { database: Database::memory(1), _directory: None })
}

#[cfg(feature = "foundationdb")]
pub(crate) async fn foundationdb() -> Store {
    let file = std::env::var("MUSTER_TEST_CLUSTER")
        .expect("MUSTER_TEST_CLUSTER names the cluster file of a FoundationDB to test on");
    let prefix = format!("muster-conformance/{:032x}/", rand::random::<u128>());
    let database = Database::open_cluster(file.as_ref(), prefix.as_bytes()).await.unwrap();
    Store { database, _directory: None }
}
