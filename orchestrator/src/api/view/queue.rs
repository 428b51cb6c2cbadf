//! A queue, as the API tells it.

use muster_matchmaker::parts::{Part, Parts};
use muster_protocol::api;

use crate::records::{
    Id, QueueRecord, QueueStatusRecord, QueueVersionRecord, RecordedTicketRecord, TicketMember,
};
use crate::state::StateError;

/// A ticket of a recording.
pub(crate) fn recorded(record: RecordedTicketRecord) -> api::RecordedTicket {
    let ticket = record.ticket.unwrap_or_default();
    let member = |member: &TicketMember| api::PartyMember {
        player: member.player.clone(),
        attributes: member.values(),
    };
    api::RecordedTicket {
        entered_ms: ticket.created_at_ms,
        left_ms: Some(record.left_ms).filter(|at| *at > 0),
        players: ticket.members.iter().map(member).collect(),
        priority: ticket.priority().into(),
        latencies_ms: ticket.latencies_ms,
        filter: ticket.filter,
        blocks: ticket.blocks,
    }
}

/// A version of a queue's definition.
pub(crate) fn queue_version(
    queue: &str,
    record: &QueueVersionRecord,
) -> Result<api::QueueVersion, StateError> {
    Ok(api::QueueVersion {
        version: record.version,
        spec: record.to_spec(queue)?,
        applied_at_ms: record.applied_at_ms,
        applied_by: record.applied_by.map(Id::typed),
    })
}

fn part(part: Part<'_>) -> api::QueuePart {
    api::QueuePart { regions: part.regions.to_vec(), from: part.from, to: part.to }
}

/// A queue, with what the matchmaker last found, how many tickets search and are matched, and how many matches it fills.
pub(crate) fn queue(
    record: &QueueRecord,
    status: QueueStatusRecord,
    (searching, matched, openings): (u32, u32, usize),
    parts: &Parts,
) -> Result<api::Queue, StateError> {
    let (wait_p50_ms, wait_p90_ms) = status.expected_waits_ms();
    Ok(api::Queue {
        spec: record.to_spec()?,
        version: record.version,
        mode: record.mode().into(),
        searching,
        matched,
        openings: u32::try_from(openings).unwrap_or(u32::MAX),
        wait_p50_ms,
        wait_p90_ms,
        waiting_for: status.waiting_for,
        parts: if parts.count() > 1 { parts.iter().map(part).collect() } else { Vec::new() },
    })
}
