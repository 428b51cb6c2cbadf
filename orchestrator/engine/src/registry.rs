//! The kinds of workflow that a worker has code for, with their types erased.
//!
//! Nothing is run from here.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message;

use crate::address::Address;
use crate::context::Context;
use crate::error::Failure;
use crate::kind::{Event, Machine, ReplyTo, RetryPolicy};
use crate::steps::{AnySteps, Erased as ErasedSteps, Steps};

/// What a worker has code for.
#[derive(Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Registered>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.kinds.keys()).finish()
    }
}

/// A kind there is code for.
pub(crate) struct Registered {
    pub(crate) version: u32,
    pub(crate) retry: RetryPolicy,
    pub(crate) retention: Duration,
    pub(crate) code: Code,
}

/// The code of a kind.
pub(crate) enum Code {
    Machine(Box<dyn AnyMachine>),
    Steps(std::sync::Arc<dyn AnySteps>),
}

impl Registry {
    /// Knows no kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows `machine`'s kind too; the last code of a kind counts.
    #[must_use]
    pub fn with_machine<M: Machine>(mut self, machine: M) -> Self {
        let code = Code::Machine(Box::new(ErasedMachine(machine)));
        self.add(M::KIND, Registered { version: M::VERSION, retry: M::RETRY, retention: M::RETENTION, code });
        self
    }

    /// Knows `steps`' kind too; the last code of a kind counts.
    #[must_use]
    pub fn with_steps<S: Steps>(mut self, steps: S) -> Self {
        let code = Code::Steps(std::sync::Arc::new(ErasedSteps(steps)));
        self.add(S::KIND, Registered { version: S::VERSION, retry: S::RETRY, retention: S::RETENTION, code });
        self
    }

    fn add(&mut self, kind: &'static str, registered: Registered) {
        self.kinds.insert(kind, registered);
    }

    /// The code of `kind`.
    pub(crate) fn get(&self, kind: &str) -> Option<&Registered> {
        self.kinds.get(kind)
    }

    /// Sum of all versions: greater in newer code, since versions only grow and kinds are only added.
    pub(crate) fn release(&self) -> u64 {
        self.kinds.values().map(|kind| u64::from(kind.version)).sum()
    }
}

/// A state whose type is forgotten.
pub(crate) trait AnyState: Any + Send + Sync {
    fn clone_box(&self) -> Box<dyn AnyState>;
    fn encode(&self) -> Vec<u8>;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<S: Message + Clone + 'static> AnyState for S {
    fn clone_box(&self) -> Box<dyn AnyState> {
        Box::new(self.clone())
    }

    fn encode(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// What happens, before its types are known.
#[derive(Debug)]
pub(crate) enum RawEvent {
    Started(Bytes),
    Signal(Bytes, Option<ReplyTo>),
    Nudged,
    Timer(String),
    ChildEnded(Address, Result<Bytes, String>),
    Cancel,
}

impl RawEvent {
    /// As history tells it.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::Started(_) => "started".to_owned(),
            Self::Signal(..) => "signal".to_owned(),
            Self::Nudged => "nudged".to_owned(),
            Self::Timer(name) => format!("timer {name}"),
            Self::ChildEnded(child, _) => format!("end of {}/{}", child.kind(), child.key()),
            Self::Cancel => "cancel".to_owned(),
        }
    }
}

/// A [`Machine`] whose types are forgotten.
pub(crate) trait AnyMachine: Send + Sync {
    fn fresh(&self) -> Box<dyn AnyState>;
    fn decode(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyState>, String>;
    fn on<'a>(
        &'a self,
        cx: &'a mut Context<'_>,
        state: &'a mut dyn AnyState,
        event: RawEvent,
    ) -> BoxFuture<'a, Result<(), Failure>>;
}

struct ErasedMachine<M>(M);

impl<M: Machine> AnyMachine for ErasedMachine<M> {
    fn fresh(&self) -> Box<dyn AnyState> {
        Box::new(M::State::default())
    }

    fn decode(&self, version: u32, state: &[u8]) -> Result<Box<dyn AnyState>, String> {
        if version == M::VERSION {
            let decoded =
                M::State::decode(state).map_err(|error| format!("its state cannot be read: {error}"))?;
            return Ok(Box::new(decoded));
        }
        Ok(Box::new(M::migrate(version, state)?))
    }

    fn on<'a>(
        &'a self,
        cx: &'a mut Context<'_>,
        state: &'a mut dyn AnyState,
        event: RawEvent,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            let state = state.as_any().downcast_mut().expect("made by this machine's fresh or decode");
            self.0.on(cx, state, typed(event)?).await
        })
    }
}

fn typed<M: Machine>(event: RawEvent) -> Result<Event<M>, Failure> {
    let foreign =
        |error: prost::DecodeError| Failure::Final(format!("it was sent what it cannot read: {error}"));
    Ok(match event {
        RawEvent::Started(input) => Event::Started(M::Input::decode(input).map_err(foreign)?),
        RawEvent::Signal(signal, reply) => Event::Signal(M::Signal::decode(signal).map_err(foreign)?, reply),
        RawEvent::Nudged => Event::Nudged,
        RawEvent::Timer(name) => Event::Timer(name),
        RawEvent::ChildEnded(child, outcome) => Event::ChildEnded { child, outcome },
        RawEvent::Cancel => Event::Cancel,
    })
}
