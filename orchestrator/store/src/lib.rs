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
//! Database, Transaction      what callers see: retries, limits, a run that takes effect once
//!   admission, marker        FoundationDB's limits for all; idempotency where answers get lost
//! driver                     which of them is underneath
//!   local                    the transaction layer of the drivers that keep rows themselves
//!     embedded, memory       one redb file; a map for tests and simulation
//!   fdb                      a FoundationDB cluster (cargo feature `foundationdb`)
//! ```

mod admission;
mod atomic;
mod backoff;
mod database;
mod driver;
mod embedded;
mod error;
mod faults;
#[cfg(feature = "foundationdb")]
mod fdb;
mod frozen;
pub mod limits;
mod local;
mod location;
mod marker;
mod memory;
mod metrics;
mod range;
mod transaction;
mod versionstamp;
mod watch;

pub use atomic::AtomicOp;
pub use bytes::Bytes;
pub use database::{Database, OpenOptions};
pub use error::{OpenError, StoreError};
pub use faults::CommitFaults;
pub use frozen::Frozen;
pub use location::{InvalidLocation, StoreLocation};
pub use range::{prefix_end, successor};
pub use transaction::{ReadVersion, Transaction};
pub use versionstamp::{PendingVersionstamp, VERSIONSTAMP_BYTES, Versionstamp};
pub use watch::Watch;
