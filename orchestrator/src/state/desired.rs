//! What a node's agent is asked to do, as the link's messages say it.
//!
//! Nodes have many servers, and each change of one makes their links look. So what a server is asked is read only where
//! its generation, which goes up with whatever it is asked, is not the one that is known.

use std::collections::BTreeMap;

use muster_protocol::agent as wire;
use muster_protocol::id::{NodeId, ServerId};
use muster_store::Transaction;

use super::{StateError, kv, matches, servers};
use crate::keyspace;
use crate::records::{Goal, MatchRecord, PlacedServer, Pod, PortProtocol, ServerRecord};

/// Most servers placed on one node.
pub const MAX_SERVERS_PER_NODE: usize = 4_096;
/// Most ended servers an agent is told at once to forget; the rest follow later.
const MAX_FORGET: usize = 4_096;

/// Generations of servers, as their agent is asked to have them.
pub type Generations = BTreeMap<ServerId, u64>;

/// Everything a node's agent is asked to do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Servers it is to have; whatever else it runs is to be stopped.
    pub generations: Generations,
    /// What those of them are asked whose generation was not known.
    pub servers: Vec<wire::ServerSpec>,
    /// Servers (by id) whose end it reported and which it may forget.
    pub forget: Vec<String>,
}

/// What the agent of `node` is asked to do, of which servers in the generations of `known` need not be told. Changes with
/// [`keyspace::node_revision`]; read both in one transaction, or the revision first. Does not conflict.
pub async fn desired_for_node(
    tx: &mut Transaction,
    node: NodeId,
    known: &Generations,
) -> Result<Desired, StateError> {
    let mut desired = Desired::default();
    let range = keyspace::servers_on_node(node);
    for (key, placed) in kv::scan::<PlacedServer>(tx, &range, MAX_SERVERS_PER_NODE).await? {
        let Some(id) = keyspace::last_id(&key) else { continue };
        // Rows of before generations were kept in them have 0, which no server has that was placed.
        if placed.generation > 0 && known.get(&id) == Some(&placed.generation) {
            desired.generations.insert(id, placed.generation);
            continue;
        }
        let (Some(record), Some(pod)) = (servers::peek(tx, id).await?, servers::pod(tx, id).await?) else {
            continue;
        };
        desired.generations.insert(id, record.generation);
        if known.get(&id) == Some(&record.generation) {
            continue;
        }
        let claimed = match record.match_id() {
            Some(match_id) => matches::peek(tx, match_id).await?,
            None => None,
        };
        desired.servers.push(spec(&record, pod, claimed.as_ref()));
    }
    for key in kv::scan_keys(tx, &keyspace::servers_forget(node), MAX_FORGET).await? {
        if let Some(id) = keyspace::last_id::<muster_protocol::id::ServerMark>(&key) {
            desired.forget.push(id.to_string());
        }
    }
    Ok(desired)
}

fn spec(record: &ServerRecord, pod: Pod, claimed: Option<&MatchRecord>) -> wire::ServerSpec {
    let ms = |seconds: u32| u64::from(seconds) * 1_000;
    wire::ServerSpec {
        server_id: record.typed_id().to_string(),
        generation: record.generation,
        goal: match record.goal() {
            Goal::Run => wire::ServerGoal::Run,
            Goal::Drain => wire::ServerGoal::Drain,
            Goal::Stop => wire::ServerGoal::Stop,
        }
        .into(),
        namespace: record.namespace.clone(),
        fleet: record.fleet.clone(),
        build: Some(wire::BuildRef {
            // A digest names an archive; of a reference it is only Muster's own name.
            digest: if pod.build_reference.is_empty() { pod.build_digest } else { String::new() },
            reference: pod.build_reference,
            size_bytes: pod.build_size_bytes,
        }),
        ports: record
            .ports
            .iter()
            .map(|port| wire::ServerPort {
                name: port.name.clone(),
                protocol: wire_protocol(port.protocol()).into(),
                container_port: port.container_port,
            })
            .collect(),
        env: pod.env.into_iter().collect(),
        args: pod.args,
        limits: Some(wire::ServerLimits {
            cpu_millis: pod.cpu_millis,
            memory_bytes: pod.memory_bytes,
            pids: pod.pids,
            read_only_root: pod.read_only_root,
        }),
        stop_grace_ms: ms(pod.stop_grace_s),
        drain_deadline_ms: record.drain_deadline_ms,
        ready_timeout_ms: ms(pod.ready_timeout_s),
        allocation: claimed.map(|claimed| wire::Allocation {
            match_id: claimed.typed_id().to_string(),
            seats: claimed
                .seats
                .iter()
                .map(|seat| wire::AllocatedSeat {
                    seat_id: seat.typed_id().to_string(),
                    player: seat.player.clone(),
                    team: seat.team.clone(),
                })
                .collect(),
            data: claimed.data.clone(),
            lobby: claimed.lobby.as_ref().map(|lobby| wire::Lobby {
                code: lobby.code.clone(),
                name: lobby.name.clone(),
                public: lobby.public,
                open: !lobby.closed,
                max_players: claimed.max_players,
                owner: lobby.owner.clone(),
                config: lobby.config.clone(),
                tags: lobby.tags.clone().into_iter().collect(),
            }),
        }),
        region: record.region.clone(),
        health_timeout_ms: ms(pod.health_s),
    }
}

/// A protocol as the links' messages say it.
pub(super) fn wire_protocol(protocol: PortProtocol) -> wire::PortProtocol {
    match protocol {
        PortProtocol::Udp => wire::PortProtocol::Udp,
        PortProtocol::Tcp => wire::PortProtocol::Tcp,
        PortProtocol::Ws => wire::PortProtocol::Ws,
    }
}
