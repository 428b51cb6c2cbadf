//! The workflow that places a region's servers: gives those that are pending a node and edge ports.
//!
//! Whatever makes a server pending, or makes room for one, nudges it. A look is one transaction, which
//! places some, oldest first.

use std::collections::BTreeMap;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_protocol::id::ServerId;
use muster_store::Transaction;

use crate::keyspace;
use crate::lifecycle::happen;
use crate::lifecycle::machine::Event as ServerEvent;
use crate::placement::{Need, NoRoom, NodeRoom, choose};
use crate::random;
use crate::records::{EdgeRecord, ServerRecord, ServerState};
use crate::state::regions::{RegionMachines, is_usable};
use crate::state::{StateError, edges, kv, nodes, ports, servers, workflows};

/// Pending servers looked at in one look.
const MAX_PENDING: usize = 10_000;
/// Servers placed, or told why they cannot be, in one look.
const BATCH: usize = 32;

/// Places servers.
pub(crate) struct Placement;

impl Kind for Placement {
    const KIND: &'static str = workflows::PLACEMENT;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    type Input = ();
    type Signal = ();
}

impl Machine for Placement {
    /// All there is to know is on record.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        if matches!(event, Event::Cancel) {
            return Ok(());
        }
        let (region, now_ms) = (cx.address().key().to_owned(), cx.now_ms());
        let looked = look(cx.tx(), &region, now_ms).await?;
        if looked.more {
            cx.again();
        }
        cx.waiting_for(&match looked.unplaced {
            0 => "servers to place".to_owned(),
            count => format!("room for {count} servers; muster server ls says what each lacks"),
        });
        Ok(())
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Looked {
    /// More may be done at once.
    pub(crate) more: bool,
    /// Servers there is no room for.
    unplaced: usize,
}

/// What became of one pending server.
enum Outcome {
    /// It is not pending any more.
    Gone,
    Placed,
    /// There is no room for what it needs.
    NoRoom {
        need: Need,
        why: String,
        is_news: bool,
    },
}

/// Looks at the pending servers of `region`, oldest first.
pub(crate) async fn look(tx: &mut Transaction, region: &str, now_ms: u64) -> Result<Looked, StateError> {
    let keys = kv::scan_keys(tx, &keyspace::servers_pending_in(region), MAX_PENDING).await?;
    // What one server has no room for, its likes behind it have no room for either.
    let mut hopeless: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut looked = Looked::default();
    let mut written = 0;
    for server in keys.iter().filter_map(|key| keyspace::last_id(key)) {
        if written == BATCH {
            looked.more = true;
            break;
        }
        match place(tx, server, &hopeless, now_ms).await? {
            Outcome::Gone => {}
            Outcome::Placed => written += 1,
            Outcome::NoRoom { need, why, is_news } => {
                hopeless.insert((need.cpu_millis, need.memory_bytes), why);
                looked.unplaced += 1;
                written += usize::from(is_news);
            }
        }
    }
    Ok(looked)
}

/// Places one server, or notes on it why it cannot be.
async fn place(
    tx: &mut Transaction,
    server: ServerId,
    hopeless: &BTreeMap<(u64, u64), String>,
    now_ms: u64,
) -> Result<Outcome, StateError> {
    let pending = |record: &ServerRecord| record.state() == ServerState::Pending;
    let Some(seen) = servers::peek(tx, server).await?.filter(pending) else { return Ok(Outcome::Gone) };
    let need = Need { cpu_millis: u64::from(seen.cpu_millis), memory_bytes: seen.memory_bytes };
    if let Some(why) = hopeless.get(&(need.cpu_millis, need.memory_bytes))
        && seen.detail == *why
    {
        return Ok(Outcome::NoRoom { need, why: why.clone(), is_news: false });
    }
    let Some(record) = servers::load(tx, server).await?.filter(pending) else { return Ok(Outcome::Gone) };
    let why = match hopeless.get(&(need.cpu_millis, need.memory_bytes)) {
        Some(why) => why.clone(),
        None => match find_place(tx, &record, need, now_ms).await? {
            Ok(()) => return Ok(Outcome::Placed),
            Err(why) => why,
        },
    };
    let is_news = record.detail != why;
    if is_news {
        happen(tx, server, &ServerEvent::Unplaced(&why), now_ms).await?;
    }
    Ok(Outcome::NoRoom { need, why, is_news })
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
    if !ports::take(tx, region, record.typed_id(), &mut placed, range, random::spread()).await? {
        // What was taken before the want showed is given back with the rest of this attempt.
        ports::give_back(tx, region, &placed);
        return Ok(Err(format!(
            "every port from {} to {} of the edges of region {region} is taken; widen the edges' port range",
            range.0, range.1
        )));
    }
    happen(tx, record.typed_id(), &ServerEvent::Placed { node, ports: placed }, now_ms).await?;
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
