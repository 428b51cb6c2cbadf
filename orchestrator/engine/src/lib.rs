//! Muster's durable engine: workflows that survive every crash, on the store.
//!
//! A workflow is a durable actor: it has an address (namespace, kind, key), state, an inbox of signals,
//! timers and children. Many processes, the workers, share the work by leases; what a worker commits, it
//! commits only while the store says that the lease is its own.
//!
//! # Two styles
//! A [`Machine`] reacts to one event at a time, each in one transaction: for lives that are hot. [`Steps`]
//! is a function whose steps are journaled: for jobs that are long, call the outside and may have to be
//! undone.
//!
//! # Once
//! What a transition does to the store, its new state, the signals and timers it sets, its answer and the
//! consumption of what caused it are one transaction: exactly once. What a step does to the outside happens
//! at least once, with a key that is the same each time.
//!
//! # Layers
//! ```text
//! send, ask, inspect     what anybody can do, with a transaction
//! kind, context, steps   what the code of workflows sees
//! engine, members        workers: who lives, who does the work of which shard
//!   shard                a shard's work, a batch at a time
//!   steps                the steps style: who is awake, and what they have done
//! held                   what cannot be read, and what comes for it meanwhile
//! records, keyspace      what is stored, and where; check: whether it agrees
//! ```
//! It is not a queue for anything else, and it keeps no data of the caller's: a transition writes that
//! itself, in the same transaction.

mod address;
mod ask;
pub mod check;
mod clock;
mod context;
mod engine;
mod error;
mod held;
pub mod inspect;
mod keyspace;
mod kind;
pub mod limits;
mod members;
mod metrics;
mod records;
mod registry;
mod send;
mod shard;
mod steps;

pub use address::{Address, ShardIndex};
pub use ask::ask;
pub use clock::{Clock, SystemClock, TokioClock};
pub use context::Context;
pub use engine::{Engine, Options};
pub use error::{AskError, Failure, Full, Invalid, SendError};
pub use keyspace::ROOT;
pub use kind::{Event, Kind, Machine, ReplyTo, RetryPolicy};
pub use members::WorkerId;
pub use records::{HistoryEntry, JournalRecord, Status, TimerEntry, WireAddress, WorkflowRecord};
pub use registry::Registry;
pub use send::{Control, control, nudge, signal, signal_or_start, start};
pub use steps::{IdempotencyKey, Received, StepContext, StepError, StepPolicy, Steps};
