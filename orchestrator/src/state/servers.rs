//! Servers: the record, its pod, and all that follows from it.
//!
//! Indices, counters, promised resources and revisions are derived from the record before and after a
//! change, in [`save`] alone, so that no transition can forget one.

use std::collections::BTreeMap;

use bytes::Bytes;
use muster_protocol::id::{NodeId, ServerId};
use muster_store::Transaction;
use prost::Message;

use super::{StateError, fleets, kv, nodes, ports, workflows};
use crate::keyspace;
use crate::records::{Goal, LiveServer, PlacedServer, Pod, ServerRecord, ServerState};

/// Servers that wait for a node, looked at for one of a fleet.
const LOOKED_AT: usize = 16;
/// Most live servers of a fleet in one region that a pass over the fleet looks at.
pub const MAX_LIVE_PER_FLEET: usize = 20_000;
/// Most rows of counters read at once: states of fleets in regions.
pub const MAX_COUNTERS: usize = 100_000;

/// The server. Conflicts with its changes.
pub async fn load(tx: &mut Transaction, server: ServerId) -> Result<Option<ServerRecord>, StateError> {
    kv::load(tx, &keyspace::server(server)).await
}

/// As [`load`], without conflicting.
pub async fn peek(tx: &mut Transaction, server: ServerId) -> Result<Option<ServerRecord>, StateError> {
    kv::peek(tx, &keyspace::server(server)).await
}

/// What the server is made of, without conflicting: it never changes.
pub async fn pod(tx: &mut Transaction, server: ServerId) -> Result<Option<Pod>, StateError> {
    kv::peek(tx, &keyspace::server_pod(server)).await
}

/// Writes a new server.
pub(crate) fn create(tx: &mut Transaction, record: &ServerRecord, pod: &Pod) {
    kv::save(tx, &keyspace::server_pod(record.typed_id()), pod);
    tx.atomic_add(&count_key(record), 1);
    write(tx, None, record);
}

/// Writes a changed server, with what follows from the change. Nothing happens if it is the same.
pub(crate) fn save(tx: &mut Transaction, before: &ServerRecord, after: &ServerRecord) {
    if before == after {
        return;
    }
    if before.state != after.state {
        tx.atomic_add(&count_key(before), -1);
        tx.atomic_add(&count_key(after), 1);
    }
    if before.holds_resources != after.holds_resources {
        let sign = if after.holds_resources { 1 } else { -1 };
        if let Some(node) = after.node_id() {
            let (cpu, memory) = (i64::from(after.cpu_millis), after.memory_bytes as i64);
            nodes::promise(tx, node, sign * cpu, sign * memory, sign);
        }
        if !after.holds_resources {
            ports::give_back(tx, &after.region, &after.ports);
            workflows::touch_placement(tx, &after.region);
        }
    }
    write(tx, Some(before), after);
}

fn write(tx: &mut Transaction, before: Option<&ServerRecord>, after: &ServerRecord) {
    kv::save(tx, &keyspace::server(after.typed_id()), after);
    let old = before.map(Rows::of).unwrap_or_default();
    let new = Rows::of(after);
    for key in old.0.keys().filter(|key| !new.0.contains_key(*key)) {
        tx.clear(key);
    }
    for (key, value) in &new.0 {
        if old.0.get(key) != Some(value) {
            tx.set(key, value);
        }
    }
    if before.is_none_or(|before| before.state != after.state || before.region != after.region) {
        fleets::touch(tx, &after.namespace, &after.fleet);
    }
    if after.state() == ServerState::Pending && before.is_none() {
        workflows::touch_placement(tx, &after.region);
    }
    if before.map(timed) != Some(timed(after)) {
        touch(tx, after);
    }
    let asked = |record: &ServerRecord| (record.node, record.generation, record.state().is_final());
    if let Some(node) = after.node_id()
        && before.map(asked) != Some(asked(after))
    {
        kv::bump(tx, &keyspace::node_revision(node));
    }
    if before.is_some_and(is_routed) != is_routed(after) {
        kv::bump(tx, &keyspace::region_revision(&after.region));
    }
}

/// Has the server's workflow look at it.
pub(crate) fn touch(tx: &mut Transaction, record: &ServerRecord) {
    workflows::touch_server(tx, &record.namespace, record.typed_id());
}

/// What the server's workflow goes by.
fn timed(record: &ServerRecord) -> (ServerState, Goal, u64, u64, bool, bool) {
    let seated = record.uses_sdk && !record.connected_seats.is_empty();
    let deadline_ms = record.drain_deadline_ms;
    (record.state(), record.goal(), deadline_ms, record.idle_since_ms, seated, record.detail.is_empty())
}

/// Whether the edges of its region are to serve its ports.
pub(crate) fn is_routed(record: &ServerRecord) -> bool {
    record.holds_resources && !record.ports.is_empty()
}

/// Rows of the indices that a server is in, and what counts it: all that must be there besides it.
pub(crate) struct Derived {
    /// Keys and values.
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The counter it is counted in.
    pub(crate) count: Vec<u8>,
}

/// What follows from `record`.
pub(crate) fn derived(record: &ServerRecord) -> Derived {
    Derived { rows: Rows::of(record).0, count: count_key(record) }
}

/// Rows of the indices that a server is in.
#[derive(Default)]
struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows {
    fn of(record: &ServerRecord) -> Self {
        let id = record.typed_id();
        let (namespace, fleet, region) = (&*record.namespace, &*record.fleet, &*record.region);
        let state = record.state();
        let mut rows = Self::default();
        rows.add(keyspace::server_by_namespace(namespace, id));
        if state.is_final() {
            return rows;
        }
        let live = LiveServer { state: record.state, pod_version: record.pod_version };
        rows.0.insert(keyspace::server_live(namespace, fleet, region, id), live.encode_to_vec());
        match state {
            ServerState::Pending => rows.add(keyspace::server_pending(region, id)),
            ServerState::Starting if record.agent_ready_at_ms > 0 => {
                rows.add(keyspace::server_awaiting_routes(region, id));
            }
            ServerState::Ready => rows.add(keyspace::server_warm(namespace, fleet, region, id)),
            _ => {}
        }
        if is_routed(record) {
            rows.add(keyspace::server_routed(region, id));
        }
        if let Some(node) = record.node_id() {
            let placed = PlacedServer { generation: record.generation };
            rows.0.insert(keyspace::server_on_node(node, id), placed.encode_to_vec());
        }
        rows
    }

    fn add(&mut self, key: Vec<u8>) {
        self.0.insert(key, Vec::new());
    }
}

fn count_key(record: &ServerRecord) -> Vec<u8> {
    keyspace::server_count(&record.namespace, &record.fleet, &record.region, record.state())
}

/// Removes a server that is over.
pub(crate) fn remove(tx: &mut Transaction, record: &ServerRecord) {
    let id = record.typed_id();
    tx.clear(&keyspace::server(id));
    tx.clear(&keyspace::server_pod(id));
    for key in Rows::of(record).0.keys() {
        tx.clear(key);
    }
    if let Some(node) = record.node_id() {
        tx.clear(&keyspace::server_forget(node, id));
    }
    tx.atomic_add(&count_key(record), -1);
}

/// Lets the agent of `node` forget a server whose end it reported.
pub(crate) async fn let_forget(
    tx: &mut Transaction,
    node: NodeId,
    server: ServerId,
) -> Result<(), StateError> {
    let key = keyspace::server_forget(node, server);
    if tx.get(&key).await?.is_none() {
        tx.set(&key, b"");
        kv::bump(tx, &keyspace::node_revision(node));
    }
    Ok(())
}

/// At most `limit` servers of a namespace, newest first, those older than `before`; final ones are
/// there as long as they are kept. Does not conflict.
pub async fn list(
    tx: &mut Transaction,
    namespace: &str,
    before: Option<ServerId>,
    limit: usize,
) -> Result<Vec<ServerRecord>, StateError> {
    let mut range = keyspace::servers_by_namespace(namespace);
    if let Some(server) = before {
        range = range.until(keyspace::server_by_namespace(namespace, server));
    }
    let rows = tx.snapshot_get_range(&range.begin, &range.end, limit, true).await?;
    let mut servers = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        if let Some(id) = keyspace::last_id(&key)
            && let Some(record) = peek(tx, id).await?
        {
            servers.push(record);
        }
    }
    Ok(servers)
}

/// A live server, as the index tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// Region.
    pub region: String,
    /// Server.
    pub id: ServerId,
    /// State.
    pub state: ServerState,
    /// Version of the pod it was made from.
    pub pod_version: u64,
}

/// Live servers of a fleet, at most [`MAX_LIVE_PER_FLEET`], without conflicting.
pub async fn live(tx: &mut Transaction, namespace: &str, fleet: &str) -> Result<Vec<Live>, StateError> {
    let rows: Vec<(Bytes, LiveServer)> =
        kv::scan(tx, &keyspace::servers_live(namespace, fleet), MAX_LIVE_PER_FLEET).await?;
    Ok(rows
        .into_iter()
        .filter_map(|(key, row)| {
            let (_, _, region, id) = keyspace::split_server_live(&key)?;
            Some(Live { region, id, state: row.state(), pod_version: row.pod_version })
        })
        .collect())
}

/// At most `limit` warm servers of a fleet in a region, from `spread` on and round, without conflicting.
pub(crate) async fn warm_from(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
    region: &str,
    spread: u16,
    limit: usize,
) -> Result<Vec<ServerId>, StateError> {
    let start = keyspace::server_warm_from(namespace, fleet, region, spread);
    let all = keyspace::servers_warm(namespace, fleet, region);
    let mut keys = kv::scan_keys(tx, &all.clone().from(start.clone()), limit).await?;
    if keys.len() < limit {
        keys.extend(kv::scan_keys(tx, &all.until(start), limit - keys.len()).await?);
    }
    Ok(keys.iter().filter_map(|key| keyspace::last_id(key)).collect())
}

/// The server of a fleet that has waited longest for a node of a region, if it is among the [`LOOKED_AT`] that have of all
/// fleets; without conflicting.
pub async fn oldest_pending(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
    region: &str,
) -> Result<Option<ServerRecord>, StateError> {
    let keys = kv::scan_keys(tx, &keyspace::servers_pending_in(region), LOOKED_AT).await?;
    for server in keys.iter().filter_map(|key| keyspace::last_id(key)) {
        let found = peek(tx, server).await?;
        if found.as_ref().is_some_and(|record| record.namespace == namespace && record.fleet == fleet) {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Servers by state.
pub type StateCounts = BTreeMap<ServerState, u32>;

/// Servers of a fleet, by region and state, without conflicting.
pub async fn counts(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
) -> Result<BTreeMap<String, StateCounts>, StateError> {
    let mut regions: BTreeMap<String, StateCounts> = BTreeMap::new();
    for (key, number) in
        kv::scan_numbers(tx, &keyspace::server_counts(namespace, fleet), MAX_COUNTERS).await?
    {
        if let Some((_, _, region, state)) = keyspace::split_server_count(&key)
            && number > 0
        {
            regions.entry(region).or_default().insert(state, number as u32);
        }
    }
    Ok(regions)
}

/// Servers of a namespace, or of all if `namespace` is `None`, by state, without conflicting.
pub async fn totals(tx: &mut Transaction, namespace: Option<&str>) -> Result<StateCounts, StateError> {
    let range = namespace.map_or_else(keyspace::all_server_counts, keyspace::server_counts_of_namespace);
    let mut totals = StateCounts::new();
    for (key, number) in kv::scan_numbers(tx, &range, MAX_COUNTERS).await? {
        if let Some((.., state)) = keyspace::split_server_count(&key)
            && number > 0
        {
            *totals.entry(state).or_default() += number as u32;
        }
    }
    Ok(totals)
}
