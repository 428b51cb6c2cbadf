//! Which node a server goes to, pure: bin packing by free CPU and memory.
//!
//! The fullest node that still has room is taken, so that whole nodes stay free for large servers and
//! can be taken away. Edge ports are chosen in `state::ports`, in the same transaction.

use muster_protocol::id::NodeId;

use crate::state::desired::MAX_SERVERS_PER_NODE;

/// A usable node and what it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRoom {
    /// Node.
    pub id: NodeId,
    /// CPU it offers, in thousandths.
    pub cpu_millis: u64,
    /// CPU promised.
    pub cpu_millis_promised: u64,
    /// Memory it offers, in bytes.
    pub memory_bytes: u64,
    /// Memory promised.
    pub memory_bytes_promised: u64,
    /// Servers placed on it.
    pub servers: u32,
}

/// What a server asks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Thousandths of a CPU.
    pub cpu_millis: u64,
    /// Bytes of memory.
    pub memory_bytes: u64,
}

/// Why no node will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// No node would have room even if it were empty.
    TooLarge,
    /// Nodes are large enough, but not free enough now.
    Full,
}

impl NodeRoom {
    fn left_after(&self, need: Need) -> Option<(u64, u64)> {
        let cpu = self.cpu_millis.checked_sub(self.cpu_millis_promised)?.checked_sub(need.cpu_millis)?;
        let memory =
            self.memory_bytes.checked_sub(self.memory_bytes_promised)?.checked_sub(need.memory_bytes)?;
        ((self.servers as usize) < MAX_SERVERS_PER_NODE).then_some((cpu, memory))
    }

    /// What would be left, as parts per million of the node, CPU and memory added: less is fuller.
    fn slack(&self, (cpu, memory): (u64, u64)) -> u128 {
        let part = |left: u64, all: u64| u128::from(left) * 1_000_000 / u128::from(all.max(1));
        part(cpu, self.cpu_millis) + part(memory, self.memory_bytes)
    }
}

/// The node for a server that needs `need`: the one with least left afterwards, the oldest of equals.
///
/// # Errors
/// [`NoRoom`], saying whether waiting can help.
pub fn choose(nodes: &[NodeRoom], need: Need) -> Result<NodeId, NoRoom> {
    let fullest = nodes
        .iter()
        .filter_map(|node| Some((node.slack(node.left_after(need)?), node.id.uuid(), node.id)))
        .min_by_key(|(slack, age, _)| (*slack, *age));
    match fullest {
        Some((.., node)) => Ok(node),
        None if nodes
            .iter()
            .any(|node| node.cpu_millis >= need.cpu_millis && node.memory_bytes >= need.memory_bytes) =>
        {
            Err(NoRoom::Full)
        }
        None => Err(NoRoom::TooLarge),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(cpu: u64, cpu_promised: u64, memory: u64, memory_promised: u64) -> NodeRoom {
        NodeRoom {
            id: NodeId::new(),
            cpu_millis: cpu,
            cpu_millis_promised: cpu_promised,
            memory_bytes: memory,
            memory_bytes_promised: memory_promised,
            servers: 0,
        }
    }

    #[test]
    fn the_fullest_node_with_room_is_taken() {
        let need = Need { cpu_millis: 500, memory_bytes: 100 };
        let empty = node(4_000, 0, 1_000, 0);
        let half = node(4_000, 2_000, 1_000, 500);
        let full = node(4_000, 3_600, 1_000, 500);
        let no_memory = node(4_000, 0, 1_000, 950);
        assert_eq!(choose(&[empty, half, full, no_memory], need), Ok(half.id));
        assert_eq!(choose(&[full, no_memory], need), Err(NoRoom::Full));
        assert_eq!(choose(&[], need), Err(NoRoom::TooLarge));
        assert_eq!(choose(&[node(400, 0, 1_000, 0)], need), Err(NoRoom::TooLarge));
    }

    #[test]
    fn a_node_at_its_most_servers_is_full() {
        let crowded = NodeRoom { servers: MAX_SERVERS_PER_NODE as u32, ..node(4_000, 0, 1_000, 0) };
        assert_eq!(choose(&[crowded], Need { cpu_millis: 0, memory_bytes: 0 }), Err(NoRoom::Full));
    }

    proptest! {
        /// Placing until it is refused never promises more than a node has, and refuses only when no
        /// node has room.
        #[test]
        fn never_promises_more_than_there_is(
            sizes in proptest::collection::vec((1u64..5_000, 1u64..5_000), 1..5),
            needs in proptest::collection::vec((0u64..2_000, 0u64..2_000), 1..40),
        ) {
            let mut nodes: Vec<NodeRoom> = sizes.iter().map(|(cpu, memory)| node(*cpu, 0, *memory, 0)).collect();
            for (cpu_millis, memory_bytes) in needs {
                let need = Need { cpu_millis, memory_bytes };
                if let Ok(id) = choose(&nodes, need) {
                    let taken = nodes.iter_mut().find(|node| node.id == id).expect("one of them");
                    taken.cpu_millis_promised += cpu_millis;
                    taken.memory_bytes_promised += memory_bytes;
                    prop_assert!(taken.cpu_millis_promised <= taken.cpu_millis);
                    prop_assert!(taken.memory_bytes_promised <= taken.memory_bytes);
                } else {
                    let fits = |node: &NodeRoom| {
                        node.cpu_millis - node.cpu_millis_promised >= cpu_millis
                            && node.memory_bytes - node.memory_bytes_promised >= memory_bytes
                    };
                    prop_assert!(!nodes.iter().any(fits));
                }
            }
        }
    }
}
