//! Every bound of the engine, in one place.
//!
//! None can be configured: replicas that share a store must agree on most of them, and the others would
//! make code that works in one installation fail in another.

use std::time::Duration;

/// Shards that workflows are spread over. Part of the stored format: never changed.
pub const SHARDS: u8 = 64;
/// Longest namespace, kind or timer name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest key of a workflow, in bytes.
pub const MAX_KEY_BYTES: usize = 512;
/// Largest signal, input, output or reply, in bytes.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Largest state of a workflow, in bytes: with its record it must fit a value of the store.
pub const MAX_STATE_BYTES: usize = 80 * 1024;
/// Signals that wait for the workflows of one namespace in one shard, in its inbox or with those that stand still. Who
/// sends more is refused with [`Full`](crate::Full); the ends of children and what operators ask are let through, one
/// each. Senders do not conflict, so that those who send at the same moment may go beyond it together.
pub const MAX_WAITING: u64 = 10_000;
/// Timers of one workflow.
pub const MAX_TIMERS: usize = 16;
/// Transitions that a workflow's record remembers, the last ones.
pub const HISTORY: usize = 12;
/// Longest text a record keeps of a failure or a wait, in bytes.
pub const MAX_TEXT_BYTES: usize = 500;

/// Signals and timers handled in one transaction. Halved with each attempt that conflicts.
pub const BATCH: usize = 128;
/// Time after which a batch takes nothing further, so that it commits well within the store's 5 s.
pub const BATCH_TIME: Duration = Duration::from_millis(500);
/// Time one transition may take.
pub const HANDLER_TIMEOUT: Duration = Duration::from_secs(2);
/// Zones looked at in one turn of a shard; the next turn begins behind them.
pub const ZONES_PER_TURN: usize = 16;
/// Signals that waited with their workflow, delivered in one turn.
pub const PARKED_PER_TURN: usize = 64;
/// Signals held for a workflow that could not be read, given back in one transaction: few enough that the largest fit.
pub const HELD_PER_TURN: usize = 64;
/// Longest time without a look at the store, in case a watch was lost; each is a random half to whole of it.
pub const SLOW_POLL: Duration = Duration::from_mins(1);
/// Longest sleep before the clock is read again, in case it was set.
pub const CLOCK_POLL: Duration = Duration::from_secs(1);
/// Time in which nudges of a workflow gather before it looks.
pub const NUDGE_GATHER: Duration = Duration::from_millis(20);
/// How long a zone must have been empty before its pointer is removed.
pub const ZONE_LINGER: Duration = Duration::from_secs(10);
/// Bytes of state kept in memory by one shard.
pub const CACHE_BYTES_PER_SHARD: usize = 1024 * 1024;

/// Time between two heartbeats, and looks at those of others.
pub const HEARTBEAT: Duration = Duration::from_millis(750);
/// A worker whose heartbeat stood still for this long is dead.
pub const LEASE_TIMEOUT: Duration = Duration::from_secs(3);
/// Looks at a heartbeat that must have found it unchanged, besides the time.
pub const LEASE_LOOKS: u32 = 4;
/// Workers of one store.
pub const MAX_WORKERS: usize = 256;
/// Pause after a failure of the store, before the next try.
pub const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Steps-style workflows awake at once in one shard; others wait for their turn.
pub const MAX_AWAKE_PER_SHARD: usize = 64;
/// Steps of one workflow: a job that needs more starts children.
pub const MAX_STEPS: u32 = 1_000;

/// Time a reply that nobody fetched is kept, at least.
pub const REPLY_KEPT: Duration = Duration::from_mins(10);
/// Workflows in one page of a list.
pub const MAX_PAGE: usize = 1_000;
