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
//! ```ignore
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
//! ```
//!
//! The bound is `F: FnMut(Transaction) -> Fut, Fut: Future<Output = Result<T, E>>`, which an
//! `async |mut tx| { … }` closure satisfies as long as it does not mutate what it captures. Drop
//! the transaction with the closure: the driver commits once the closure has returned `Ok`.
//! Where the error type cannot be inferred, end with `Ok::<_, StoreError>(value)`.
