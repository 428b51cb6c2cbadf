//! What the transaction layer needs of a local driver: snapshots, and one durable write at a time.
//!
//! This is the inner seam. A driver below it knows neither conflicts nor watches nor limits; those
//! are this crate's. A driver that brings transactions of its own, as FoundationDB does, does not
//! come through here but stands beside [`crate::Transaction`].

use std::sync::Arc;

use bytes::Bytes;

use crate::error::StoreError;
use crate::local::buffer::WriteBuffer;

/// A key and its value.
pub(crate) type Row = (Bytes, Bytes);

/// Why a driver could not read or write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StorageFailure {
    /// The snapshot belongs to a file handle that has been given up: begin anew.
    Closed,
    /// No room on the disk.
    Full,
    /// The operating system or the file format failed.
    Io(String),
}

/// The database at one version, unchanging.
pub(crate) trait Snapshot: Send + Sync {
    /// Value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageFailure>;

    /// At most `limit` rows of `[begin, end)`, from its end downwards if `reverse`.
    fn scan(&self, begin: &[u8], end: &[u8], limit: usize, reverse: bool)
    -> Result<Vec<Row>, StorageFailure>;
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Durable.
    Durable,
    /// Not there, and will not come back.
    Not(StorageFailure),
    /// There now, but the disk failed while making it durable.
    Unproven(StorageFailure),
    /// Not known, and the file cannot be opened to look.
    Unknown(StorageFailure),
}

/// A place that keeps rows.
pub(crate) trait Storage: Send {
    /// Version of the last batch, and a snapshot at it.
    fn snapshot(&self) -> Result<(u64, Arc<dyn Snapshot>), StorageFailure>;

    /// Makes a batch, whose additions are settled, durable as `version`: all of it or nothing.
    fn apply(&mut self, version: u64, batch: &WriteBuffer) -> Applied;

    /// Counts how often the file was opened; snapshots of an earlier count may be closed.
    fn generation(&self) -> u64;

    /// Opens the file again after a failure.
    fn recover(&mut self) -> Result<(), StorageFailure>;
}

impl StorageFailure {
    /// In words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Closed => "the file was closed after an earlier failure".to_owned(),
            Self::Full => "no space left".to_owned(),
            Self::Io(reason) => reason.clone(),
        }
    }

    /// As users of the store see it.
    pub(crate) fn into_error(self, place: &str) -> StoreError {
        match self {
            Self::Full => StoreError::DiskFull { place: place.to_owned() },
            other => StoreError::Io { place: place.to_owned(), reason: other.reason() },
        }
    }
}
