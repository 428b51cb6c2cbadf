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

/// Too many signals wait already, so that one more was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{waiting} signals wait already in {namespace}, in the shard of {address}, and {limit} may; `muster workflow ls` says \
     what stands still there: resume or retry it, or send again later",
    namespace = .address.namespace(),
    limit = crate::limits::MAX_WAITING
)]
pub struct Full {
    /// For whom it was.
    pub address: Address,
    /// How many wait for the workflows of its namespace in its shard.
    pub waiting: u64,
}

/// Why something was not sent. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be sent to anybody.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It cannot be sent now.
    #[error(transparent)]
    Full(#[from] Full),
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

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Store(error) => Self::Store(error),
            SendError::Invalid(invalid) => invalid.into(),
            SendError::Full(full) => Self::Because(full.to_string()),
        }
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
    /// The question cannot be sent now.
    #[error(transparent)]
    Full(#[from] Full),
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

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Store(error) => Self::Store(error),
            SendError::Invalid(invalid) => Self::Invalid(invalid),
            SendError::Full(full) => Self::Full(full),
        }
    }
}
