//! Which agents tunnels are kept to: one running task per agent, following the route table.

use std::collections::BTreeMap;

use muster_protocol::id::NodeId;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// One kind of tunnel's agents. `T` is what users of a tunnel hold.
pub(crate) struct Agents<T> {
    kept: BTreeMap<NodeId, Kept<T>>,
}

struct Kept<T> {
    addresses: watch::Sender<Vec<String>>,
    tunnel: T,
    task: AbortHandle,
}

impl<T> Agents<T> {
    /// No agents yet.
    pub(crate) fn new() -> Self {
        Self { kept: BTreeMap::new() }
    }

    /// The tunnel to `node`.
    pub(crate) fn get(&self, node: &NodeId) -> Option<&T> {
        self.kept.get(node).map(|kept| &kept.tunnel)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Keeps tunnels to exactly the agents of `wanted`; `start` makes one that is new.
    pub(crate) fn follow(
        &mut self,
        wanted: &BTreeMap<NodeId, Vec<String>>,
        mut start: impl FnMut(NodeId, watch::Receiver<Vec<String>>) -> (T, AbortHandle),
    ) {
        self.kept.retain(|node, kept| {
            let stays = wanted.contains_key(node);
            if !stays {
                kept.task.abort();
            }
            stays
        });
        for (node, addresses) in wanted {
            let kept = self.kept.entry(*node).or_insert_with(|| {
                let (sender, receiver) = watch::channel(addresses.clone());
                let (tunnel, task) = start(*node, receiver);
                Kept { addresses: sender, tunnel, task }
            });
            kept.addresses.send_if_modified(|now| {
                let changed = now != addresses;
                now.clone_from(addresses);
                changed
            });
        }
    }
}

impl<T> Drop for Agents<T> {
    fn drop(&mut self) {
        self.kept.values().for_each(|kept| kept.task.abort());
    }
}
