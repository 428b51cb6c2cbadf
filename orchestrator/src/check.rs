//! Whether the records of a store agree with each other, and what is in it, for `muster store`.
//!
//! Indices, counters and reservations follow from the records of servers, tickets and matches. This reads
//! everything, derives what must be there, and compares. It changes nothing. A store that is in use is
//! read at many moments, so what one look finds may be a change seen by half: only what every one of
//! [`LOOKS`] looks finds is told.

mod rows;

use std::collections::{BTreeMap, BTreeSet};

use muster_engine::inspect;
use muster_store::limits::KEYSPACE_END;
use muster_store::{Bytes, Database, StoreError, Transaction, successor};

use crate::keyspace::{self, Prefix, Reserved};
use crate::records::{
    EdgePortRecord, MatchRecord, QueuePartsRecord, QueueVersionRecord, ServerRecord, TicketRecord, typed,
};
use crate::state::servers::Derived;
use crate::state::{kv, lobbies, matches, servers, tickets};

pub use rows::{Row, describe};

/// Looks at a store of which something seems wrong.
const LOOKS: usize = 3;
/// Rows read in one transaction.
const PAGE: usize = 2_000;
/// Findings that are told; there may be more.
const MAX_FINDINGS: usize = 1_000;

/// Rows whose presence follows from a server, a ticket or a match, and from nothing else.
const INDICES: [Prefix; 16] = [
    Prefix::ServerByNamespace,
    Prefix::ServerLive,
    Prefix::ServerWarm,
    Prefix::ServerPending,
    Prefix::ServerRouted,
    Prefix::ServerAwaitingRoutes,
    Prefix::ServerOnNode,
    Prefix::TicketSearching,
    Prefix::TicketIdempotency,
    Prefix::PlayerTicket,
    Prefix::MatchWaiting,
    Prefix::MatchOpen,
    Prefix::PlayerSeat,
    Prefix::MatchSeats,
    Prefix::LobbyCode,
    Prefix::LobbyPublic,
];
/// Numbers that follow from servers, tickets and matches.
const COUNTERS: [Prefix; 4] =
    [Prefix::ServerCount, Prefix::TicketCount, Prefix::NodeReserved, Prefix::LobbyCount];

/// Something that does not agree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The row's key.
    pub key: Vec<u8>,
    /// What is wrong with it, in words.
    pub what: String,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Rows by kind; `None` are those of no kind this version knows.
    pub rows: BTreeMap<Option<Prefix>, u64>,
    /// What does not agree, at most a thousand.
    pub findings: Vec<Finding>,
}

/// Reads the whole store and compares.
///
/// # Errors
/// What a read can answer. Memory is in proportion to the number of servers, tickets and matches.
pub async fn check(db: &Database) -> Result<CheckReport, StoreError> {
    let mut report = look(db).await?;
    for _ in 1..LOOKS {
        if report.findings.is_empty() {
            break;
        }
        let again = look(db).await?;
        report.findings.retain(|finding| again.findings.contains(finding));
        report.rows = again.rows;
    }
    Ok(report)
}

/// Calls `each` for every row of the store, in key order.
///
/// # Errors
/// What a read can answer, or what `each` does.
pub async fn visit<E: From<StoreError>>(
    db: &Database,
    mut each: impl FnMut(&Bytes, &Bytes) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = Vec::new();
    loop {
        let page = db
            .read("visit", async |mut tx: Transaction| tx.get_range(&from, KEYSPACE_END, PAGE, false).await);
        let page: Vec<(Bytes, Bytes)> = page.await?;
        for (key, value) in &page {
            each(key, value)?;
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE => from = successor(last),
            _ => return Ok(()),
        }
    }
}

/// Workflows that go on only once somebody has done something, at most `limit`: which, and what, in words.
///
/// # Errors
/// What a read can answer.
pub async fn stuck(tx: &mut Transaction, limit: usize, now_ms: u64) -> Result<Vec<String>, StoreError> {
    let found = inspect::set_aside(tx, limit).await?;
    let words = |workflow: &inspect::Workflow| {
        let (address, status) = (&workflow.address, workflow.record.status().word());
        let (namespace, kind, key) = (address.namespace(), address.kind(), address.key());
        format!(
            "workflow {kind} {key} of {namespace} is {status}; it waits for {}",
            workflow.waits_for(now_ms)
        )
    };
    Ok(found.iter().map(words).collect())
}

async fn look(db: &Database) -> Result<CheckReport, StoreError> {
    let mut seen = Seen::default();
    visit(db, |key, value| {
        seen.note(key, value);
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(seen.compare())
}

/// What one look gathers.
#[derive(Default)]
struct Seen {
    report: CheckReport,
    /// Rows that must be there, and those of [`INDICES`] that are.
    expected: BTreeMap<Vec<u8>, Vec<u8>>,
    found: BTreeMap<Vec<u8>, Bytes>,
    /// Matches whose seats fill more than one row.
    large: Vec<MatchRecord>,
    /// Numbers that must be there, and those that are.
    counted: BTreeMap<Vec<u8>, i64>,
    counters: BTreeMap<Vec<u8>, i64>,
    /// Keys of pods, of servers that need one, and all timers.
    pods: BTreeSet<Vec<u8>>,
    needs_pod: Vec<Vec<u8>>,
    timers: BTreeSet<Vec<u8>>,
    /// Edge ports that servers hold, as they say and as the ports say.
    held: BTreeMap<Vec<u8>, String>,
    taken: BTreeMap<Vec<u8>, String>,
    /// Keys of queues, and those that rows of parts and of versions say must be there, with these rows' keys.
    queues: BTreeSet<Vec<u8>>,
    of_queues: Vec<(Vec<u8>, Vec<u8>)>,
    /// The engine's rows, compared by itself.
    engine: muster_engine::check::Check,
}

impl Seen {
    fn tell(&mut self, key: &[u8], what: impl Into<String>) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(Finding { key: key.to_vec(), what: what.into() });
        }
    }

    fn note(&mut self, key: &Bytes, value: &Bytes) {
        let prefix = Prefix::of(key);
        *self.report.rows.entry(prefix).or_default() += 1;
        let Some(prefix) = prefix else {
            self.tell(key, "no kind of row that this version knows; a newer one may have written it");
            return;
        };
        if let Err(why) = describe(prefix, value) {
            self.tell(key, format!("its value cannot be read: {why}"));
            return;
        }
        match prefix {
            Prefix::Server => self.note_server(key, value),
            Prefix::Ticket => self.note_ticket(key, value),
            Prefix::Match => self.note_match(key, value),
            Prefix::EdgePort => self.note_port(key, value),
            Prefix::QueueParts => self.note_parts(key, value),
            Prefix::QueueVersion => self.note_version(key, value),
            Prefix::Queue => {
                self.queues.insert(key.to_vec());
            }
            Prefix::Engine => self.engine.note(key, value),
            Prefix::ServerPod => {
                self.pods.insert(key.to_vec());
            }
            Prefix::Timer => {
                self.timers.insert(key.to_vec());
            }
            _ if INDICES.contains(&prefix) => {
                self.found.insert(key.to_vec(), value.clone());
            }
            _ if COUNTERS.contains(&prefix) => {
                self.counters.insert(key.to_vec(), kv::number(value));
            }
            _ => {}
        }
    }

    fn note_server(&mut self, key: &Bytes, value: &Bytes) {
        let Ok(record) = kv::decode::<ServerRecord>(key, value) else { return };
        let id = record.typed_id();
        if *key != keyspace::server(id) {
            self.tell(key, format!("it is the record of {id}, which belongs under another key"));
        }
        self.expect(servers::derived(&record));
        self.needs_pod.push(keyspace::server_pod(id));
        if !record.holds_resources {
            return;
        }
        if let Some(node) = record.node_id() {
            let memory = i64::try_from(record.memory_bytes).unwrap_or(i64::MAX);
            let held = [(Reserved::CpuMillis, i64::from(record.cpu_millis)), (Reserved::Memory, memory)];
            for (what, amount) in held.into_iter().chain([(Reserved::Servers, 1)]) {
                *self.counted.entry(keyspace::node_reserved(node, what)).or_default() += amount;
            }
        }
        for port in &record.ports {
            if let Ok(number @ 1..) = u16::try_from(port.edge_port) {
                let key = keyspace::edge_port(&record.region, port.protocol(), number);
                if let Some(other) = self.held.insert(key.clone(), id.to_string()) {
                    self.tell(&key, format!("both {other} and {id} hold this port"));
                }
            }
        }
    }

    fn note_ticket(&mut self, key: &Bytes, value: &Bytes) {
        let Ok(record) = kv::decode::<TicketRecord>(key, value) else { return };
        if *key != keyspace::ticket(record.typed_id()) {
            let id = record.typed_id();
            self.tell(key, format!("it is the record of {id}, which belongs under another key"));
        }
        self.expect(tickets::derived(&record));
    }

    fn note_match(&mut self, key: &Bytes, value: &Bytes) {
        let Ok(record) = kv::decode::<MatchRecord>(key, value) else { return };
        let id = record.typed_id();
        if *key != keyspace::match_(id) {
            self.tell(key, format!("it is the record of {id}, which belongs under another key"));
        }
        if record.seat_rows > 0 {
            self.large.push(record);
        } else {
            self.expect_match(&record);
        }
    }

    fn expect_match(&mut self, record: &MatchRecord) {
        self.expected.extend(matches::rows(record));
        if let Some(key) = lobbies::count_key(record) {
            *self.counted.entry(key).or_default() += 1;
        }
    }

    /// What must be there besides matches whose seats fill more than one row.
    fn expect_large(&mut self) {
        for mut record in std::mem::take(&mut self.large) {
            let range = keyspace::match_seats_of(record.typed_id());
            let rows = self.found.range(range.begin..range.end);
            matches::add(&mut record, rows.filter_map(|(key, value)| kv::decode(key, value).ok()));
            self.expect_match(&record);
        }
    }

    fn note_port(&mut self, key: &Bytes, value: &Bytes) {
        let Ok(record) = kv::decode::<EdgePortRecord>(key, value) else { return };
        if record.server.is_some() {
            let server: muster_protocol::id::ServerId = typed(record.server);
            self.taken.insert(key.to_vec(), server.to_string());
        }
    }

    fn note_parts(&mut self, key: &Bytes, value: &Bytes) {
        let Ok(record) = kv::decode::<QueuePartsRecord>(key, value) else { return };
        if QueuePartsRecord::from(&record.to_parts()) != record {
            self.tell(key, "its parts are too many or not in order, and are read as others");
        }
        if let Some((namespace, queue)) = keyspace::split_queue_parts(key) {
            self.of_queues.push((keyspace::queue(&namespace, &queue), key.to_vec()));
        }
    }

    fn note_version(&mut self, key: &Bytes, value: &Bytes) {
        let Ok(record) = kv::decode::<QueueVersionRecord>(key, value) else { return };
        let Some((namespace, queue, version)) = keyspace::split_queue_version(key) else {
            return self.tell(key, "it is of no queue");
        };
        if record.version != version {
            self.tell(key, format!("it is version {}, which belongs under another key", record.version));
        }
        self.of_queues.push((keyspace::queue(&namespace, &queue), key.to_vec()));
    }

    fn expect(&mut self, derived: Derived) {
        self.expected.extend(derived.rows);
        *self.counted.entry(derived.count).or_default() += 1;
    }

    fn compare(mut self) -> CheckReport {
        self.expect_large();
        let (expected, found) = (std::mem::take(&mut self.expected), std::mem::take(&mut self.found));
        for (key, value) in &expected {
            let there = match Prefix::of(key) {
                Some(Prefix::Timer) => self.timers.contains(key).then_some(&[][..]),
                _ => found.get(key).map(AsRef::as_ref),
            };
            match there {
                None => self.tell(key, "missing, though a record says it must be there"),
                // As it was written before it said something.
                Some([]) if Prefix::of(key) == Some(Prefix::ServerOnNode) => {}
                Some(there) if there != value => self.tell(key, "it does not say what its record says"),
                Some(_) => {}
            }
        }
        for key in found.keys().filter(|key| !expected.contains_key(*key)) {
            self.tell(key, "there, though no record says it should be");
        }
        self.compare_numbers();
        for (queue, key) in std::mem::take(&mut self.of_queues) {
            if !self.queues.contains(&queue) {
                self.tell(&key, "of a queue that is not there");
            }
        }
        for (key, holder) in std::mem::take(&mut self.held) {
            match self.taken.remove(&key) {
                Some(taken) if taken == holder => {}
                Some(other) => self.tell(&key, format!("{holder} holds this port, but it says {other} does")),
                None => self.tell(&key, format!("{holder} holds this port, but it is free")),
            }
        }
        for (key, holder) in std::mem::take(&mut self.taken) {
            self.tell(&key, format!("it says that {holder} holds this port, which does not"));
        }
        for key in std::mem::take(&mut self.needs_pod) {
            if !self.pods.contains(&key) {
                self.tell(&key, "missing, though its server is there");
            }
        }
        for (key, what) in std::mem::take(&mut self.engine).findings() {
            self.tell(&key, what);
        }
        self.report.findings.sort();
        self.report
    }

    fn compare_numbers(&mut self) {
        let mut counters = std::mem::take(&mut self.counters);
        for (key, expected) in std::mem::take(&mut self.counted) {
            let found = counters.remove(&key).unwrap_or(0);
            if found != expected {
                self.tell(&key, format!("it says {found}, but the records make {expected}"));
            }
        }
        for (key, found) in counters.into_iter().filter(|(_, found)| *found != 0) {
            self.tell(&key, format!("it says {found}, but no record is counted in it"));
        }
    }
}

#[cfg(test)]
mod tests;
