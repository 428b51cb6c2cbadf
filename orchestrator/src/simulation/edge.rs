//! An edge: takes its region's limits and routes, answers these, and says who plays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::WorkerId;
use muster_protocol::edge::{EdgeHello, EdgeLimits, RoutesApplied, to_edge};
use muster_protocol::id::{EdgeId, ServerId};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Stage;
use super::network::Machine;
use crate::edges::Flows;

/// How often flows are reported.
const EVERY: Duration = Duration::from_secs(2);
/// How long a link that nothing passes on is kept.
const SILENCE: Duration = Duration::from_secs(4);

/// What an edge says.
#[derive(Clone, Debug)]
pub(super) enum EdgeSays {
    Hello(EdgeHello),
    Applied(RoutesApplied),
    Report(Flows),
}

/// An edge, and the players that reach their servers through it.
pub(super) struct Edge {
    pub(super) id: EdgeId,
    stage: Arc<Stage>,
    flows: Mutex<BTreeMap<ServerId, u32>>,
    limits: Mutex<EdgeLimits>,
}

struct Link {
    replica: WorkerId,
    to: mpsc::Sender<EdgeSays>,
    from: mpsc::Receiver<to_edge::Body>,
    silent_since: Option<Instant>,
}

impl Edge {
    pub(super) fn new(id: EdgeId, stage: Arc<Stage>) -> Arc<Self> {
        Arc::new(Self { id, stage, flows: Mutex::default(), limits: Mutex::default() })
    }

    /// What it holds its sources to.
    pub(super) fn limits(&self) -> EdgeLimits {
        self.limits.lock().expect("whole").clone()
    }

    /// A player's packets begin to come.
    pub(super) fn join(&self, server: ServerId) {
        *self.flows.lock().expect("whole").entry(server).or_default() += 1;
    }

    /// They end.
    pub(super) fn leave(&self, server: ServerId) {
        let mut flows = self.flows.lock().expect("whole");
        if let Some(count) = flows.get_mut(&server) {
            *count -= 1;
            if *count == 0 {
                flows.remove(&server);
            }
        }
    }

    /// The edge's process, until it is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut link: Option<Link> = None;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                heard = hear(&mut link) => match heard {
                    Some(to_edge::Body::Limits(limits)) => *self.limits.lock().expect("whole") = limits,
                    Some(to_edge::Body::Welcome(_)) => {}
                    Some(to_edge::Body::Routes(table)) => {
                        let applied = RoutesApplied { revision: table.revision, failures: Vec::new() };
                        let said = link.as_ref().map(|link| link.to.try_send(EdgeSays::Applied(applied)));
                        if said.is_some_and(|said| said.is_err()) {
                            link = None;
                        }
                    }
                    None => link = None,
                },
                _ = ticks.tick() => {
                    if link.as_mut().is_some_and(|link| self.lost(link)) {
                        link = None;
                    }
                    if link.is_none() {
                        link = self.dial();
                    }
                    let flows = self.flows.lock().expect("whole").clone();
                    if let Some(up) = &link && up.to.try_send(EdgeSays::Report(flows)).is_err() {
                        link = None;
                    }
                }
            }
        }
    }

    fn lost(&self, link: &mut Link) -> bool {
        if !self.stage.network.is_cut(Machine::Edge(self.id), link.replica) {
            link.silent_since = None;
            return false;
        }
        link.silent_since.get_or_insert_with(Instant::now).elapsed() > SILENCE
    }

    fn dial(&self) -> Option<Link> {
        let machine = Machine::Edge(self.id);
        let replica = self.stage.any_replica()?;
        if self.stage.network.is_cut(machine, replica.id) {
            return None;
        }
        let (to, theirs) = self.stage.network.wire(machine, replica.id);
        let (back, from) = self.stage.network.wire(machine, replica.id);
        let hello = EdgeHello { port_first: 7_000, port_last: 7_999, ..Default::default() };
        to.try_send(EdgeSays::Hello(hello)).ok()?;
        replica.take_edge(self.id, theirs, back);
        Some(Link { replica: replica.id, to, from, silent_since: None })
    }
}

async fn hear(link: &mut Option<Link>) -> Option<to_edge::Body> {
    match link {
        Some(link) => link.from.recv().await,
        None => std::future::pending().await,
    }
}
