//! Which workflow stands behind which record, and how it is told to look: a nudge in the transaction that
//! changes the record.
//!
//! Nodes and regions belong to the whole installation; their workflows live in a namespace of their own,
//! [`MACHINES`], which no studio can make.

use muster_engine::{Address, nudge};
use muster_protocol::id::{NodeId, ServerId, UploadId};
use muster_store::Transaction;

/// Namespace of the workflows of the installation.
pub const MACHINES: &str = "muster/machines";
/// Kind of the workflow of a node.
pub const NODE: &str = "node";
/// Kind of the workflow that places a region's servers.
pub const PLACEMENT: &str = "placement";
/// Kind of the workflow of a queue.
pub const QUEUE: &str = "queue";
/// Kind of what a queue's other parts are found by; no workflow is there.
const QUEUE_PART: &str = "queue-part";
/// Kind of the workflow of a server.
pub const SERVER: &str = "server";
/// Kind of the workflow that does what is due of tickets, matches and ports.
pub const TIMERS: &str = "timers";
/// Kind of the workflow of an upload.
pub const UPLOAD: &str = "upload";

fn address(namespace: &str, kind: &str, key: &str) -> Address {
    Address::new(namespace, kind, key).expect("names and ids are validated, and short")
}

/// Where a node's workflow lives.
pub fn node(node: NodeId) -> Address {
    address(MACHINES, NODE, &node.to_string())
}

/// Where the workflow lives that places the servers of `region`.
pub fn placement(region: &str) -> Address {
    address(MACHINES, PLACEMENT, region)
}

/// Where a queue's workflow lives.
pub fn queue(namespace: &str, queue: &str) -> Address {
    address(namespace, QUEUE, queue)
}

/// Where a part of a queue is at home: the first where the queue's workflow lives, each other where one of its own would.
pub fn queue_part(namespace: &str, queue: &str, part: usize) -> Address {
    match part {
        0 => self::queue(namespace, queue),
        part => address(namespace, QUEUE_PART, &format!("{queue}/{part}")),
    }
}

/// Where a server's workflow lives.
pub fn server(namespace: &str, server: ServerId) -> Address {
    address(namespace, SERVER, &server.to_string())
}

/// Where the workflow of what is due lives.
pub fn timers() -> Address {
    address(MACHINES, TIMERS, "all")
}

/// Where an upload's workflow lives.
pub fn upload(namespace: &str, upload: UploadId) -> Address {
    address(namespace, UPLOAD, &upload.to_string())
}

/// Something of `region` is pending, or there is room for it.
pub(crate) fn touch_placement(tx: &mut Transaction, region: &str) {
    nudge(tx, &placement(region));
}

/// Something of `server` has changed that its workflow goes by.
pub(crate) fn touch_server(tx: &mut Transaction, namespace: &str, server: ServerId) {
    nudge(tx, &self::server(namespace, server));
}
