//! What happens in one simulated world, from a seed: ten minutes in which everything may go wrong, and then
//! peace, in which everything must come to rest.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use muster_engine::WorkerId;
use muster_protocol::api::{EdgeLimits, Rates};
use muster_protocol::id::{EdgeId, NodeId};
use muster_store::CommitFaults;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::edge::Edge;
use super::network::Machine;
use super::node::Node;
use super::replica::Replica;
use super::{Planted, Stage, chooser, judge, player};
use crate::records::TicketState;
use crate::state::{StateError, edge_limits, edges, nodes};
use crate::world::{REGION, World};
use crate::{lifecycle, random};

/// How long a world lives under faults, in simulated time.
const LIFE: Duration = Duration::from_mins(10);
/// How long it then has to come to rest.
const REST: Duration = Duration::from_mins(30);
/// How often the promises are held against what is there.
const JUDGED_EVERY: Duration = Duration::from_mins(1);
/// How often it is looked whether everything has come to rest.
const LOOK: Duration = Duration::from_secs(15);
/// Longest pauses between two things that happen, in milliseconds: worlds differ in their pace, since what goes wrong in
/// a crowd is not what goes wrong in quiet.
const PACES_MS: [u64; 4] = [2_500, 9_000, 17_000, 25_000];
const REPLICAS: usize = 3;
const NODES: usize = 3;
/// Most edges; some worlds have but one.
const EDGES: u64 = 2;
/// Most servers of the fleet.
const MAX: u32 = 14;

/// What came of a world.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ended {
    /// Promises that did not hold.
    pub(super) broken: Vec<String>,
    /// Tickets acknowledged.
    pub(super) tickets: u64,
    /// Of them, those that got a server.
    pub(super) matched: u64,
    /// Processes killed.
    pub(super) killed: u64,
    /// Times a machine and a replica were cut from each other.
    pub(super) cut: u64,
    /// Of everything the store held in the end.
    pub(super) digest: u64,
}

/// A world under way.
pub(super) struct Story {
    stage: Arc<Stage>,
    /// Applies fleets and queues, as the API would.
    studio: World,
    nodes: Vec<Arc<Node>>,
    edges: Vec<Arc<Edge>>,
    /// Agents' and edges' processes.
    processes: JoinSet<()>,
    agents: BTreeMap<NodeId, AbortHandle>,
    gates: BTreeMap<EdgeId, AbortHandle>,
    players: JoinSet<()>,
    next_replica: u8,
    builds: u32,
    warm: u32,
    killed: u64,
    cut: u64,
}

impl Story {
    /// Lives one life and says what came of it.
    pub(super) async fn live(seed: u64, planted: Planted) -> Ended {
        let stage = Stage::new(seed, planted);
        let mut studio = World::over(stage.db.clone());
        // Seats that are given up are sold again while the match goes on.
        studio.backfill = true;
        let mut story = Self {
            studio,
            stage,
            nodes: Vec::new(),
            edges: Vec::new(),
            processes: JoinSet::new(),
            agents: BTreeMap::new(),
            gates: BTreeMap::new(),
            players: JoinSet::new(),
            next_replica: 1,
            builds: 0,
            warm: 3,
            killed: 0,
            cut: 0,
        };
        story.begin().await;
        let pace_ms = *story.stage.chance.pick(&PACES_MS).expect("some");
        let (end, mut judged) = (Instant::now() + LIFE, Instant::now());
        while Instant::now() < end {
            story.happen().await;
            tokio::time::sleep(story.stage.chance.millis(0..pace_ms)).await;
            if judged.elapsed() > JUDGED_EVERY {
                judge::now(&story.stage).await;
                judged = Instant::now();
            }
        }
        story.come_to_rest().await;
        judge::now(&story.stage).await;
        story.ended().await
    }

    async fn begin(&mut self) {
        for _ in 0..REPLICAS {
            self.hire().await;
        }
        let edges = self.stage.chance.of(1..EDGES + 1);
        let machines: (Vec<NodeId>, Vec<EdgeId>) =
            ((0..NODES).map(|_| random::id()).collect(), (0..edges).map(|_| random::id()).collect());
        let joined = self.stage.db.run("join", async |mut tx| {
            for node in &machines.0 {
                nodes::create(&mut tx, *node, "box", REGION, 1_000_000_000);
            }
            for edge in &machines.1 {
                edges::create(&mut tx, *edge, "gate", REGION, 1_000_000_000);
            }
            Ok::<_, StateError>(())
        });
        joined.await.expect("written");
        self.nodes = machines.0.into_iter().map(|id| Node::new(id, self.stage.clone())).collect();
        self.edges = machines.1.into_iter().map(|id| Edge::new(id, self.stage.clone())).collect();
        self.stage.nodes.lock().expect("whole").clone_from(&self.nodes);
        for node in self.nodes.clone() {
            self.start_agent(&node);
        }
        for edge in self.edges.clone() {
            self.start_edge(&edge);
        }
        self.roll_out().await;
        self.apply_queue(3).await;
        self.studio.apply_other_queue(player::RIVAL).await;
        self.stage.db.set_commit_faults(self.stage.planted.bad_day());
    }

    async fn hire(&mut self) {
        let id = WorkerId::from_bytes([self.next_replica; 16]);
        self.next_replica = self.next_replica.wrapping_add(1).max(1);
        let seed = self.stage.chance.of(0..u64::MAX);
        let replica = Replica::start(self.stage.db.clone(), id, self.stage.base, seed).await;
        self.stage.replicas.lock().expect("whole").push(replica);
    }

    fn dismiss(&self) -> Option<Arc<Replica>> {
        let mut replicas = self.stage.replicas.lock().expect("whole");
        let at = self.stage.chance.of(0..replicas.len() as u64) as usize;
        (!replicas.is_empty()).then(|| replicas.swap_remove(at))
    }

    fn start_agent(&mut self, node: &Arc<Node>) {
        let handle = self.processes.spawn(node.clone().agent());
        self.agents.insert(node.id, handle);
    }

    fn start_edge(&mut self, edge: &Arc<Edge>) {
        let handle = self.processes.spawn(edge.clone().run());
        self.gates.insert(edge.id, handle);
    }

    /// Applies the fleet with a new build. The store has a good moment: what is tried here is what follows.
    async fn roll_out(&mut self) {
        self.builds += 1;
        self.apply().await;
    }

    async fn apply(&self) {
        self.stage.db.set_commit_faults(CommitFaults::default());
        self.studio.set_time(self.stage.now_ms());
        let build = format!("sha256:{}", self.builds);
        self.studio.apply_fleet(&build, &[(REGION, self.warm, MAX)]).await;
        self.stage.db.set_commit_faults(self.stage.planted.bad_day());
    }

    /// Applies the queue of pairs, cut into so many parts.
    async fn apply_queue(&self, parts: u32) {
        self.stage.db.set_commit_faults(CommitFaults::default());
        self.studio.set_time(self.stage.now_ms());
        self.studio.apply_queue_spec(&player::pairs(parts)).await;
        self.stage.db.set_commit_faults(self.stage.planted.bad_day());
    }

    /// One thing that happens.
    async fn happen(&mut self) {
        while self.players.try_join_next().is_some() {}
        while self.processes.try_join_next().is_some() {}
        let chance = self.stage.chance.clone();
        match chance.of(0..100) {
            0..50 => {
                for _ in 0..chance.of(1..4) {
                    let (edge, number) =
                        (chance.pick(&self.edges).expect("some").clone(), chance.of(0..player::MAX_RANK));
                    if chance.happens(0.2) {
                        self.players.spawn(chooser::play(self.stage.clone(), edge));
                    } else {
                        self.players.spawn(player::play(self.stage.clone(), edge, number));
                    }
                }
            }
            50..55 => {
                if let Some(replica) = self.dismiss() {
                    replica.kill();
                    self.killed += 1;
                }
                self.hire().await;
            }
            55..58 => {
                let leaving = self.dismiss();
                self.hire().await;
                if let Some(leaving) = leaving {
                    leaving.stop().await;
                }
            }
            58..63 => self.kill_agent(),
            63..66 => {
                let edge = chance.pick(&self.edges).expect("some").clone();
                self.gates.remove(&edge.id).expect("running").abort();
                self.killed += 1;
                self.start_edge(&edge);
            }
            66..76 => self.cut_some(),
            76..79 => {
                let calm = chance.happens(0.5);
                let faults = if calm { CommitFaults::default() } else { self.stage.planted.bad_day() };
                self.stage.db.set_commit_faults(faults);
            }
            79..82 => {
                if let Some(replica) = self.stage.any_replica() {
                    replica.clock.set_off(chance.of(0..4_000).cast_signed() - 2_000);
                }
            }
            82..84 => self.roll_out().await,
            84..86 => {
                self.warm = chance.of(1..6) as u32;
                self.apply().await;
            }
            86..90 => self.stop_some().await,
            90..93 => {
                let node = chance.pick(&self.nodes).expect("some").clone();
                if let Some(server) = chance.pick(&node.running()) {
                    node.end(*server, chance.of(0..2).cast_signed());
                }
            }
            93..95 => self.apply_queue(chance.of(0..5) as u32).await,
            97..99 => self.limit().await,
            _ => {}
        }
    }

    /// An operator limits what comes to the edges, or lifts the limits.
    async fn limit(&self) {
        let packets_per_s = self.stage.chance.of(0..3) as u32 * 100;
        let address = Rates { packets_per_s, ..Rates::default() };
        let limits = EdgeLimits { address, ..EdgeLimits::default() };
        let set = self.stage.db.run("limits", async |mut tx| {
            edge_limits::set(&mut tx, REGION, &limits);
            Ok::<_, StateError>(())
        });
        // An operator who hears of a failure looks again.
        let _ = set.await;
    }

    /// An agent is killed, and started again after a while.
    fn kill_agent(&mut self) {
        let node = self.stage.chance.pick(&self.nodes).expect("some").clone();
        self.agents.remove(&node.id).expect("running").abort();
        self.killed += 1;
        let away = if self.stage.chance.happens(0.1) { 20_000..60_000 } else { 50..8_000 };
        let away = self.stage.chance.millis(away);
        let handle = self.processes.spawn(async move {
            tokio::time::sleep(away).await;
            node.clone().agent().await;
        });
        let node = self.nodes.iter().find(|node| !self.agents.contains_key(&node.id)).expect("the one");
        self.agents.insert(node.id, handle);
    }

    /// A machine cannot reach some replicas, or none, for a while.
    fn cut_some(&mut self) {
        let chance = self.stage.chance.clone();
        let machine = if chance.happens(0.7) {
            Machine::Node(chance.pick(&self.nodes).expect("some").id)
        } else {
            Machine::Edge(chance.pick(&self.edges).expect("some").id)
        };
        let from_all = chance.happens(0.3);
        let heals = chance.millis(if chance.happens(0.1) { 20_000..50_000 } else { 300..15_000 });
        for replica in self.stage.replicas.lock().expect("whole").iter() {
            if from_all || chance.happens(0.5) {
                self.cut += 1;
                self.stage.network.cut(machine, replica.id);
                let (network, id) = (self.stage.network.clone(), replica.id);
                tokio::spawn(async move {
                    tokio::time::sleep(heals).await;
                    network.heal(machine, id);
                });
            }
        }
    }

    /// An operator stops a server.
    async fn stop_some(&self) {
        let all: Vec<_> = self.nodes.iter().flat_map(|node| node.running()).collect();
        let Some(server) = self.stage.chance.pick(&all).copied() else { return };
        let force = self.stage.chance.happens(0.3);
        if force {
            self.stage.forced.lock().expect("whole").insert(server);
        }
        let (db, namespace) = (&self.stage.db, crate::world::NAMESPACE);
        // An operator who hears of a failure looks again.
        let _ = lifecycle::stop_server(db, namespace, server, "operator", force, self.stage.now_ms()).await;
    }

    /// Without faults, everything that was begun ends.
    async fn come_to_rest(&mut self) {
        self.stage.db.set_commit_faults(CommitFaults::default());
        self.stage.end_evening();
        let calm = Instant::now() + REST;
        loop {
            // Cuts that were to come to an end by themselves do so in any case.
            self.stage.network.heal_all();
            while self.players.try_join_next().is_some() {}
            let playing = self.players.len() + self.stage.games();
            let unrest = match judge::unrest(&self.stage, self.warm as usize).await {
                None if playing > 0 => format!("{playing} players"),
                None => match judge::lax(&self.stage, &self.edges).await {
                    None => return,
                    Some(lax) => lax,
                },
                Some(unrest) => unrest,
            };
            if Instant::now() >= calm {
                self.stage.broken(format!("not at rest after {} min: {unrest}", REST.as_secs() / 60));
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn ended(self) -> Ended {
        let known = self.stage.tickets.lock().expect("whole").clone();
        let mut matched = 0;
        let counted = self.stage.db.read("count", async |mut tx| {
            let mut matched = 0;
            for ticket in known.keys() {
                let record = crate::state::tickets::peek(&mut tx, *ticket).await?;
                matched += u64::from(record.is_some_and(|record| record.state() == TicketState::Assigned));
            }
            Ok::<_, StateError>(matched)
        });
        if let Ok(counted) = counted.await {
            matched = counted;
        }
        let mut digest = DefaultHasher::new();
        let visited = crate::check::visit(&self.stage.db, |key, value| {
            digest.write(key);
            digest.write(value);
            Ok::<_, StateError>(())
        });
        visited.await.expect("read");
        // They have the stage as it has them: nothing of this world is to outlive it.
        self.stage.nodes.lock().expect("whole").clear();
        Ended {
            broken: self.stage.all_broken(),
            tickets: known.len() as u64,
            matched,
            killed: self.killed,
            cut: self.cut,
            digest: digest.finish(),
        }
    }
}
