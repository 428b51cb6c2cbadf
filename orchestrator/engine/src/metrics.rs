//! The engine's metrics: names, units and descriptions, all in this file.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const TRANSITIONS: &str = "muster_engine_transitions_total";
const FAILURES: &str = "muster_engine_failures_total";
const DEAD: &str = "muster_engine_dead_letters_total";
const UNREADABLE: &str = "muster_engine_unreadable_total";
const REFUSED: &str = "muster_engine_refused_signals_total";
const FULL: &str = "muster_engine_full_inboxes_total";
const TURN_SECONDS: &str = "muster_engine_turn_seconds";
const TURN_ITEMS: &str = "muster_engine_turn_items";
const SHARDS: &str = "muster_engine_shards_held";
const LEASES_LOST: &str = "muster_engine_leases_lost_total";
const TAKEN: &str = "muster_engine_leases_taken_total";
const AWAKE: &str = "muster_engine_steps_awake";

/// Registers the descriptions with the recorder installed, if any. Harmless to repeat.
pub(crate) fn describe() {
    describe_counter!(TRANSITIONS, Unit::Count, "Transitions of workflows made durable, by kind");
    describe_counter!(FAILURES, Unit::Count, "Transitions that failed and are tried again, by kind");
    describe_counter!(DEAD, Unit::Count, "Workflows that failed too often and were set aside, by kind");
    describe_counter!(
        UNREADABLE,
        Unit::Count,
        "Workflows, and signals of nobody knows which, set aside because this release cannot read them, by kind"
    );
    describe_counter!(REFUSED, Unit::Count, "Signals to workflows that are not there, by kind");
    describe_counter!(FULL, Unit::Count, "Signals not sent because too many wait already, by kind");
    describe_histogram!(TURN_SECONDS, Unit::Seconds, "Time of one turn of a shard, its commit included");
    describe_histogram!(TURN_ITEMS, Unit::Count, "Signals and timers handled in one turn of a shard");
    describe_gauge!(SHARDS, Unit::Count, "Shards whose work this process does");
    describe_counter!(LEASES_LOST, Unit::Count, "Shards another worker took because this one was slow");
    describe_counter!(TAKEN, Unit::Count, "Shards taken over, by why");
    describe_gauge!(AWAKE, Unit::Count, "Workflows of the steps style that are awake in this process");
}

pub(crate) fn transitions(kind: &str, count: u64) {
    counter!(TRANSITIONS, "kind" => kind.to_owned()).increment(count);
}

pub(crate) fn failed(kind: &str) {
    counter!(FAILURES, "kind" => kind.to_owned()).increment(1);
}

pub(crate) fn died(kind: &str) {
    counter!(DEAD, "kind" => kind.to_owned()).increment(1);
}

/// `kind` is empty for signals of nobody knows which.
pub(crate) fn unreadable(kind: &str) {
    counter!(UNREADABLE, "kind" => kind.to_owned()).increment(1);
}

pub(crate) fn refused(kind: &str) {
    counter!(REFUSED, "kind" => kind.to_owned()).increment(1);
}

pub(crate) fn full(kind: &str) {
    counter!(FULL, "kind" => kind.to_owned()).increment(1);
}

pub(crate) fn turn(items: usize, elapsed: Duration) {
    histogram!(TURN_ITEMS).record(items as f64);
    histogram!(TURN_SECONDS).record(elapsed.as_secs_f64());
}

pub(crate) fn shards_held(count: usize) {
    gauge!(SHARDS).set(count as f64);
}

pub(crate) fn lease_lost() {
    counter!(LEASES_LOST).increment(1);
}

pub(crate) fn leases_taken(why: &'static str, count: usize) {
    counter!(TAKEN, "why" => why).increment(count as u64);
}

pub(crate) fn awake(change: f64) {
    gauge!(AWAKE).increment(change);
}
