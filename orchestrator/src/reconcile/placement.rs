//! Placement: gives pending servers a node and edge ports.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_protocol::id::ServerId;
use muster_store::{Database, Transaction, Watch};
use tokio_util::sync::CancellationToken;

use crate::keyspace;
use crate::lifecycle::happen;
use crate::lifecycle::machine::Event;
use crate::placement::{Need, NoRoom, NodeRoom, choose};
use crate::records::{EdgeRecord, ServerRecord, ServerState};
use crate::state::regions::{RegionMachines, is_usable};
use crate::state::{StateError, edges, kv, nodes, ports, servers};
use crate::{clock, metrics, wake};

/// Looks again after this even if nothing was watched to change.
const TICK: Duration = Duration::from_secs(5);
/// Pending servers looked at in one pass.
const MAX_PENDING: usize = 10_000;

/// Runs until `shutdown`.
pub(super) async fn run(db: Database, shutdown: CancellationToken) {
    loop {
        let began = Instant::now();
        let (watches, tick) = match pass(&db, clock::now_ms()).await {
            Ok(watch) => (vec![watch], TICK),
            Err(error) => {
                tracing::warn!(%error, "placement pass failed");
                (Vec::new(), wake::AFTER_FAILURE)
            }
        };
        metrics::pass("placement", began.elapsed());
        if !wake::breathe_and_sleep(&shutdown, began, watches, tick).await {
            return;
        }
    }
}

/// One pass over pending servers, oldest first in each region. The watch fires when there are new ones,
/// or room for them.
pub(super) async fn pass(db: &Database, now_ms: u64) -> Result<Watch, StateError> {
    let watch = db.watch(&keyspace::placement_revision()).await?;
    let keys = db
        .read("servers_pending", async |mut tx| {
            kv::scan_keys(&mut tx, &keyspace::servers_pending(), MAX_PENDING).await
        })
        .await?;
    // What one server has no room for, its likes behind it have no room for either.
    let mut hopeless: BTreeMap<String, BTreeMap<(u64, u64), String>> = BTreeMap::new();
    for (region, server) in keys.iter().filter_map(|key| keyspace::split_server_pending(key)) {
        let known = hopeless.entry(region).or_default();
        let outcome =
            db.run("place_server", async |mut tx| place(&mut tx, server, known, now_ms).await).await?;
        if let Some((need, why)) = outcome {
            known.insert((need.cpu_millis, need.memory_bytes), why);
        }
    }
    Ok(watch)
}

/// Places one server, or notes on it why it cannot be, which is returned.
async fn place(
    tx: &mut Transaction,
    server: ServerId,
    hopeless: &BTreeMap<(u64, u64), String>,
    now_ms: u64,
) -> Result<Option<(Need, String)>, StateError> {
    let record = servers::load(tx, server).await?;
    let Some(record) = record.filter(|record| record.state() == ServerState::Pending) else {
        return Ok(None);
    };
    let need = Need { cpu_millis: u64::from(record.cpu_millis), memory_bytes: record.memory_bytes };
    let why = match hopeless.get(&(need.cpu_millis, need.memory_bytes)) {
        Some(why) => why.clone(),
        None => match find_place(tx, &record, need, now_ms).await? {
            Ok(()) => return Ok(None),
            Err(why) => why,
        },
    };
    if record.detail != why {
        happen(tx, server, &Event::Unplaced(&why), now_ms).await?;
    }
    Ok(Some((need, why)))
}

async fn find_place(
    tx: &mut Transaction,
    record: &ServerRecord,
    need: Need,
    now_ms: u64,
) -> Result<Result<(), String>, StateError> {
    let region = &record.region;
    let nodes = nodes::list_in_region(tx, region).await?;
    let mut rooms = Vec::new();
    for node in nodes.iter().filter(|node| is_usable(node)) {
        let promised = nodes::promised(tx, node.typed_id()).await?;
        rooms.push(NodeRoom {
            id: node.typed_id(),
            cpu_millis: u64::from(node.cpu_millis),
            cpu_millis_promised: promised.cpu_millis,
            memory_bytes: node.memory_bytes,
            memory_bytes_promised: promised.memory_bytes,
            servers: promised.servers,
        });
    }
    let edges = edges::list_in_region(tx, region).await?;
    if rooms.is_empty() || (edges.is_empty() && !record.ports.is_empty()) {
        let machines = RegionMachines { nodes, edges };
        let obstacle = machines.obstacle(region);
        return Ok(Err(obstacle.unwrap_or_else(|| format!("region {region} cannot start servers"))));
    }
    let node = match choose(&rooms, need) {
        Ok(node) => node,
        Err(why) => return Ok(Err(no_room(why, region, need))),
    };
    nodes::guard_promises(tx, node);
    let mut placed = record.ports.clone();
    let Some(range) = port_range(&edges) else {
        return Ok(Err(format!(
            "the edges of region {region} have no port in common; give them port ranges that overlap"
        )));
    };
    if !ports::take(tx, region, record.typed_id(), &mut placed, range, rand::random()).await? {
        // What was taken before the want showed is given back with the rest of this attempt.
        ports::give_back(tx, region, &placed);
        return Ok(Err(format!(
            "every port from {} to {} of the edges of region {region} is taken; widen the edges' port range",
            range.0, range.1
        )));
    }
    happen(tx, record.typed_id(), &Event::Placed { node, ports: placed }, now_ms).await?;
    Ok(Ok(()))
}

/// Ports that every edge of a region may listen on, both included; of those connected, if any are.
fn port_range(edges: &[EdgeRecord]) -> Option<(u16, u16)> {
    let connected = edges.iter().any(|edge| edge.connected);
    let counted = || edges.iter().filter(|edge| edge.connected || !connected);
    let first = counted().map(|edge| edge.port_first).max().unwrap_or(1).max(1);
    let last = counted().map(|edge| edge.port_last).min().unwrap_or(u32::from(u16::MAX));
    let (first, last) = (u16::try_from(first).ok()?, u16::try_from(last.min(u32::from(u16::MAX))).ok()?);
    (first <= last).then_some((first, last))
}

fn no_room(why: NoRoom, region: &str, need: Need) -> String {
    let asked = format!("{} thousandths of a CPU and {} MiB", need.cpu_millis, need.memory_bytes >> 20);
    match why {
        NoRoom::TooLarge => format!(
            "no node of region {region} is large enough for {asked}; lower the fleet's limits, or join a larger \
             node"
        ),
        NoRoom::Full => format!(
            "no node of region {region} has {asked} free; join another node, lower the fleet's limits or warm, or \
             wait until games end"
        ),
    }
}
