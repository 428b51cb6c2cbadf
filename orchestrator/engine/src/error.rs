//! What can go wrong with the engine, as values whose text names the fix.

use muster_store::StoreError;

use crate::address::Address;

/// An argument that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A part of an address, or a timer's name, is empty or too long.
    #[error("{what} has {length} bytes; it must have 1 to {limit} (a key may be empty)")]
    Name {
        /// Which part.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most it may have.
        limit: usize,
    },
    /// A signal, input, output, reply or state is too large.
    #[error("{what} of {length} bytes is over the limit of {limit}; keep large things in rows of your own")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The most it may have.
        limit: usize,
    },
    /// A workflow wants more timers than it may have.
    #[error("a workflow has at most {} timers; use one for what is due next", crate::limits::MAX_TIMERS)]
    TooManyTimers,
}

/// Why a transition did not happen. The workflow is tried again, later and later, and in the end set
/// aside with this as the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The store: it is the batch that failed, not this workflow.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of the workflow's own.
    #[error("{0}")]
    Because(String),
    /// As [`Self::Because`], where trying again is pointless.
    #[error("{0}")]
    Final(String),
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        // What is too large now is too large the next time.
        Self::Final(invalid.to_string())
    }
}

/// Why a request of a workflow was not answered as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The question cannot be sent.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No answer in time. The signal may still be handled.
    #[error("{0} did not answer in time; `muster workflow show` says what it waits for")]
    TimedOut(Address),
    /// The workflow will not answer.
    #[error("{address} did not answer: {reason}")]
    Refused {
        /// Who was asked.
        address: Address,
        /// Why not.
        reason: String,
    },
    /// The answer is not of the expected type.
    #[error("{address} answered with something else: {reason}")]
    NotAnAnswer {
        /// Who was asked.
        address: Address,
        /// What is wrong with it.
        reason: String,
    },
}
