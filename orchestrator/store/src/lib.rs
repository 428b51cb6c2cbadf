//! Muster's store: ordered byte keys, serializable transactions, watches.
//!
//! The semantics are FoundationDB's, limits included, so that what runs on the embedded driver
//! runs on a cluster. It is not a query layer: keys are bytes, and what they mean is the caller's.
//!
//! # Transactions
//!
//! [`Database::run`] takes a name (for logs and metrics) and an async closure. The closure may run
//! several times: it must have no effect but through its [`Transaction`]. What it captures, it
//! borrows; the resulting future is `Send`, so it works inside `tokio::spawn` and axum handlers.
//!
//! ```no_run
//! # use muster_store::{Database, StoreError};
//! # enum TransferError { Insufficient, Store(StoreError) }
//! # impl From<StoreError> for TransferError { fn from(e: StoreError) -> Self { Self::Store(e) } }
//! # async fn read_balance(tx: &mut muster_store::Transaction, key: &[u8]) -> Result<i64, StoreError> {
//! #     Ok(tx.get(key).await?.map_or(0, |v| v.as_ref().try_into().map_or(0, i64::from_le_bytes)))
//! # }
//! # async fn transfer(database: Database, source: Vec<u8>, target: Vec<u8>, amount: i64) -> Result<i64, TransferError> {
//! let balance = database
//!     .run("transfer", async |mut tx| {
//!         let from = read_balance(&mut tx, &source).await?; // async fn(&mut Transaction, …)
//!         if from < amount {
//!             return Err(TransferError::Insufficient); // any E: From<StoreError>; nothing is written
//!         }
//!         tx.set(&source, &(from - amount).to_le_bytes());
//!         tx.atomic_add(&target, amount);
//!         Ok(from - amount)
//!     })
//!     .await?;
//! # Ok(balance) }
//! ```
//!
//! The bound is `F: FnMut(Transaction) -> Fut, Fut: Future<Output = Result<T, E>>`, which an
//! `async |mut tx| { … }` closure satisfies as long as it does not mutate what it captures. Drop
//! the transaction with the closure: the driver commits once the closure has returned `Ok`.
//! Where the error type cannot be inferred, end with `Ok::<_, StoreError>(value)`.
//!
//! # Layers
//!
//! ```text
//! Database, Transaction      what callers see; a FoundationDB driver will stand beside them
//!   buffer, conflicts        read-your-writes, what was read and written
//!   committer, resolver      who wins; one durable write for all winners
//!   published, watch         versions and snapshots; who waits for which key
//!   storage (trait)          snapshots and one durable batch at a time
//!     redb_storage           the embedded driver; staged_backend guards its file
//! ```

mod backoff;
mod buffer;
mod committer;
mod conflicts;
mod database;
mod error;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod faults;
pub mod limits;
mod metrics;
mod published;
mod ranges;
mod redb_storage;
mod resolver;
mod staged_backend;
mod storage;
mod transaction;
mod watch;
mod work;

pub use bytes::Bytes;
pub use database::{Database, OpenOptions};
pub use error::{OpenError, StoreError};
pub use transaction::Transaction;
pub use watch::Watch;
