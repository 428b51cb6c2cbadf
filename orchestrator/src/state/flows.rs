//! How many flows each server has through each edge, as the edges last said.
//!
//! Kept in the store because a region's edges may be linked to different replicas, and whether anybody plays
//! on a server takes all of them. A row is there for as long as there are flows, so that most reports write
//! nothing.

use std::collections::BTreeMap;

use muster_protocol::id::{EdgeId, ServerId};
use muster_store::Transaction;

use super::{StateError, edges, kv, servers, workflows};
use crate::keyspace;
use crate::records::EdgeFlowsRecord;

/// Most servers an edge may have flows to; beyond, they are not known and count as none.
pub const MAX_SERVERS_PER_EDGE: usize = 20_000;
/// How long players of an edge without a link count as playing, in milliseconds: longer than a network is usually
/// down. If the edge is dead, its players are gone and idle servers cost that much more.
pub const UNHEARD_MS: u64 = 10 * 60 * 1_000;
/// Rows read at a time.
const PAGE: usize = 2_000;

/// Writes that `server` has `flows` through `edge`, and has its workflow look: whether anybody plays may have
/// changed.
pub async fn set(tx: &mut Transaction, edge: EdgeId, server: ServerId, flows: u32) -> Result<(), StateError> {
    let key = keyspace::edge_flows(edge, server);
    if flows == 0 {
        tx.clear(&key);
    } else {
        kv::save(tx, &key, &EdgeFlowsRecord { flows });
    }
    if let Some(record) = servers::peek(tx, server).await? {
        workflows::touch_server(tx, &record.namespace, server);
    }
    Ok(())
}

/// Flows through `edge` by server, without conflicting.
pub async fn of_edge(tx: &mut Transaction, edge: EdgeId) -> Result<BTreeMap<ServerId, u32>, StateError> {
    let mut range = keyspace::edge_flows_of(edge);
    let mut flows = BTreeMap::new();
    while flows.len() < MAX_SERVERS_PER_EDGE {
        let page = kv::scan::<EdgeFlowsRecord>(tx, &range, PAGE).await?;
        let last = page.last().map(|(key, _)| key.clone()).filter(|_| page.len() == PAGE);
        flows.extend(page.iter().filter_map(|(key, record)| Some((keyspace::last_id(key)?, record.flows))));
        match last {
            Some(last) => range = range.after(&last),
            None => break,
        }
    }
    Ok(flows)
}

/// Flows of `server` through the edges of `region`, as they last said, without conflicting. `None` if that is not
/// known: no edge is connected, or one has not said since its link came up.
///
/// Players go on through an edge that has lost its link, so its last word counts for [`UNHEARD_MS`].
pub async fn of_server(
    tx: &mut Transaction,
    region: &str,
    server: ServerId,
    now_ms: u64,
) -> Result<Option<u32>, StateError> {
    let (mut sum, mut is_known) = (0u32, false);
    for edge in edges::peek_in_region(tx, region).await? {
        if edge.connected && edge.flows_session != edge.link_session {
            return Ok(None);
        }
        is_known |= edge.connected;
        if edge.connected || now_ms < edge.link_changed_at_ms.saturating_add(UNHEARD_MS) {
            let row = kv::peek::<EdgeFlowsRecord>(tx, &keyspace::edge_flows(edge.typed_id(), server)).await?;
            sum = sum.saturating_add(row.map_or(0, |row| row.flows));
        }
    }
    Ok(is_known.then_some(sum))
}
