//! What a server says of its seats: who is there, who is gone, whom it has given up. A seat whose player is gone is kept for
//! the fleet's `reconnect_s`, then given up.

use muster_protocol::id::{MatchId, SeatId};
use muster_store::Transaction;

use super::{DROPPED, RELEASED, release};
use crate::records::{MatchSeat, ServerRecord};
use crate::state::{StateError, fleets, matches};

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
    let is_news = |seat: &MatchSeat| look(seat, is_there(server, seat), now_ms, 0) != *seat;
    let mut after = before.clone();
    if before.seats.iter().any(is_news) {
        let fleet = fleets::peek(tx, &before.namespace, &before.fleet).await?;
        let kept_ms = fleet.unwrap_or_default().reconnect_ms();
        for seat in &mut after.seats {
            *seat = look(seat, is_there(server, seat), now_ms, kept_ms);
        }
        matches::save(tx, Some(&before), &after);
    }
    let after = release(tx, &after, &released, RELEASED, now_ms).await?;
    let over: Vec<SeatId> =
        after.seats.iter().filter(|seat| is_over(seat, now_ms)).map(MatchSeat::typed_id).collect();
    release(tx, &after, &over, DROPPED, now_ms).await.map(drop)
}

/// Gives up a seat whose player is gone, if the time it is kept for is over.
pub(crate) async fn pass_kept(
    tx: &mut Transaction,
    match_id: MatchId,
    seat: SeatId,
    now_ms: u64,
) -> Result<(), StateError> {
    let Some(record) = matches::load(tx, match_id).await? else { return Ok(()) };
    if record.seats.iter().any(|held| held.typed_id() == seat && is_over(held, now_ms)) {
        release(tx, &record, &[seat], DROPPED, now_ms).await?;
    }
    Ok(())
}

fn is_there(server: &ServerRecord, seat: &MatchSeat) -> bool {
    seat.id.is_some_and(|id| server.connected_seats.contains(&id))
}

/// Whether a seat's player is gone for longer than it is kept.
fn is_over(seat: &MatchSeat, now_ms: u64) -> bool {
    seat.dropped_at_ms > 0 && seat.kept_until_ms <= now_ms
}

/// The seat, now that its player is there or is not. Who has never been there is on the way, and cannot drop out.
fn look(seat: &MatchSeat, is_there: bool, now_ms: u64, kept_ms: u64) -> MatchSeat {
    let mut after = seat.clone();
    if is_there {
        if after.connected_at_ms == 0 {
            after.connected_at_ms = now_ms;
        }
        (after.dropped_at_ms, after.kept_until_ms) = (0, 0);
    } else if after.connected_at_ms > 0 && after.dropped_at_ms == 0 {
        (after.dropped_at_ms, after.kept_until_ms) = (now_ms, now_ms + kept_ms);
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_kept_from_when_its_player_is_gone_until_they_are_back() {
        let sold = MatchSeat::default();
        assert_eq!(look(&sold, false, 5, 60), sold, "on the way");
        let there = look(&sold, true, 10, 60);
        assert_eq!((there.connected_at_ms, there.dropped_at_ms), (10, 0));
        assert_eq!(look(&there, true, 20, 60), there);
        let gone = look(&there, false, 30, 60);
        assert_eq!((gone.dropped_at_ms, gone.kept_until_ms), (30, 90));
        assert_eq!(look(&gone, false, 40, 60), gone, "counted from the first word of it");
        assert!(!is_over(&gone, 89) && is_over(&gone, 90));
        assert_eq!(look(&gone, true, 50, 60), there);
        assert!(is_over(&look(&there, false, 30, 0), 30), "not kept");
    }
}
