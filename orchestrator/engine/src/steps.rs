//! The steps style: a workflow written as a function that calls the outside, sleeps and waits for signals.
//!
//! ```text
//! awake      which of a shard's are in memory, and the task of each
//! run        one of them, from its beginning until it sleeps or ends
//! context    what its code can do; each is one step
//! journal    what became of each step, in the store, under the fence
//! ```
//!
//! What a step came to is in the journal, so after a crash, or a sleep, the function runs again from its
//! start and is given the results it had. It must therefore do the same steps in the same order each time:
//! everything that could differ goes into a step. Asleep, it is rows in the store and nothing else.

mod awake;
mod context;
mod journal;
mod run;

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use prost::Message;

pub(crate) use awake::Awake;
pub use context::{Received, StepContext};

use crate::error::Failure;
use crate::kind::{Kind, RetryPolicy};

/// A workflow that is a function of steps.
pub trait Steps: Kind {
    /// The oldest version whose workflows this code goes on with: it asks [`StepContext::version`] where it has
    /// changed, and does for older ones the steps that they began with.
    const OLDEST: u32 = Self::VERSION;
    /// What comes of it.
    type Output: Message + Default;

    /// Runs it. What it does to the outside it does in steps of `cx`.
    fn run(
        &self,
        cx: StepContext,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self::Output, StepError>> + Send
    where
        Self: Sized;
}

/// How a step is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPolicy {
    /// How failed attempts are tried again.
    pub retry: RetryPolicy,
    /// Time that one attempt may take.
    pub timeout: Duration,
}

impl StepPolicy {
    /// Ten attempts of at most 30 s.
    pub const DEFAULT: Self = Self { retry: RetryPolicy::DEFAULT, timeout: Duration::from_secs(30) };
}

impl Default for StepPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a step did not come to a result. Its workflow undoes what it did unless it catches this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// All its attempts failed; this is the last one's reason.
    #[error("step {name:?} failed: {reason}")]
    Failed {
        /// Name of the step.
        name: String,
        /// Why.
        reason: String,
    },
    /// The workflow was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Something of the workflow's own.
    #[error("{0}")]
    Because(String),
}

/// What names one step to the outside, the same at every attempt: send it along, so that whoever is asked
/// twice does it once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(pub(crate) String);

impl IdempotencyKey {
    /// As text: the workflow's address, how often it has begun, and the step's number.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// [`Steps`] whose types are forgotten.
pub(crate) trait AnySteps: Send + Sync {
    /// The oldest version it has code for.
    fn oldest(&self) -> u32;

    fn run(&self, cx: StepContext, input: Bytes) -> BoxFuture<'_, Result<Bytes, StepError>>;
}

pub(crate) struct Erased<S>(pub(crate) S);

impl<S: Steps> AnySteps for Erased<S> {
    fn oldest(&self) -> u32 {
        S::OLDEST
    }

    fn run(&self, cx: StepContext, input: Bytes) -> BoxFuture<'_, Result<Bytes, StepError>> {
        async move {
            let foreign = |error| StepError::Because(format!("its input cannot be read: {error}"));
            let input = S::Input::decode(input).map_err(foreign)?;
            let output = self.0.run(cx, input).await?;
            crate::send::payload("output", &output)
                .map_err(|invalid| StepError::Because(Failure::from(invalid).to_string()))
        }
        .boxed()
    }
}
