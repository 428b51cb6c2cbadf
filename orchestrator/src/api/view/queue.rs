//! A queue, as the API tells it.

use muster_protocol::api;

use crate::records::{QueueRecord, QueueStatusRecord};

/// A queue, with what the matchmaker last found and how many tickets are in it.
pub(crate) fn queue(
    record: &QueueRecord,
    status: QueueStatusRecord,
    searching: u32,
    matched: u32,
) -> api::Queue {
    api::Queue {
        spec: record.to_spec(),
        version: record.version,
        searching,
        matched,
        waiting_for: status.waiting_for,
    }
}
