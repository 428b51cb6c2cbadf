//! What a kind of workflow is, to those who write one: its names, its types, and its code.
//!
//! Two styles share one runtime. A [`Machine`] reacts to one event at a time, each in one transaction;
//! [`crate::Steps`] is a function that sleeps, waits and calls the outside.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use crate::address::Address;
use crate::context::Context;
use crate::error::{Failure, Invalid};

/// What every kind of workflow has.
pub trait Kind: Send + Sync + 'static {
    /// Its name: part of the stored format, so it never changes.
    const KIND: &'static str;
    /// Version of its code: raised when what is stored changes its meaning, never lowered.
    const VERSION: u32 = 1;
    /// How failed transitions are tried again.
    const RETRY: RetryPolicy = RetryPolicy::DEFAULT;
    /// How long it can be looked at once it is over.
    const RETENTION: Duration = Duration::from_hours(1);
    /// What it starts with.
    type Input: Message + Default;
    /// What it can be told.
    type Signal: Message + Default;

    /// The workflow of this kind with `key` in `namespace`.
    ///
    /// # Errors
    /// [`Invalid::Name`] if one is too long, or `namespace` empty.
    fn address(namespace: &str, key: &str) -> Result<Address, Invalid> {
        Address::new(namespace, Self::KIND, key)
    }
}

/// A workflow that reacts to one event at a time. Its state, what it writes into the store, the signals
/// and timers it sets and the event's consumption are one transaction: all of it happens, once.
pub trait Machine: Kind {
    /// What it knows.
    type State: Message + Default + Clone;

    /// The state that an older `version` stored as `state`.
    ///
    /// # Errors
    /// Text that says why it cannot be had. The workflow is then set aside, untouched.
    fn migrate(version: u32, state: &[u8]) -> Result<Self::State, String> {
        let _ = state;
        Err(format!("{} of version {} has no migration from version {version}", Self::KIND, Self::VERSION))
    }

    /// Lets `event` happen to `state`. It may run several times before it counts, so it has no effect but
    /// through `cx` and `state`; if it fails, neither changes.
    fn on(
        &self,
        cx: &mut Context<'_>,
        state: &mut Self::State,
        event: Event<Self>,
    ) -> impl Future<Output = Result<(), Failure>> + Send
    where
        Self: Sized;
}

/// What can happen to a [`Machine`].
#[derive(Debug)]
pub enum Event<K: Kind> {
    /// It begins: first of all events, once.
    Started(K::Input),
    /// Somebody told it something.
    Signal(K::Signal, Option<ReplyTo>),
    /// It was nudged since it last looked: what it reads now holds every change that came with a nudge.
    Nudged,
    /// A timer it set is due.
    Timer(String),
    /// A child it started is over.
    ChildEnded {
        /// The child.
        child: Address,
        /// Its output, or why there is none.
        outcome: Result<Bytes, String>,
    },
    /// It is to stop, and to undo what it did.
    Cancel,
}

/// Where the answer to a question goes. It can be kept in a state, and answered later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyTo(pub(crate) Bytes);

impl ReplyTo {
    /// As bytes, to be kept.
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// As kept by [`Self::to_bytes`].
    pub fn from_bytes(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

/// How what failed is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts, the first included; after the last it is given up.
    pub attempts: u32,
    /// Pause before the second attempt; it doubles with every further one.
    pub first: Duration,
    /// Longest pause.
    pub max: Duration,
}

impl RetryPolicy {
    /// Ten attempts within about five minutes.
    pub const DEFAULT: Self =
        Self { attempts: 10, first: Duration::from_millis(500), max: Duration::from_mins(1) };

    /// The pause after `failed` attempts, in milliseconds, or `None` if that was the last. `fraction`,
    /// from 0 to 1, spreads those who failed together over the last half of it.
    pub(crate) fn pause_ms(self, failed: u32, fraction: f64) -> Option<u64> {
        if failed >= self.attempts {
            return None;
        }
        let whole = self.first.saturating_mul(1 << failed.saturating_sub(1).min(20)).min(self.max);
        Some(whole.mul_f64(0.5 + fraction / 2.0).as_millis() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_end() {
        let policy =
            RetryPolicy { attempts: 5, first: Duration::from_millis(100), max: Duration::from_millis(350) };
        let pauses: Vec<_> = (1..=5).map(|failed| policy.pause_ms(failed, 1.0)).collect();
        assert_eq!(pauses, [Some(100), Some(200), Some(350), Some(350), None]);
        assert_eq!(policy.pause_ms(1, 0.0), Some(50));
        assert_eq!(RetryPolicy { attempts: u32::MAX, ..policy }.pause_ms(1_000_000, 1.0), Some(350));
    }
}
