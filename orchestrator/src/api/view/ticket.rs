//! Tickets and allocations, as the API tells them: with endpoints and fresh session tokens.

use muster_protocol::api;
use muster_protocol::id::SeatId;
use muster_protocol::token::TokenSigner;

use super::endpoint::{EndpointError, SeatAt, endpoints};
use crate::allocate::Allocation;
use crate::records::{EdgeRecord, typed};
use crate::tickets::{AssignmentView, TicketView};

/// A ticket. If it is assigned, session tokens are minted that are valid from `now_ms` for `ttl_ms`.
pub(crate) fn ticket(
    view: TicketView,
    signer: &TokenSigner,
    now_ms: u64,
    ttl_ms: u64,
) -> Result<api::Ticket, EndpointError> {
    let record = view.record;
    let assignment = match view.assignment.zip(record.seat_id()) {
        None => None,
        Some((at, seat_id)) => {
            let mut party = Vec::new();
            let held = |seat| at.match_record.holds(record.id, seat);
            for member in record.members.iter().skip(1).filter(|member| held(member.seat)) {
                let seat_id = typed(member.seat);
                let player = member.player.clone();
                let endpoints = reached(&at, seat_id, &player, (signer, now_ms, ttl_ms))?;
                party.push(api::AllocatedSeat { player, seat_id, endpoints });
            }
            Some(api::Assignment {
                match_id: at.match_record.typed_id(),
                server_id: at.server.typed_id(),
                region: at.server.region.clone(),
                seat_id,
                team: record.team.clone(),
                endpoints: reached(&at, seat_id, &record.player, (signer, now_ms, ttl_ms))?,
                party,
            })
        }
    };
    Ok(api::Ticket {
        id: record.typed_id(),
        state: record.state().into(),
        queue: record.queue,
        player: record.player,
        explanation: view.explanation,
        token: None,
        accept_by_ms: view.proposal.as_ref().map(|proposal| proposal.until_ms),
        accepted: view.proposal.is_some_and(|proposal| proposal.accepted),
        created_at_ms: record.created_at_ms,
        matched_at_ms: Some(record.matched_at_ms).filter(|at| *at > 0),
        assigned_at_ms: Some(record.assigned_at_ms).filter(|at| *at > 0),
        assignment,
        lobby: view.lobby.and_then(super::lobby::lobby),
    })
}

/// Where a seat is reached: nowhere once the server is over.
fn reached(
    at: &AssignmentView,
    seat: SeatId,
    player: &str,
    (signer, now_ms, ttl_ms): (&TokenSigner, u64, u64),
) -> Result<Vec<api::Endpoint>, EndpointError> {
    if at.server.state().is_final() {
        return Ok(Vec::new());
    }
    endpoints(SeatAt { server: &at.server, seat, player }, &at.edges, signer, now_ms, ttl_ms)
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
