//! What the engine keeps in the store, as prost messages: fields are added, never renumbered.
//!
//! An older worker that rewrites a record drops the fields it does not know. What keeps that from happening to workflows is
//! that work goes to the newest release and never back: so whoever adds a field here, or to a state, raises the
//! version of a kind, of which a release is the sum. What is written beside workflows, in inboxes and as replies, is never
//! rewritten; a lease or worker record is, by every release.

use bytes::Bytes;
use prost::Message as _;

use crate::address::Address;

/// An address as it is stored.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct WireAddress {
    /// Namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Kind.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// Key.
    #[prost(string, tag = "3")]
    pub key: String,
}

/// Where a workflow stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Status {
    /// It takes what comes.
    Running = 0,
    /// Its last transition failed; it waits to be tried again.
    Failing = 1,
    /// Somebody paused it; what comes waits.
    Paused = 2,
    /// It failed too often, or for good: a dead letter. What comes waits.
    Dead = 3,
    /// This installation has no code for it, or older code than its state needs. What comes waits.
    Blocked = 4,
    /// It is over.
    Finished = 5,
    /// It is over: somebody cancelled it, and what it had done was undone.
    Cancelled = 6,
    /// It is over: it failed, and what it had done was undone. Of the steps style.
    Failed = 7,
}

impl Status {
    /// Whether it is over.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled | Self::Failed)
    }

    /// As users read it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Failing => "failing",
            Self::Paused => "paused",
            Self::Dead => "dead",
            Self::Blocked => "blocked",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// A timer that is set.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TimerEntry {
    /// Name, unique in its workflow. Those that begin with `~` are the engine's own.
    #[prost(string, tag = "1")]
    pub name: String,
    /// When it is due, Unix time in milliseconds.
    #[prost(uint64, tag = "2")]
    pub due_ms: u64,
}

/// A transition, as history tells it.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HistoryEntry {
    /// When, Unix time in milliseconds.
    #[prost(uint64, tag = "1")]
    pub at_ms: u64,
    /// What happened: `started`, `signal`, `timer NAME`, …
    #[prost(string, tag = "2")]
    pub event: String,
    /// What came of it, if it is not that all went well.
    #[prost(string, tag = "3")]
    pub outcome: String,
}

/// A workflow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WorkflowRecord {
    /// Version of the code that wrote `state`.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Where it stands.
    #[prost(enumeration = "Status", tag = "2")]
    pub status: i32,
    /// Its state; of the steps style, its input.
    #[prost(bytes = "bytes", tag = "3")]
    pub state: Bytes,
    /// Transitions made so far. Each commits under the fence, so that this only grows, whoever makes them:
    /// commands to the outside carry it, and who receives them refuses lower ones.
    #[prost(uint64, tag = "4")]
    pub revision: u64,
    /// Timers that are set.
    #[prost(message, repeated, tag = "5")]
    pub timers: Vec<TimerEntry>,
    /// Failed attempts at what is to happen next.
    #[prost(uint32, tag = "6")]
    pub attempts: u32,
    /// Why it is failing, dead or blocked.
    #[prost(string, tag = "7")]
    pub reason: String,
    /// What it waits for, in its own words.
    #[prost(string, tag = "8")]
    pub waiting_for: String,
    /// When it was started, Unix time in milliseconds.
    #[prost(uint64, tag = "9")]
    pub created_ms: u64,
    /// When its last transition was, Unix time in milliseconds.
    #[prost(uint64, tag = "10")]
    pub changed_ms: u64,
    /// Signals that wait with it.
    #[prost(uint64, tag = "11")]
    pub parked: u64,
    /// Number of the next signal to wait with it.
    #[prost(uint64, tag = "12")]
    pub next_parked: u64,
    /// Its last transitions.
    #[prost(message, repeated, tag = "13")]
    pub history: Vec<HistoryEntry>,
    /// Who is told of its end.
    #[prost(message, optional, tag = "14")]
    pub parent: Option<WireAddress>,
    /// What came of it, once it is over.
    #[prost(bytes = "bytes", tag = "15")]
    pub output: Bytes,
    /// Whether it has started; before, a failing start is all there is of it.
    #[prost(bool, tag = "16")]
    pub started: bool,
    /// It is to stop and undo what it did.
    #[prost(bool, tag = "17")]
    pub cancelling: bool,
    /// Of the steps style: whether it is awake; asleep it waits for a timer or a signal.
    #[prost(bool, tag = "18")]
    pub awake: bool,
    /// Of the steps style: whether a signal wakes it.
    #[prost(bool, tag = "19")]
    pub receiving: bool,
    /// How often it has begun.
    #[prost(uint32, tag = "20")]
    pub runs: u32,
    /// It was nudged and has not looked since.
    #[prost(bool, tag = "21")]
    pub nudged: bool,
}

impl WorkflowRecord {
    /// The record that `row` is.
    ///
    /// # Errors
    /// Why it cannot be read, in words.
    pub(crate) fn read(row: &Bytes) -> Result<Self, String> {
        let record =
            Self::decode(row.clone()).map_err(|error| format!("its record cannot be read: {error}"))?;
        match Status::try_from(record.status) {
            Ok(_) => Ok(record),
            Err(_) => {
                Err(format!("its record stands at {}, which only a newer release knows", record.status))
            }
        }
    }
}

/// What comes to a workflow.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Envelope {
    /// For whom.
    #[prost(message, optional, tag = "1")]
    pub address: Option<WireAddress>,
    /// What.
    #[prost(enumeration = "EnvelopeKind", tag = "2")]
    pub kind: i32,
    /// Input, signal, or a child's output; of a timer, nothing.
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
    /// Where an answer is to go: key of the reply's row.
    #[prost(bytes = "bytes", tag = "4")]
    pub reply_key: Bytes,
    /// Of a start: who is told of the end. Of a child's end: the child.
    #[prost(message, optional, tag = "5")]
    pub other: Option<WireAddress>,
    /// Of a timer: its name. Of a child's end that is not a good one: why.
    #[prost(string, tag = "6")]
    pub text: String,
    /// Of a signal: a workflow that is not there is started first, with an empty input.
    #[prost(bool, tag = "7")]
    pub create: bool,
}

impl Envelope {
    /// The envelope that `row` is, and for whom; `None` if that cannot be read.
    pub(crate) fn whose(row: &Bytes) -> Option<(Self, Address)> {
        let envelope = Self::decode(row.clone()).ok()?;
        let address = Address::try_from(envelope.address.clone()?).ok()?;
        Some((envelope, address))
    }
}

/// What an [`Envelope`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum EnvelopeKind {
    /// Begin, unless it has begun.
    Start = 0,
    /// A signal.
    Signal = 1,
    /// A child is over.
    ChildEnded = 2,
    /// A timer that fired while the workflow could not take it.
    Timer = 3,
    /// Take nothing until resumed.
    Pause = 10,
    /// Go on after a pause.
    Resume = 11,
    /// Try a dead workflow again.
    Retry = 12,
    /// Stop, and undo what was done.
    Cancel = 13,
}

/// Who does the work of a shard.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct LeaseRecord {
    /// The worker; empty if nobody.
    #[prost(bytes = "bytes", tag = "1")]
    pub owner: Bytes,
    /// Grows whenever the owner changes.
    #[prost(uint64, tag = "2")]
    pub generation: u64,
}

/// A worker that lives.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct WorkerRecord {
    /// Grows with every heartbeat.
    #[prost(uint64, tag = "1")]
    pub heartbeat: u64,
    /// Sum of the versions of the kinds it knows: newer code has more.
    #[prost(uint64, tag = "2")]
    pub release: u64,
    /// What it calls itself, for people.
    #[prost(string, tag = "3")]
    pub name: String,
    /// It is stopping, and takes no more work.
    #[prost(bool, tag = "4")]
    pub leaving: bool,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReplyRecord {
    /// The answer.
    #[prost(bytes = "bytes", tag = "1")]
    pub payload: Bytes,
    /// Why there is none, if there is none.
    #[prost(string, tag = "2")]
    pub refused: String,
}

/// What became of one step.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct JournalRecord {
    /// What the step does: `step`, `sleep`, `receive`, …, to recognise code that has changed.
    #[prost(string, tag = "1")]
    pub what: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Its result, if it is done.
    #[prost(bytes = "bytes", tag = "3")]
    pub result: Bytes,
    /// Why it failed, if it did.
    #[prost(string, optional, tag = "4")]
    pub failed: Option<String>,
    /// Whether it is done; before, the record only tells of attempts, or of a sleep that has begun.
    #[prost(bool, tag = "5")]
    pub done: bool,
    /// Failed attempts so far.
    #[prost(uint32, tag = "6")]
    pub attempts: u32,
    /// Of a sleep, or of a pause before the next attempt: until when, Unix time in milliseconds.
    #[prost(uint64, tag = "7")]
    pub until_ms: u64,
    /// Whether it was undone.
    #[prost(bool, tag = "8")]
    pub undone: bool,
    /// When it was done, Unix time in milliseconds.
    #[prost(uint64, tag = "9")]
    pub at_ms: u64,
}
