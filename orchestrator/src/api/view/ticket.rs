//! Tickets and allocations, as the API tells them: with endpoints and fresh session tokens.

use muster_protocol::api;
use muster_protocol::token::TokenSigner;

use super::endpoint::{EndpointError, SeatAt, endpoints};
use crate::allocate::Allocation;
use crate::records::EdgeRecord;
use crate::tickets::{AssignmentView, TicketView};

/// A ticket. If it is assigned, session tokens are minted that are valid from `now_ms` for `ttl_ms`.
pub(crate) fn ticket(
    view: TicketView,
    signer: &TokenSigner,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<api::Ticket, EndpointError> {
    let record = view.record;
    let seat = view.assignment.zip(record.seat_id());
    let assignment = match seat {
        None => None,
        Some((at, seat_id)) => {
            let seat = SeatAt { server: &at.server, seat: seat_id, player: &record.player };
            Some(api::Assignment {
                match_id: at.match_record.typed_id(),
                server_id: at.server.typed_id(),
                region: at.server.region.clone(),
                seat_id,
                endpoints: if is_over(&at) {
                    Vec::new()
                } else {
                    endpoints(seat, &at.edges, signer, now_ms, ttl_ms)?
                },
            })
        }
    };
    Ok(api::Ticket {
        id: record.typed_id(),
        state: record.state().into(),
        queue: record.queue,
        player: record.player,
        explanation: view.explanation,
        created_at_ms: record.created_at_ms,
        matched_at_ms: Some(record.matched_at_ms).filter(|at| *at > 0),
        assigned_at_ms: Some(record.assigned_at_ms).filter(|at| *at > 0),
        assignment,
    })
}

/// There is nowhere to connect to once the server is over.
fn is_over(at: &AssignmentView) -> bool {
    at.server.state().is_final()
}

/// A server claimed by request, reached through `edges`. Session tokens are minted as for a ticket.
pub(crate) fn allocated(
    allocation: &Allocation,
    edges: &[EdgeRecord],
    signer: &TokenSigner,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<api::Allocated, EndpointError> {
    let server = &allocation.server;
    let mut seats = Vec::with_capacity(allocation.match_record.seats.len());
    for seat in &allocation.match_record.seats {
        let at = SeatAt { server, seat: seat.typed_id(), player: &seat.player };
        seats.push(api::AllocatedSeat {
            player: seat.player.clone(),
            seat_id: seat.typed_id(),
            endpoints: endpoints(at, edges, signer, now_ms, ttl_ms)?,
        });
    }
    Ok(api::Allocated {
        match_id: allocation.match_record.typed_id(),
        server_id: server.typed_id(),
        region: server.region.clone(),
        seats,
    })
}
