//! Edges: what they are, and whether their link is up.

use muster_engine::WorkerId;
use muster_protocol::edge::EdgeHello;
use muster_protocol::id::EdgeId;
use muster_store::Transaction;

use super::{StateError, kv, workflows};
use crate::keyspace;
use crate::records::EdgeRecord;

/// Most edges of an installation.
pub const MAX_EDGES: usize = 10_000;
/// Most edges of a region: a server's record names those that serve it.
pub const MAX_EDGES_PER_REGION: usize = 64;

/// The edge.
pub async fn load(tx: &mut Transaction, edge: EdgeId) -> Result<Option<EdgeRecord>, StateError> {
    kv::load(tx, &keyspace::edge(edge)).await
}

/// Writes an edge that has just joined, not yet connected.
pub fn create(tx: &mut Transaction, edge: EdgeId, name: &str, region: &str, now_ms: u64) {
    let record = EdgeRecord {
        id: Some(edge.into()),
        name: name.to_owned(),
        region: region.to_owned(),
        joined_at_ms: now_ms,
        link_changed_at_ms: now_ms,
        ..Default::default()
    };
    tx.set(&keyspace::edge_by_region(region, edge), b"");
    save(tx, &record);
}

/// Takes over what an edge said of itself, and that its link to `replica` is up. Returns the link's session, which
/// [`disconnected`] asks for; `None` if the edge is unknown and has to join again. Its region stays the
/// one it joined.
pub async fn upsert_hello(
    tx: &mut Transaction,
    edge: EdgeId,
    hello: &EdgeHello,
    replica: WorkerId,
    now_ms: u64,
) -> Result<Option<u64>, StateError> {
    let Some(mut record) = load(tx, edge).await? else { return Ok(None) };
    make_room(tx, &record.region, edge).await?;
    record.version.clone_from(&hello.version);
    record.hostname.clone_from(&hello.hostname);
    record.public_host.clone_from(&hello.public_host);
    record.port_first = hello.port_first;
    record.port_last = hello.port_last;
    record.beacon_port = hello.beacon_port;
    record.tls_certificate_given = hello.tls_certificate_given;
    record.connected = true;
    record.link_changed_at_ms = now_ms;
    record.link_session += 1;
    record.link_replica = replica.as_bytes().to_vec();
    save(tx, &record);
    Ok(Some(record.link_session))
}

/// Takes edges that are gone for good off a region that has more than [`MAX_EDGES_PER_REGION`]: those
/// disconnected for longest go, and join again should they come back after all.
async fn make_room(tx: &mut Transaction, region: &str, comer: EdgeId) -> Result<(), StateError> {
    let range = keyspace::edges_by_region(region);
    let rows = tx.get_range(&range.begin, &range.end, MAX_EDGES, false).await?;
    let Some(too_many @ 1..) = rows.len().checked_sub(MAX_EDGES_PER_REGION) else { return Ok(()) };
    let mut gone = Vec::new();
    for edge in rows.iter().filter_map(|(key, _)| keyspace::last_id(key)).filter(|edge| *edge != comer) {
        if let Some(record) = load(tx, edge).await?.filter(|record| !record.connected) {
            gone.push((record.link_changed_at_ms, edge));
        }
    }
    gone.sort_unstable_by_key(|(since_ms, edge)| (*since_ms, edge.uuid()));
    for (_, edge) in gone.into_iter().take(too_many) {
        tx.clear(&keyspace::edge(edge));
        let flows = keyspace::edge_flows_of(edge);
        tx.clear_range(&flows.begin, &flows.end);
        tx.clear(&keyspace::edge_by_region(region, edge));
    }
    Ok(())
}

/// Records that the link of `session` is down. The end of a link that another has replaced changes
/// nothing. Returns the edge's region if it did.
pub async fn disconnected(
    tx: &mut Transaction,
    edge: EdgeId,
    session: u64,
    now_ms: u64,
) -> Result<Option<String>, StateError> {
    if let Some(mut record) = load(tx, edge).await?
        && record.connected
        && record.link_session == session
    {
        record.connected = false;
        record.link_changed_at_ms = now_ms;
        save(tx, &record);
        return Ok(Some(record.region));
    }
    Ok(None)
}

fn save(tx: &mut Transaction, record: &EdgeRecord) {
    kv::save(tx, &keyspace::edge(record.typed_id()), record);
    workflows::touch_placement(tx, &record.region);
    kv::bump(tx, &keyspace::machines_revision());
}

/// Every edge, oldest first, without conflicting.
pub async fn list(tx: &mut Transaction) -> Result<Vec<EdgeRecord>, StateError> {
    let rows = kv::scan(tx, &keyspace::edges(), MAX_EDGES).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}

/// Whether the edge's link of `session` is the newest and up. Conflicts with its end.
pub async fn has_link(tx: &mut Transaction, edge: EdgeId, session: u64) -> Result<bool, StateError> {
    Ok(load(tx, edge).await?.is_some_and(|record| record.connected && record.link_session == session))
}

/// Records that the link of `session` has said what flows the edge has. Nothing if another has replaced it.
pub async fn reported_flows(tx: &mut Transaction, edge: EdgeId, session: u64) -> Result<(), StateError> {
    if let Some(mut record) = load(tx, edge).await?
        && record.link_session == session
    {
        record.flows_session = session;
        kv::save(tx, &keyspace::edge(edge), &record);
    }
    Ok(())
}

/// As [`list_in_region`], without conflicting.
pub async fn peek_in_region(tx: &mut Transaction, region: &str) -> Result<Vec<EdgeRecord>, StateError> {
    let mut edges = Vec::new();
    for key in kv::scan_keys(tx, &keyspace::edges_by_region(region), MAX_EDGES_PER_REGION).await? {
        if let Some(edge) = keyspace::last_id(&key)
            && let Some(record) = kv::peek(tx, &keyspace::edge(edge)).await?
        {
            edges.push(record);
        }
    }
    Ok(edges)
}

/// Edges of a region, oldest first. Conflicts with their coming, going and changing.
pub async fn list_in_region(tx: &mut Transaction, region: &str) -> Result<Vec<EdgeRecord>, StateError> {
    let range = keyspace::edges_by_region(region);
    let mut edges = Vec::new();
    for (key, _) in tx.get_range(&range.begin, &range.end, MAX_EDGES_PER_REGION, false).await? {
        if let Some(edge) = keyspace::last_id(&key)
            && let Some(record) = load(tx, edge).await?
        {
            edges.push(record);
        }
    }
    Ok(edges)
}
