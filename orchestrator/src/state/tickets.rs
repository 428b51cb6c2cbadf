//! Tickets, the index of those that search, and their counts.

use std::collections::BTreeMap;

use bytes::Bytes;
use muster_protocol::id::TicketId;
use muster_store::Transaction;
use prost::Message;

use super::servers::Derived;
use super::{StateError, kv, recordings, timers};
use crate::keyspace::{self, Timer};
use crate::records::{SearchingTicket, TicketRecord, TicketState};

/// Most tickets of one queue that search at a time.
pub const MAX_SEARCHING: usize = 200_000;
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
    recordings::note(tx, before, after);
    let (key, row) = index_row(after);
    let was_searching = before.is_some_and(searching);
    if searching(after) && !was_searching {
        tx.set(&key, &row);
        tell(tx, after, &row);
        timers::set(tx, after.expires_at_ms, &Timer::TicketExpiry(id));
    }
    let (old, new) = (before.map(player_rows).unwrap_or_default(), player_rows(after));
    for key in old.iter().filter(|key| !new.contains(key)) {
        tx.clear(key);
    }
    for key in new.iter().filter(|key| !old.contains(key)) {
        tx.set(key, b"");
    }
    if before.is_none() && !after.idempotency_key.is_empty() {
        let (key, row) = idempotency_row(after);
        tx.set(&key, &row);
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

/// Tells the queue's matchmakers that a ticket searches from now on, as `row` says, or no more, if that is empty. That
/// it was matched is told only where there are several ([`tell_matched`]): whoever matched it knows.
fn tell(tx: &mut Transaction, record: &TicketRecord, row: &[u8]) {
    write_news(tx, record, row);
    kv::bump(tx, &keyspace::queue_revision(&record.namespace, &record.queue));
}

fn write_news(tx: &mut Transaction, record: &TicketRecord, row: &[u8]) {
    let (key, hole) = keyspace::ticket_news_row(&record.namespace, &record.queue, record.typed_id());
    tx.set_versionstamped_key(&key, hole, row);
}

/// Tells the matchmakers of a queue's other parts that a ticket was matched, and when. Nobody is woken for it: it saves
/// them a match that would be refused, and the first part tells from it how long tickets wait.
pub(crate) fn tell_matched(tx: &mut Transaction, record: &TicketRecord) {
    let row = SearchingTicket { matched_at_ms: record.matched_at_ms, ..SearchingTicket::default() };
    write_news(tx, record, &row.encode_to_vec());
}

/// Tells the queue's matchmaker that a ticket was withdrawn.
pub(crate) fn tell_withdrawn(tx: &mut Transaction, record: &TicketRecord) {
    tell(tx, record, b"");
}

/// The row by which a ticket is found while it searches.
fn index_row(record: &TicketRecord) -> (Vec<u8>, Vec<u8>) {
    let key = keyspace::ticket_searching(&record.namespace, &record.queue, record.typed_id());
    (key, record.searching().encode_to_vec())
}

/// The row by which a ticket is found by its idempotency key.
fn idempotency_row(record: &TicketRecord) -> (Vec<u8>, Vec<u8>) {
    let key = keyspace::ticket_idempotency(&record.namespace, &record.idempotency_key);
    (key, record.typed_id().uuid().into_bytes().to_vec())
}

/// The rows by which a ticket that a backend asked for is found by its players, while it is under way.
fn player_rows(record: &TicketRecord) -> Vec<Vec<u8>> {
    if !record.vouched || record.ended_at_ms > 0 {
        return Vec::new();
    }
    let (namespace, queue, id) = (&record.namespace, &record.queue, record.typed_id());
    let players = record.players();
    players.iter().map(|member| keyspace::player_ticket(namespace, queue, &member.player, id)).collect()
}

/// Tickets of a queue that a backend asked for and that are under way, of one of their players, newest first, at most `limit`.
/// Conflicts with others that come.
pub(crate) async fn of_player(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    player: &str,
    limit: usize,
) -> Result<Vec<TicketId>, StateError> {
    let range = keyspace::player_tickets(namespace, queue, player);
    let rows = tx.get_range(&range.begin, &range.end, limit, true).await?;
    Ok(rows.iter().filter_map(|(key, _)| keyspace::last_id(key)).collect())
}

/// The ticket that an idempotency key made. Conflicts with others who use the key.
pub(crate) async fn by_idempotency_key(
    tx: &mut Transaction,
    namespace: &str,
    key: &str,
) -> Result<Option<TicketRecord>, StateError> {
    let Some(id) = tx.get(&keyspace::ticket_idempotency(namespace, key)).await? else { return Ok(None) };
    let Ok(bytes) = <[u8; 16]>::try_from(&id[..]) else { return Ok(None) };
    load(tx, TicketId::from_uuid(uuid::Uuid::from_bytes(bytes))).await
}

/// What must be there besides `record`: rows, and the counter it is counted in.
pub(crate) fn derived(record: &TicketRecord) -> Derived {
    let mut rows = BTreeMap::new();
    if record.state() == TicketState::Searching {
        rows.extend([index_row(record)]);
        let expiry = Timer::TicketExpiry(record.typed_id());
        rows.insert(keyspace::timer(record.expires_at_ms, &expiry), Vec::new());
    }
    if !record.idempotency_key.is_empty() {
        rows.extend([idempotency_row(record)]);
    }
    rows.extend(player_rows(record).into_iter().map(|key| (key, Vec::new())));
    Derived { rows, count: count_key(record) }
}

/// Removes a ticket that is over.
pub(crate) fn remove(tx: &mut Transaction, record: &TicketRecord) {
    tx.clear(&keyspace::ticket(record.typed_id()));
    if !record.idempotency_key.is_empty() {
        tx.clear(&keyspace::ticket_idempotency(&record.namespace, &record.idempotency_key));
    }
    for key in player_rows(record) {
        tx.clear(&key);
    }
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

/// Searching tickets of a queue whose keys follow `after`, in the order of their ids, at most `limit`, with their keys,
/// without conflicting.
pub(crate) async fn searching(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, TicketId, SearchingTicket)>, StateError> {
    let range = keyspace::tickets_searching(namespace, queue);
    let range = match after {
        Some(key) => range.after(key),
        None => range,
    };
    let rows = kv::scan(tx, &range, limit).await?;
    let known = rows.into_iter().filter_map(|(key, row)| {
        let ticket = keyspace::last_id(&key)?;
        Some((key, ticket, row))
    });
    Ok(known.collect())
}

/// What happened to a searching ticket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    /// The row's key, which sorts by the order of commits.
    pub(crate) key: Bytes,
    /// The ticket.
    pub(crate) ticket: TicketId,
    /// What happened.
    pub(crate) told: Told,
}

/// What happened to a ticket.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    /// It searches for this.
    Searches(SearchingTicket),
    /// It was matched, at Unix milliseconds.
    Matched(u64),
    /// It was withdrawn.
    Withdrawn,
}

impl From<SearchingTicket> for Told {
    fn from(row: SearchingTicket) -> Self {
        if row.matched_at_ms > 0 { Self::Matched(row.matched_at_ms) } else { Self::Searches(row) }
    }
}

/// What happened to the searching tickets of a queue after `after`, in the order of commits, at most `limit`, without
/// conflicting.
pub(crate) async fn news(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    after: &[u8],
    limit: usize,
) -> Result<Vec<News>, StateError> {
    let range = keyspace::ticket_news(namespace, queue).after(after);
    let rows = tx.snapshot_get_range(&range.begin, &range.end, limit, false).await?;
    let known = rows.into_iter().filter_map(|(key, value)| {
        let ticket = keyspace::last_id(&key)?;
        let told = if value.is_empty() {
            Ok(Told::Withdrawn)
        } else {
            kv::decode::<SearchingTicket>(&key, &value).map(Told::from)
        };
        Some(told.map(|told| News { key, ticket, told }))
    });
    known.collect()
}
