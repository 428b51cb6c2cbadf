//! Keys of timers: what is to be done, sorted by when it is due.

use foundationdb_tuple::{Element, Subspace, pack, unpack};
use muster_protocol::id::{MatchId, NodeId, SeatId, ServerId, TicketId};

use super::machines::transport;
use super::{KeyRange, Prefix, id};
use crate::records::PortProtocol;

/// What is to be done at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A searching ticket expires.
    TicketExpiry(TicketId),
    /// A ticket that is over is removed.
    TicketRemoval(TicketId),
    /// A match that still has no server is dissolved.
    MatchDeadline(MatchId),
    /// A match that is over is removed, with its tickets.
    MatchRemoval(MatchId),
    /// A draining server is stopped.
    DrainDeadline(ServerId),
    /// A server that is over is removed.
    ServerRemoval(ServerId),
    /// A disconnected node is given up.
    NodeLoss(NodeId),
    /// A fleet is nudged. Set by no version any more.
    FleetRetry(String, String),
    /// A port comes out of quarantine: region, protocol (UDP or TCP), port.
    PortRelease(String, PortProtocol, u16),
    /// A dropped player's seat is kept no longer.
    SeatRelease(MatchId, SeatId),
}

/// The timer's key: timers sort by when they are due.
pub fn timer(due_ms: u64, timer: &Timer) -> Vec<u8> {
    let all = Subspace::from((Prefix::Timer as u16, due_ms));
    match timer {
        Timer::TicketExpiry(ticket) => all.pack(&(1u16, id(*ticket))),
        Timer::TicketRemoval(ticket) => all.pack(&(2u16, id(*ticket))),
        Timer::MatchDeadline(match_id) => all.pack(&(3u16, id(*match_id))),
        Timer::MatchRemoval(match_id) => all.pack(&(4u16, id(*match_id))),
        Timer::DrainDeadline(server) => all.pack(&(5u16, id(*server))),
        Timer::ServerRemoval(server) => all.pack(&(6u16, id(*server))),
        Timer::NodeLoss(node) => all.pack(&(7u16, id(*node))),
        Timer::FleetRetry(namespace, fleet) => all.pack(&(8u16, namespace, fleet)),
        Timer::PortRelease(region, protocol, port) => all.pack(&(9u16, region, transport(*protocol), *port)),
        Timer::SeatRelease(match_id, seat) => all.pack(&(10u16, id(*match_id), id(*seat))),
    }
}

/// Timers due at `now_ms` or before.
pub fn timers_due(now_ms: u64) -> KeyRange {
    let all = KeyRange::under(&(Prefix::Timer as u16,));
    all.until(pack(&(Prefix::Timer as u16, now_ms.saturating_add(1))))
}

/// What a [`timer`] key says.
pub fn split_timer(key: &[u8]) -> Option<(u64, Timer)> {
    let elements: Vec<Element<'_>> = unpack(key).ok()?;
    let [Element::Int(_), Element::Int(due), Element::Int(kind), rest @ ..] = elements.as_slice() else {
        return None;
    };
    let timer = match (kind, rest) {
        (1, [Element::Uuid(id)]) => Timer::TicketExpiry(TicketId::from_uuid(*id)),
        (2, [Element::Uuid(id)]) => Timer::TicketRemoval(TicketId::from_uuid(*id)),
        (3, [Element::Uuid(id)]) => Timer::MatchDeadline(MatchId::from_uuid(*id)),
        (4, [Element::Uuid(id)]) => Timer::MatchRemoval(MatchId::from_uuid(*id)),
        (5, [Element::Uuid(id)]) => Timer::DrainDeadline(ServerId::from_uuid(*id)),
        (6, [Element::Uuid(id)]) => Timer::ServerRemoval(ServerId::from_uuid(*id)),
        (7, [Element::Uuid(id)]) => Timer::NodeLoss(NodeId::from_uuid(*id)),
        (8, [Element::String(namespace), Element::String(fleet)]) => {
            Timer::FleetRetry(namespace.to_string(), fleet.to_string())
        }
        (9, [Element::String(region), Element::Int(space), Element::Int(port)]) => {
            let protocol = if *space == 1 { PortProtocol::Udp } else { PortProtocol::Tcp };
            Timer::PortRelease(region.to_string(), protocol, u16::try_from(*port).ok()?)
        }
        (10, [Element::Uuid(match_id), Element::Uuid(seat)]) => {
            Timer::SeatRelease(MatchId::from_uuid(*match_id), SeatId::from_uuid(*seat))
        }
        _ => return None,
    };
    Some((u64::try_from(*due).ok()?, timer))
}
