//! A ticket, as the API tells it.

use muster_protocol::api;

use crate::records::TicketRecord;

/// A ticket, with its assignment once it has one.
pub(crate) fn ticket(record: TicketRecord, assignment: Option<api::Assignment>) -> api::Ticket {
    api::Ticket {
        id: record.typed_id(),
        state: record.state().into(),
        queue: record.queue,
        player: record.player,
        explanation: record.detail,
        created_at_ms: record.created_at_ms,
        matched_at_ms: Some(record.matched_at_ms).filter(|at| *at > 0),
        assigned_at_ms: Some(record.assigned_at_ms).filter(|at| *at > 0),
        assignment,
    }
}
