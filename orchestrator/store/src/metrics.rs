//! The store's metrics: names, units and descriptions, all in this file.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const COMMITS: &str = "muster_store_commits_total";
const CONFLICTS: &str = "muster_store_conflicts_total";
const TOO_OLD: &str = "muster_store_too_old_total";
const EXHAUSTED: &str = "muster_store_retries_exhausted_total";
const FAILURES: &str = "muster_store_commit_failures_total";
const BATCH: &str = "muster_store_batch_transactions";
const DURABLE_SECONDS: &str = "muster_store_durable_write_seconds";
const COMMIT_SECONDS: &str = "muster_store_commit_seconds";
const WATCHES: &str = "muster_store_watches";

/// Registers the descriptions with the recorder installed, if any. Harmless to repeat.
pub(crate) fn describe() {
    describe_counter!(COMMITS, Unit::Count, "Transactions with writes made durable");
    describe_counter!(CONFLICTS, Unit::Count, "Transactions refused because another wrote what they read");
    describe_counter!(TOO_OLD, Unit::Count, "Transactions refused because they outlived 5 s");
    describe_counter!(EXHAUSTED, Unit::Count, "Runs that gave up retrying, by name");
    describe_counter!(FAILURES, Unit::Count, "Batches the disk failed to take");
    describe_histogram!(BATCH, Unit::Count, "Transactions in one durable write");
    describe_histogram!(DURABLE_SECONDS, Unit::Seconds, "Time of one durable write, disk sync included");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time from a transaction's commit call to its answer");
    describe_gauge!(WATCHES, Unit::Count, "Watches that exist");
}

/// A durable write of `transactions` took `elapsed`.
pub(crate) fn batch_committed(transactions: usize, elapsed: Duration) {
    counter!(COMMITS).increment(transactions as u64);
    histogram!(BATCH).record(transactions as f64);
    histogram!(DURABLE_SECONDS).record(elapsed.as_secs_f64());
}

/// A batch was not made durable.
pub(crate) fn batch_failed() {
    counter!(FAILURES).increment(1);
}

/// A transaction conflicted.
pub(crate) fn conflict() {
    counter!(CONFLICTS).increment(1);
}

/// A transaction was too old to be judged.
pub(crate) fn too_old() {
    counter!(TOO_OLD).increment(1);
}

/// A transaction's commit was answered, whichever way.
pub(crate) fn commit_answered(elapsed: Duration) {
    histogram!(COMMIT_SECONDS).record(elapsed.as_secs_f64());
}

/// A run gave up.
pub(crate) fn retries_exhausted(name: &'static str) {
    counter!(EXHAUSTED, "name" => name).increment(1);
}

/// This many watches exist.
pub(crate) fn watches(count: usize) {
    gauge!(WATCHES).set(count as f64);
}
