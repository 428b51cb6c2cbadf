//! What can go wrong between the store and its records.

use muster_store::StoreError;

/// Why a record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store itself failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not decode: the store was written by something else, or damaged.
    #[error("the {kind} record at key {key} does not decode ({reason}); restore the store from a backup")]
    Corrupt {
        /// Type of the record.
        kind: &'static str,
        /// The key, as a byte string.
        key: String,
        /// What the decoder said.
        reason: String,
    },
}
