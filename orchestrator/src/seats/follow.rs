//! What a server says of its seats: who is there, who is gone, whom it has given up. A seat whose player is gone is kept for
//! the fleet's `reconnect_s`, that of one who has not come, while others have, for its `connect_s`; then it is given up.

use muster_protocol::id::{MatchId, SeatId};
use muster_store::Transaction;

use super::{Why, release};
use crate::records::{FleetRecord, MatchRecord, MatchSeat, ServerRecord};
use crate::state::{StateError, fleets, matches};

/// Its player was gone for too long.
const DROPPED: Why = Why("dropped", "its players dropped out and were not back in time");
/// Its player did not come.
const NOT_CONNECTED: Why =
    Why("not_connected", "its players did not come in time, while others of the match did");
/// The server said so.
const RELEASED: Why = Why("released", "the server gave the seats of its players up");

/// How long seats are kept, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    /// Of a player who was there.
    gone_ms: u64,
    /// Of one who is on the way; `None`: while the match goes on.
    coming_ms: Option<u64>,
}

impl Kept {
    /// As the fleet says. Nobody is waited for before somebody is there: a server may use the SDK and not say who is.
    fn of(fleet: &FleetRecord, is_begun: bool) -> Self {
        let coming_ms = fleet.connect_ms().filter(|_| is_begun);
        Self { gone_ms: fleet.reconnect_ms(), coming_ms }
    }
}

/// Whether the server has said of anybody in the match that they are there.
fn is_begun(record: &MatchRecord) -> bool {
    record.seats.iter().any(|seat| seat.connected_at_ms > 0)
}

/// Until when a seat is held that is sold in a match: 0 while nobody of it is there, and where it is held for as long as the
/// match goes on.
pub(super) async fn held_until(
    tx: &mut Transaction,
    record: &MatchRecord,
    now_ms: u64,
) -> Result<u64, StateError> {
    if !is_begun(record) {
        return Ok(0);
    }
    let fleet = fleets::peek(tx, &record.namespace, &record.fleet).await?.unwrap_or_default();
    Ok(fleet.connect_ms().map_or(0, |connect_ms| now_ms + connect_ms))
}

/// Takes over what the agent of `server`, which is as it is after the report, says of its seats; `released` are those that
/// the server gave up. Seats that are not of its match are passed over.
pub(crate) async fn follow(
    tx: &mut Transaction,
    server: &ServerRecord,
    released: &[String],
    now_ms: u64,
) -> Result<(), StateError> {
    let Some(match_id) = server.match_id().filter(|_| server.uses_sdk) else { return Ok(()) };
    let Some(before) = matches::load(tx, match_id).await?.filter(|record| record.ended_at_ms == 0) else {
        return Ok(());
    };
    let released: Vec<SeatId> = released.iter().filter_map(|seat| seat.parse().ok()).collect();
    let is_begun = is_begun(&before) || before.seats.iter().any(|seat| is_there(server, seat));
    let any = Kept { gone_ms: 0, coming_ms: is_begun.then_some(0) };
    let is_news = |seat: &MatchSeat| look(seat, is_there(server, seat), now_ms, any) != *seat;
    let mut after = before.clone();
    if before.seats.iter().any(is_news) {
        let fleet = fleets::peek(tx, &before.namespace, &before.fleet).await?.unwrap_or_default();
        let kept = Kept::of(&fleet, is_begun);
        for seat in &mut after.seats {
            *seat = look(seat, is_there(server, seat), now_ms, kept);
        }
        if after != before {
            matches::save(tx, Some(&before), &after);
        }
    }
    let after = release(tx, &after, &released, RELEASED, now_ms).await?;
    let over: Vec<SeatId> =
        after.seats.iter().filter(|seat| is_over(seat, now_ms)).map(MatchSeat::typed_id).collect();
    pass(tx, after, &over, now_ms).await
}

/// Gives up a seat whose player is not there, if the time it is kept for is over.
pub(crate) async fn pass_kept(
    tx: &mut Transaction,
    match_id: MatchId,
    seat: SeatId,
    now_ms: u64,
) -> Result<(), StateError> {
    let Some(record) = matches::load(tx, match_id).await? else { return Ok(()) };
    if record.seats.iter().any(|held| held.typed_id() == seat && is_over(held, now_ms)) {
        pass(tx, record, &[seat], now_ms).await?;
    }
    Ok(())
}

/// Gives up seats whose time is over, each for its own reason.
async fn pass(
    tx: &mut Transaction,
    mut record: MatchRecord,
    over: &[SeatId],
    now_ms: u64,
) -> Result<(), StateError> {
    for (why, was_there) in [(DROPPED, true), (NOT_CONNECTED, false)] {
        let is_over =
            |seat: &&MatchSeat| over.contains(&seat.typed_id()) && (seat.connected_at_ms > 0) == was_there;
        let seats: Vec<SeatId> = record.seats.iter().filter(is_over).map(MatchSeat::typed_id).collect();
        if !seats.is_empty() {
            record = release(tx, &record, &seats, why, now_ms).await?;
        }
    }
    Ok(())
}

fn is_there(server: &ServerRecord, seat: &MatchSeat) -> bool {
    seat.id.is_some_and(|id| server.connected_seats.contains(&id))
}

/// Whether a seat's player is not there for longer than it is kept.
fn is_over(seat: &MatchSeat, now_ms: u64) -> bool {
    seat.kept_until_ms > 0 && seat.kept_until_ms <= now_ms
}

/// The seat, now that its player is there or is not. Who has never been there is on the way, and cannot drop out. A seat
/// without a ticket was claimed by request, and is its claimant's.
fn look(seat: &MatchSeat, is_there: bool, now_ms: u64, kept: Kept) -> MatchSeat {
    let mut after = seat.clone();
    if is_there {
        if after.connected_at_ms == 0 {
            after.connected_at_ms = now_ms;
        }
        (after.dropped_at_ms, after.kept_until_ms) = (0, 0);
    } else if after.connected_at_ms == 0 {
        if let Some(coming_ms) = kept.coming_ms.filter(|_| after.kept_until_ms == 0 && after.ticket.is_some())
        {
            after.kept_until_ms = now_ms + coming_ms;
        }
    } else if after.dropped_at_ms == 0 {
        (after.dropped_at_ms, after.kept_until_ms) = (now_ms, now_ms + kept.gone_ms);
    }
    after
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::TicketId;

    use super::*;

    const KEPT: Kept = Kept { gone_ms: 60, coming_ms: None };

    #[test]
    fn a_seat_is_kept_from_when_its_player_is_gone_until_they_are_back() {
        let sold = MatchSeat { ticket: Some(TicketId::new().into()), ..MatchSeat::default() };
        assert_eq!(look(&sold, false, 5, KEPT), sold, "on the way");
        let there = look(&sold, true, 10, KEPT);
        assert_eq!((there.connected_at_ms, there.dropped_at_ms), (10, 0));
        assert_eq!(look(&there, true, 20, KEPT), there);
        let gone = look(&there, false, 30, KEPT);
        assert_eq!((gone.dropped_at_ms, gone.kept_until_ms), (30, 90));
        assert_eq!(look(&gone, false, 40, KEPT), gone, "counted from the first word of it");
        assert!(!is_over(&gone, 89) && is_over(&gone, 90));
        assert_eq!(look(&gone, true, 50, KEPT), there);
        assert!(is_over(&look(&there, false, 30, Kept::default()), 30), "not kept");
    }

    #[test]
    fn who_has_not_come_is_waited_for_once_others_are_there() {
        let begun = Kept { coming_ms: Some(100), ..KEPT };
        let sold = MatchSeat { ticket: Some(TicketId::new().into()), ..MatchSeat::default() };
        let late = look(&sold, false, 10, begun);
        assert_eq!((late.connected_at_ms, late.dropped_at_ms, late.kept_until_ms), (0, 0, 110));
        assert_eq!(look(&late, false, 50, begun), late, "counted from the first word of it");
        assert!(!is_over(&late, 109) && is_over(&late, 110));
        let there = look(&late, true, 60, begun);
        assert_eq!((there.connected_at_ms, there.kept_until_ms), (60, 0));
        assert_eq!(look(&there, false, 70, begun).kept_until_ms, 130, "from here on it is as any other's");
        let claimed = MatchSeat::default();
        assert_eq!(look(&claimed, false, 10, begun), claimed, "its claimant's");
    }
}
