//! Every bound of the store, in one place.
//!
//! The first group is FoundationDB's own, enforced by every driver so that what runs embedded runs
//! on a cluster. The second group bounds this crate's queues, tables and loops. Nothing here is
//! configurable: a limit that differs between deployments would make code that works on one fail
//! on another.

use std::time::Duration;

/// Longest key, in bytes: FoundationDB's 10,000, less room for a prefix.
pub const MAX_KEY_BYTES: usize = 10_000 - MAX_PREFIX_BYTES;
/// Longest prefix that an installation's keys have in a cluster, in bytes.
pub const MAX_PREFIX_BYTES: usize = 100;
/// Longest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 100_000;
/// Largest transaction, in bytes: keys and values written, and the keys of its conflict ranges.
pub const MAX_TRANSACTION_BYTES: usize = 10_000_000;
/// How long a transaction may read and commit after it began.
pub const TRANSACTION_LIFETIME: Duration = Duration::from_secs(5);
/// First key that is out of bounds: keys from here on are the store's own, and from 0xff on
/// FoundationDB's.
pub const KEYSPACE_END: &[u8] = b"\xfe";

/// Attempts of one `run` before it gives up with `RetriesExhausted`.
pub const MAX_ATTEMPTS: u32 = 256;
/// Time after which `run` makes no further attempt.
pub const MAX_RETRY_TIME: Duration = Duration::from_secs(20);
/// Upper bound of the pause before the second attempt; it doubles with every further attempt.
pub const BACKOFF_START: Duration = Duration::from_millis(1);
/// Upper bound of any pause between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_millis(100);

/// Watches that may exist at once on one database.
pub const MAX_WATCHES: usize = 100_000;
/// Transactions that may wait for the commit thread; further ones wait to be queued.
pub const COMMIT_QUEUE: usize = 4_096;
/// Transactions in one durable commit.
pub const MAX_BATCH_TRANSACTIONS: usize = 1_024;
/// Bytes after which no further transaction joins a durable commit.
pub const MAX_BATCH_BYTES: usize = 32_000_000;
/// Rows read between two points where a range read lets other tasks run.
pub const SCAN_CHUNK_ROWS: usize = 1_024;
/// Written keys and range bounds the resolver remembers. Beyond it the oldest are forgotten early,
/// and transactions that began before them are too old.
pub const MAX_RESOLVER_ENTRIES: usize = 4_000_000;
/// Span of writes the resolver keeps, and forgets, together.
pub const RESOLVER_EPOCH: Duration = Duration::from_secs(1);
/// Bytes of repair an open may hold back while it is not yet known that the file is sound.
pub const MAX_STAGED_BYTES: usize = 512 * 1024 * 1024;
