//! The network between machines and replicas: links that deliver late, now and then twice, and not at all while
//! they are cut.
//!
//! Within a link messages keep their order, as a QUIC stream has them; those of an old link may arrive after
//! those of a newer one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::WorkerId;
use muster_protocol::id::{EdgeId, NodeId};
use tokio::sync::mpsc;

use super::Chance;

/// Messages of a link under way.
const UNDER_WAY: usize = 1_024;
/// How often a cut link tries.
const RETRY: Duration = Duration::from_millis(200);

/// A machine at one end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Machine {
    Node(NodeId),
    Edge(EdgeId),
}

/// What is cut from what.
pub(super) struct Network {
    chance: Arc<Chance>,
    cuts: Mutex<BTreeSet<(Machine, WorkerId)>>,
}

impl Network {
    pub(super) fn new(chance: Arc<Chance>) -> Self {
        Self { chance, cuts: Mutex::default() }
    }

    /// Nothing passes between the two from now on.
    pub(super) fn cut(&self, machine: Machine, replica: WorkerId) {
        self.cuts.lock().expect("whole").insert((machine, replica));
    }

    /// Everything passes again between the two.
    pub(super) fn heal(&self, machine: Machine, replica: WorkerId) {
        self.cuts.lock().expect("whole").remove(&(machine, replica));
    }

    /// Everything passes again.
    pub(super) fn heal_all(&self) {
        self.cuts.lock().expect("whole").clear();
    }

    pub(super) fn is_cut(&self, machine: Machine, replica: WorkerId) -> bool {
        self.cuts.lock().expect("whole").contains(&(machine, replica))
    }

    /// One direction of a link. Its end is told as late as its messages are.
    pub(super) fn wire<T: Clone + Send + 'static>(
        self: &Arc<Self>,
        machine: Machine,
        replica: WorkerId,
    ) -> (mpsc::Sender<T>, mpsc::Receiver<T>) {
        let (to, mut under_way) = mpsc::channel::<T>(UNDER_WAY);
        let (deliver, from) = mpsc::channel(UNDER_WAY);
        let network = self.clone();
        tokio::spawn(async move {
            while let Some(message) = under_way.recv().await {
                network.pass(machine, replica).await;
                if network.chance.happens(0.02) && deliver.send(message.clone()).await.is_err() {
                    return;
                }
                if deliver.send(message).await.is_err() {
                    return;
                }
            }
            network.pass(machine, replica).await;
        });
        (to, from)
    }

    async fn pass(&self, machine: Machine, replica: WorkerId) {
        tokio::time::sleep(self.chance.millis(1..30)).await;
        while self.is_cut(machine, replica) {
            tokio::time::sleep(RETRY).await;
        }
    }
}
