//! Tickets, the index of those that search, and their counts.

use std::collections::BTreeMap;

use muster_protocol::id::TicketId;
use muster_store::Transaction;
use prost::Message;

use super::servers::Derived;
use super::{StateError, kv, timers};
use crate::keyspace::{self, Timer};
use crate::records::{SearchingTicket, TicketRecord, TicketState};

/// Most tickets of one queue that search at a time.
pub const MAX_SEARCHING: usize = 100_000;
/// Most rows of counters read at once: states of queues.
const MAX_COUNTERS: usize = 100_000;

/// The ticket. Conflicts with its changes.
pub async fn load(tx: &mut Transaction, ticket: TicketId) -> Result<Option<TicketRecord>, StateError> {
    kv::load(tx, &keyspace::ticket(ticket)).await
}

/// As [`load`], without conflicting.
pub async fn peek(tx: &mut Transaction, ticket: TicketId) -> Result<Option<TicketRecord>, StateError> {
    kv::peek(tx, &keyspace::ticket(ticket)).await
}

/// Writes a ticket; `before` is what is there, if anything is.
pub(crate) fn save(tx: &mut Transaction, before: Option<&TicketRecord>, after: &TicketRecord) {
    let id = after.typed_id();
    let searching = |record: &TicketRecord| record.state() == TicketState::Searching;
    kv::save(tx, &keyspace::ticket(id), after);
    if before.is_none_or(|record| record.state != after.state) {
        if let Some(before) = before {
            tx.atomic_add(&count_key(before), -1);
        }
        tx.atomic_add(&count_key(after), 1);
    }
    let (key, row) = index_row(after);
    let was_searching = before.is_some_and(searching);
    if searching(after) && !was_searching {
        tx.set(&key, &row);
        timers::set(tx, after.expires_at_ms, &Timer::TicketExpiry(id));
        kv::bump(tx, &keyspace::queue_revision(&after.namespace, &after.queue));
    }
    if was_searching && !searching(after) {
        tx.clear(&key);
        timers::clear(tx, after.expires_at_ms, &Timer::TicketExpiry(id));
    }
    if after.ended_at_ms > 0 && before.is_none_or(|record| record.ended_at_ms == 0) {
        // The timer loop, which knows how long what is over is kept, moves it on from here.
        timers::set(tx, after.ended_at_ms, &Timer::TicketRemoval(id));
    }
}

/// The row by which a ticket is found while it searches.
fn index_row(record: &TicketRecord) -> (Vec<u8>, Vec<u8>) {
    let key = keyspace::ticket_searching(&record.namespace, &record.queue, record.typed_id());
    let row =
        SearchingTicket { latencies_ms: record.latencies_ms.clone(), created_at_ms: record.created_at_ms };
    (key, row.encode_to_vec())
}

/// What must be there besides `record`: rows, and the counter it is counted in.
pub(crate) fn derived(record: &TicketRecord) -> Derived {
    let mut rows = BTreeMap::new();
    if record.state() == TicketState::Searching {
        rows.extend([index_row(record)]);
        let expiry = Timer::TicketExpiry(record.typed_id());
        rows.insert(keyspace::timer(record.expires_at_ms, &expiry), Vec::new());
    }
    Derived { rows, count: count_key(record) }
}

/// Removes a ticket that is over.
pub(crate) fn remove(tx: &mut Transaction, record: &TicketRecord) {
    tx.clear(&keyspace::ticket(record.typed_id()));
    tx.atomic_add(&count_key(record), -1);
}

fn count_key(record: &TicketRecord) -> Vec<u8> {
    keyspace::ticket_count(&record.namespace, &record.queue, record.state())
}

/// Number of tickets of a queue in a state, without conflicting.
pub async fn count(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    state: TicketState,
) -> Result<u32, StateError> {
    let number = kv::peek_number(tx, &keyspace::ticket_count(namespace, queue, state)).await?;
    Ok(u32::try_from(number).unwrap_or(0))
}

/// Tickets of a namespace, or of all if `namespace` is `None`, by state, without conflicting.
pub async fn totals(
    tx: &mut Transaction,
    namespace: Option<&str>,
) -> Result<BTreeMap<TicketState, u32>, StateError> {
    let range = namespace.map_or_else(keyspace::all_ticket_counts, keyspace::ticket_counts_of_namespace);
    let mut totals = BTreeMap::new();
    for (key, number) in kv::scan_numbers(tx, &range, MAX_COUNTERS).await? {
        if let Some((.., state)) = keyspace::split_ticket_count(&key)
            && number > 0
        {
            *totals.entry(state).or_default() += number as u32;
        }
    }
    Ok(totals)
}

/// Searching tickets of a queue, oldest first, at most `limit`, without conflicting.
pub(crate) async fn searching(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    limit: usize,
) -> Result<Vec<(TicketId, SearchingTicket)>, StateError> {
    let rows = kv::scan(tx, &keyspace::tickets_searching(namespace, queue), limit).await?;
    Ok(rows.into_iter().filter_map(|(key, row)| Some((keyspace::last_id(&key)?, row))).collect())
}
