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
    /// A record says more than this version understands.
    #[error(
        "{what} was written by a newer version of Muster ({reason}); upgrade this orchestrator, or apply it again"
    )]
    Newer {
        /// Which.
        what: String,
        /// What was not understood.
        reason: String,
    },
}
