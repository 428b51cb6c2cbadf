//! What can go wrong, as values whose text names the fix.
//!
//! [`OpenError`] is about the file, before there is a store; [`StoreError`] is about transactions.
//! Neither has a source chain: the cause is part of the text, and a `StoreError` is cloned to every
//! transaction of a failed batch.

use std::path::PathBuf;

use crate::limits::{MAX_ATTEMPTS, MAX_KEY_BYTES, MAX_TRANSACTION_BYTES, MAX_VALUE_BYTES, MAX_WATCHES};

/// Why a transaction, a read or a watch did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another transaction wrote what this one read. [`crate::Database::run`] retries it.
    #[error("another transaction wrote what this one read; retry it")]
    Conflict,
    /// The transaction outlived [`crate::limits::TRANSACTION_LIFETIME`], or its snapshot is gone.
    /// [`crate::Database::run`] retries it.
    #[error("the transaction is older than 5 s; do less in one transaction, or nothing slow between reads")]
    TransactionTooOld,
    /// Every attempt of a `run` failed in a way worth retrying; `last` is how.
    #[error(
        "transaction {name:?} gave up after {attempts} attempts (at most {MAX_ATTEMPTS}, 20 s): {last}; \
             spread the keys it contends for, or use atomic_add"
    )]
    RetriesExhausted {
        /// Name given to `run`.
        name: &'static str,
        /// Attempts made.
        attempts: u32,
        /// Failure of the last attempt.
        last: Box<StoreError>,
    },
    /// A key longer than [`MAX_KEY_BYTES`].
    #[error("key of {length} bytes is over the limit of {MAX_KEY_BYTES}; shorten or hash it")]
    KeyTooLarge {
        /// Length of the key in bytes.
        length: usize,
    },
    /// A value longer than [`MAX_VALUE_BYTES`].
    #[error("value of {length} bytes is over the limit of {MAX_VALUE_BYTES}; split it over several keys")]
    ValueTooLarge {
        /// Length of the value in bytes.
        length: usize,
    },
    /// The writes and conflict ranges of a transaction exceed [`MAX_TRANSACTION_BYTES`].
    #[error("transaction exceeds {MAX_TRANSACTION_BYTES} bytes; split it into several")]
    TransactionTooLarge,
    /// A key at or beyond [`crate::limits::KEYSPACE_END`].
    #[error("keys from 0xfe on are reserved; begin the key with another byte")]
    KeyOutsideKeyspace,
    /// A range whose begin is greater than its end.
    #[error("range begins after it ends; swap its bounds")]
    InvertedRange,
    /// A write in [`crate::Database::read`].
    #[error("a read-only transaction wrote; use Database::run")]
    WriteInReadOnly,
    /// The closure returned while its transaction was still alive elsewhere.
    #[error("the transaction outlived its closure; drop it before returning")]
    TransactionEscaped,
    /// [`MAX_WATCHES`] watches exist already.
    #[error("{MAX_WATCHES} watches exist already; drop some, or watch a key that several share")]
    TooManyWatches,
    /// The transaction that made the watch did not commit, or the store shut down.
    #[error("the watch was never armed or the store shut down; make a new one")]
    WatchCancelled,
    /// The disk is full. Nothing of the transaction was written; reads go on, and writes do once
    /// there is room.
    #[error("the disk holding the store is full ({place}); free some space and retry, nothing was written")]
    DiskFull {
        /// Store file, or cluster.
        place: String,
    },
    /// The file could not be read or written. Nothing of the transaction was written.
    #[error(
        "cannot read or write the store ({place}): {reason}; check the disk and retry, nothing was written"
    )]
    Io {
        /// Store file, or cluster.
        place: String,
        /// What the operating system or the file format said.
        reason: String,
    },
    /// The transaction may or may not be there, or survive a crash of the machine: the disk failed
    /// while its commit was being made durable, or the cluster never said and could not be asked.
    /// Read back what it wrote before repeating it.
    #[error(
        "the commit was not answered ({place}): {reason}; the transaction may or may not be durable, read \
             back what it wrote before repeating it, and check the disk or the cluster"
    )]
    CommitUnknown {
        /// Store file, or cluster.
        place: String,
        /// What the operating system said.
        reason: String,
    },
    /// A read of what the transaction's own versionstamp is part of.
    #[error("the versionstamp in there is known after the commit only; read it in the next transaction")]
    Unreadable,
    /// A hole for a versionstamp that does not lie within its key or value.
    #[error(
        "a versionstamp of 10 bytes at offset {offset} does not fit {length} bytes; leave it a hole of 10"
    )]
    VersionstampOffset {
        /// Where the hole begins.
        offset: usize,
        /// Length of the key or value in bytes.
        length: usize,
    },
    /// The transaction whose versionstamp was awaited did not commit, or wrote nothing.
    #[error("no versionstamp: the transaction did not commit, or wrote nothing; await it after the commit")]
    NoVersionstamp,
    /// The cluster did not answer in time. Whether anything was written: no.
    #[error(
        "the cluster does not answer ({place}): {reason}; check it with `fdbcli --exec status` and the \
             network between, nothing was written"
    )]
    Unavailable {
        /// Cluster.
        place: String,
        /// What the client library said.
        reason: String,
    },
    /// The store was shut down.
    #[error("the store is shut down; open it again")]
    Closed,
}

impl StoreError {
    /// Whether running the transaction again, unchanged, can succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict | Self::TransactionTooOld | Self::Unavailable { .. })
    }
}

/// Why a store could not be opened. The file is unchanged in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or this one, has the store open.
    #[error(
        "the store {path} is in use by another process; stop it, or give this one another path: an \
             embedded store serves one process, several need a FoundationDB cluster"
    )]
    InUse {
        /// Store file.
        path: PathBuf,
    },
    /// The file is not a store, is truncated, or fails its checksums.
    #[error(
        "the store {path} is damaged or not a store: {reason}; it was left as it is, restore it from a \
             backup or move it aside to start empty"
    )]
    Damaged {
        /// Store file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file was written by a newer version of this crate.
    #[error("the store {path} has format {found}, this version reads up to {supported}; upgrade Muster")]
    NewerFormat {
        /// Store file.
        path: PathBuf,
        /// Format number in the file.
        found: u64,
        /// Newest format this crate reads.
        supported: u64,
    },
    /// The operating system refused.
    #[error(
        "cannot open the store {path}: {reason}; check that its directory exists, is writable and has \
             room"
    )]
    Io {
        /// Store file.
        path: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// The cluster file is none, or its cluster does not answer.
    #[error(
        "cannot reach the FoundationDB cluster of {path}: {reason}; check that the file is the cluster's \
             own fdb.cluster and that `fdbcli -C {path} --exec status` answers from this machine"
    )]
    Cluster {
        /// Cluster file.
        path: PathBuf,
        /// What the client library said.
        reason: String,
    },
    /// This program was built without the driver.
    #[error("this muster was built without FoundationDB; build it with `--features foundationdb`")]
    NoDriver,
}
