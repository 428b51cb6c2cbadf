//! Nodes: what they are, whether their link is up, what they have promised to servers.

use muster_engine::{WorkerId, nudge};
use muster_protocol::agent::AgentHello;
use muster_protocol::id::NodeId;
use muster_store::Transaction;

use super::{StateError, kv, workflows};
use crate::keyspace::{self, Reserved};
use crate::records::NodeRecord;

/// Most nodes of an installation.
pub const MAX_NODES: usize = 10_000;

/// What a node has promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Servers.
    pub servers: u32,
}

/// The node.
pub async fn load(tx: &mut Transaction, node: NodeId) -> Result<Option<NodeRecord>, StateError> {
    kv::load(tx, &keyspace::node(node)).await
}

/// As [`load`], without conflicting.
pub async fn peek(tx: &mut Transaction, node: NodeId) -> Result<Option<NodeRecord>, StateError> {
    kv::peek(tx, &keyspace::node(node)).await
}

/// Writes a node that has just joined, not yet connected.
pub fn create(tx: &mut Transaction, node: NodeId, name: &str, region: &str, now_ms: u64) {
    let record = NodeRecord {
        id: Some(node.into()),
        name: name.to_owned(),
        region: region.to_owned(),
        joined_at_ms: now_ms,
        link_changed_at_ms: now_ms,
        ..Default::default()
    };
    tx.set(&keyspace::node_by_region(region, node), b"");
    save(tx, &record);
}

/// Takes over what an agent said of itself, and that its link to `replica` is up. Returns the link's session, which
/// [`disconnected`] asks for; `None` if the node is unknown and has to join again. Its region stays the
/// one it joined.
pub async fn upsert_hello(
    tx: &mut Transaction,
    node: NodeId,
    hello: &AgentHello,
    replica: WorkerId,
    now_ms: u64,
) -> Result<Option<u64>, StateError> {
    let Some(mut record) = load(tx, node).await? else { return Ok(None) };
    record.version.clone_from(&hello.version);
    record.hostname.clone_from(&hello.hostname);
    if let Some(capacity) = &hello.capacity {
        record.cpu_millis = capacity.cpu_millis;
        record.memory_bytes = capacity.memory_bytes;
    }
    record.unable.clone_from(&hello.unable);
    let moved = record.tunnel_addresses != hello.tunnel_addresses;
    record.tunnel_addresses.clone_from(&hello.tunnel_addresses);
    record.connected = true;
    record.lost = false;
    record.loss_due_ms = 0;
    record.link_changed_at_ms = now_ms;
    record.link_session += 1;
    record.link_replica = replica.as_bytes().to_vec();
    save(tx, &record);
    kv::bump(tx, &keyspace::node_revision(node));
    if moved {
        kv::bump(tx, &keyspace::region_revision(&record.region));
    }
    Ok(Some(record.link_session))
}

/// Whether the node's link of `session` is the newest and up. Conflicts with its end: what is written because
/// of what a link says is not written after it.
pub async fn has_link(tx: &mut Transaction, node: NodeId, session: u64) -> Result<bool, StateError> {
    Ok(load(tx, node).await?.is_some_and(|record| record.connected && record.link_session == session))
}

/// Takes over whether the agent can start anything; `unable` is empty if it can.
pub async fn set_unable(tx: &mut Transaction, node: NodeId, unable: &str) -> Result<(), StateError> {
    if let Some(mut record) = load(tx, node).await?
        && record.unable != unable
    {
        unable.clone_into(&mut record.unable);
        save(tx, &record);
    }
    Ok(())
}

/// Records that the link of `session` is down, and when the node is given up: `loss_due_ms`. The end of
/// a link that another has replaced changes nothing.
pub async fn disconnected(
    tx: &mut Transaction,
    node: NodeId,
    session: u64,
    now_ms: u64,
    loss_due_ms: u64,
) -> Result<(), StateError> {
    if let Some(mut record) = load(tx, node).await?
        && record.connected
        && record.link_session == session
    {
        record.connected = false;
        record.link_changed_at_ms = now_ms;
        record.loss_due_ms = loss_due_ms;
        save(tx, &record);
    }
    Ok(())
}

/// Gives a disconnected node until `loss_due_ms` to come back, if it is not given up yet.
pub(crate) async fn postpone_loss(
    tx: &mut Transaction,
    node: NodeId,
    loss_due_ms: u64,
) -> Result<(), StateError> {
    if let Some(mut record) = load(tx, node).await?
        && !record.connected
        && !record.lost
    {
        record.loss_due_ms = loss_due_ms;
        save(tx, &record);
    }
    Ok(())
}

/// Records that the node is given up.
pub(crate) fn mark_lost(tx: &mut Transaction, mut record: NodeRecord) {
    record.lost = true;
    record.loss_due_ms = 0;
    save(tx, &record);
}

fn save(tx: &mut Transaction, record: &NodeRecord) {
    kv::save(tx, &keyspace::node(record.typed_id()), record);
    touch(tx, record.typed_id());
    workflows::touch_placement(tx, &record.region);
    kv::bump(tx, &keyspace::machines_revision());
}

/// Has the node's workflow look at it.
pub(crate) fn touch(tx: &mut Transaction, node: NodeId) {
    nudge(tx, &workflows::node(node));
}

/// Every node, oldest first, without conflicting.
pub async fn list(tx: &mut Transaction) -> Result<Vec<NodeRecord>, StateError> {
    let rows = kv::scan(tx, &keyspace::nodes(), MAX_NODES).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}

/// Nodes of a region, oldest first, without conflicting.
pub async fn list_in_region(tx: &mut Transaction, region: &str) -> Result<Vec<NodeRecord>, StateError> {
    let mut nodes = Vec::new();
    for key in kv::scan_keys(tx, &keyspace::nodes_by_region(region), MAX_NODES).await? {
        if let Some(node) = keyspace::last_id(&key)
            && let Some(record) = peek(tx, node).await?
        {
            nodes.push(record);
        }
    }
    Ok(nodes)
}

/// What a node has promised to servers, without conflicting.
pub async fn promised(tx: &mut Transaction, node: NodeId) -> Result<Promised, StateError> {
    Ok(Promised {
        cpu_millis: natural(kv::peek_number(tx, &keyspace::node_reserved(node, Reserved::CpuMillis)).await?),
        memory_bytes: natural(kv::peek_number(tx, &keyspace::node_reserved(node, Reserved::Memory)).await?),
        servers: natural(kv::peek_number(tx, &keyspace::node_reserved(node, Reserved::Servers)).await?)
            as u32,
    })
}

/// Makes a placement on `node` conflict with every other change of what the node has promised.
pub(crate) fn guard_promises(tx: &mut Transaction, node: NodeId) {
    for what in [Reserved::CpuMillis, Reserved::Memory, Reserved::Servers] {
        tx.add_read_conflict_key(&keyspace::node_reserved(node, what));
    }
}

/// Adds to what a node has promised; negative numbers give back.
pub(crate) fn promise(tx: &mut Transaction, node: NodeId, cpu_millis: i64, memory_bytes: i64, servers: i64) {
    tx.atomic_add(&keyspace::node_reserved(node, Reserved::CpuMillis), cpu_millis);
    tx.atomic_add(&keyspace::node_reserved(node, Reserved::Memory), memory_bytes);
    tx.atomic_add(&keyspace::node_reserved(node, Reserved::Servers), servers);
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
