//! Keys of queues, tickets and matches.

use foundationdb_tuple::{Uuid, Versionstamp, pack, unpack};
use muster_protocol::id::{MatchId, SeatId, TicketId};
use muster_store::VERSIONSTAMP_BYTES;

use super::{KeyRange, Prefix, id};
use crate::records::{MatchRecord, TicketState};

/// [`crate::records::QueueRecord`].
pub fn queue(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::Queue as u16, namespace, queue))
}

/// Every queue of a namespace.
pub fn queues(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Queue as u16, namespace))
}

/// Every queue of every namespace.
pub fn all_queues() -> KeyRange {
    KeyRange::under(&(Prefix::Queue as u16,))
}

/// [`crate::records::QueueStatusRecord`].
pub fn queue_status(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::QueueStatus as u16, namespace, queue))
}

/// [`crate::records::QueuePartsRecord`].
pub fn queue_parts(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::QueueParts as u16, namespace, queue))
}

/// The parts of every queue that has several.
pub fn all_queue_parts() -> KeyRange {
    KeyRange::under(&(Prefix::QueueParts as u16,))
}

/// Namespace and queue of a [`queue_parts`] key.
pub fn split_queue_parts(key: &[u8]) -> Option<(String, String)> {
    unpack::<(u16, String, String)>(key).ok().map(|(_, namespace, queue)| (namespace, queue))
}

/// [`crate::records::QueueVersionRecord`].
pub fn queue_version(namespace: &str, queue: &str, version: u64) -> Vec<u8> {
    pack(&(Prefix::QueueVersion as u16, namespace, queue, version))
}

/// The versions of a queue's definition that are kept, the oldest first.
pub fn queue_versions(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::QueueVersion as u16, namespace, queue))
}

/// Namespace, queue and version of a [`queue_version`] key.
pub fn split_queue_version(key: &[u8]) -> Option<(String, String, u64)> {
    let (_, namespace, queue, version) = unpack::<(u16, String, String, u64)>(key).ok()?;
    Some((namespace, queue, version))
}

/// Number of queues of a namespace.
pub fn queue_count(namespace: &str) -> Vec<u8> {
    pack(&(Prefix::QueueCount as u16, namespace))
}

/// [`crate::records::TicketRecord`]. Watch it for a long poll.
pub fn ticket(ticket: TicketId) -> Vec<u8> {
    pack(&(Prefix::Ticket as u16, id(ticket)))
}

/// Index of searching tickets, by age; [`crate::records::SearchingTicket`].
pub fn ticket_searching(namespace: &str, queue: &str, ticket: TicketId) -> Vec<u8> {
    pack(&(Prefix::TicketSearching as u16, namespace, queue, id(ticket)))
}

/// Searching tickets of a queue, oldest first.
pub fn tickets_searching(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::TicketSearching as u16, namespace, queue))
}

/// What happened to a searching ticket, a row of its own for every time, and where its versionstamp goes;
/// [`crate::records::SearchingTicket`], or nothing if it searches no more.
pub fn ticket_news_row(namespace: &str, queue: &str, ticket: TicketId) -> (Vec<u8>, usize) {
    news_row(Prefix::TicketNews, (namespace, queue), id(ticket))
}

/// A row of news and where its versionstamp goes.
fn news_row(prefix: Prefix, (namespace, queue): (&str, &str), of: Uuid) -> (Vec<u8>, usize) {
    let mut key = pack(&(prefix as u16, namespace, queue, Versionstamp::incomplete(0)));
    // The tuple ends with the stamp and two bytes that sort the rows of one transaction, which are of no use here.
    let hole = key.len() - VERSIONSTAMP_BYTES - 2;
    key.extend(pack(&(of,)));
    (key, hole)
}

/// What happened to the searching tickets of a queue, in the order of commits.
pub fn ticket_news(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::TicketNews as u16, namespace, queue))
}

/// The ticket that an idempotency key made: its id.
pub fn ticket_idempotency(namespace: &str, key: &str) -> Vec<u8> {
    pack(&(Prefix::TicketIdempotency as u16, namespace, key))
}

/// [`crate::records::RecordedTicketRecord`]: by the time the ticket came.
pub fn ticket_recorded(namespace: &str, queue: &str, created_at_ms: u64, ticket: TicketId) -> Vec<u8> {
    pack(&(Prefix::TicketRecorded as u16, namespace, queue, created_at_ms, id(ticket)))
}

/// A queue's recording, by the time its tickets came.
pub fn recording(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::TicketRecorded as u16, namespace, queue))
}

/// Index of the tickets of a queue that a backend asked for, by player, while they are under way.
pub fn player_ticket(namespace: &str, queue: &str, player: &str, ticket: TicketId) -> Vec<u8> {
    pack(&(Prefix::PlayerTicket as u16, namespace, queue, player, id(ticket)))
}

/// Those of one player, oldest first.
pub fn player_tickets(namespace: &str, queue: &str, player: &str) -> KeyRange {
    KeyRange::under(&(Prefix::PlayerTicket as u16, namespace, queue, player))
}

/// Number of tickets in a queue's recording.
pub fn recorded_count(namespace: &str, queue: &str) -> Vec<u8> {
    pack(&(Prefix::RecordedCount as u16, namespace, queue))
}

/// Number of tickets in a state, final ones as long as they are kept.
pub fn ticket_count(namespace: &str, queue: &str, state: TicketState) -> Vec<u8> {
    pack(&(Prefix::TicketCount as u16, namespace, queue, state as u16))
}

/// Counts of a namespace.
pub fn ticket_counts_of_namespace(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::TicketCount as u16, namespace))
}

/// Counts of everything.
pub fn all_ticket_counts() -> KeyRange {
    KeyRange::under(&(Prefix::TicketCount as u16,))
}

/// Namespace, queue and state of a [`ticket_count`] key.
pub fn split_ticket_count(key: &[u8]) -> Option<(String, String, TicketState)> {
    let (_, namespace, queue, state) = unpack::<(u16, String, String, u16)>(key).ok()?;
    Some((namespace, queue, TicketState::try_from(i32::from(state)).ok()?))
}

/// [`crate::records::MatchRecord`].
pub fn match_(match_id: MatchId) -> Vec<u8> {
    pack(&(Prefix::Match as u16, id(match_id)))
}

/// [`crate::records::MatchSeats`]: a row of seats that the match's record has no room for.
pub fn match_seats(match_id: MatchId, row: u32) -> Vec<u8> {
    pack(&(Prefix::MatchSeats as u16, id(match_id), row))
}

/// All of [`match_seats`] of a match.
pub fn match_seats_of(match_id: MatchId) -> KeyRange {
    KeyRange::under(&(Prefix::MatchSeats as u16, id(match_id)))
}

/// Index of matches that wait for a server, by age.
pub fn match_waiting(namespace: &str, fleet: &str, region: &str, match_id: MatchId) -> Vec<u8> {
    pack(&(Prefix::MatchWaiting as u16, namespace, fleet, region, id(match_id)))
}

/// Waiting matches of a fleet, by region.
pub fn matches_waiting(namespace: &str, fleet: &str) -> KeyRange {
    KeyRange::under(&(Prefix::MatchWaiting as u16, namespace, fleet))
}

/// Waiting matches of a fleet in a region.
pub fn matches_waiting_in(namespace: &str, fleet: &str, region: &str) -> KeyRange {
    KeyRange::under(&(Prefix::MatchWaiting as u16, namespace, fleet, region))
}

/// Region and match of a [`match_waiting`] key.
pub fn split_match_waiting(key: &[u8]) -> Option<(String, MatchId)> {
    unpack::<(u16, String, String, String, Uuid)>(key)
        .ok()
        .map(|(_, _, _, region, id)| (region, MatchId::from_uuid(id)))
}

/// Seats that a player has been in, of a queue's matches that go on; [`crate::records::PlayerSeat`]. A player has one as a
/// rule, and as many as matches they are held a place in.
pub fn player_seats(namespace: &str, queue: &str, player: &str) -> KeyRange {
    KeyRange::under(&(Prefix::PlayerSeat as u16, namespace, OF_QUEUE, queue, player))
}

/// The row of [`player_seats`] of one seat. Seats of a match without a queue are those of its fleet.
pub fn player_seat(of: &MatchRecord, player: &str, seat: SeatId) -> Vec<u8> {
    let (kind, name) = if of.queue.is_empty() { (OF_FLEET, &of.fleet) } else { (OF_QUEUE, &of.queue) };
    pack(&(Prefix::PlayerSeat as u16, &of.namespace, kind, name, player, id(seat)))
}

/// What the name in a [`player_seat`] key is of.
const OF_QUEUE: u16 = 0;
const OF_FLEET: u16 = 1;

/// Index of matches that their queue fills.
pub fn match_open(namespace: &str, queue: &str, match_id: MatchId) -> Vec<u8> {
    pack(&(Prefix::MatchOpen as u16, namespace, queue, id(match_id)))
}

/// Matches that a queue fills, oldest first.
pub fn matches_open(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::MatchOpen as u16, namespace, queue))
}

/// That a match has changed which its queue fills, or did until then, a row of its own for every time, and where its
/// versionstamp goes; nothing.
pub fn match_news_row(namespace: &str, queue: &str, match_id: MatchId) -> (Vec<u8>, usize) {
    news_row(Prefix::MatchNews, (namespace, queue), id(match_id))
}

/// What happened to the matches that a queue fills, in the order of commits.
pub fn match_news(namespace: &str, queue: &str) -> KeyRange {
    KeyRange::under(&(Prefix::MatchNews as u16, namespace, queue))
}
