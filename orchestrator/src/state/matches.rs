//! Matches, the index of those that wait for a server, that of those that their queue fills, with the news of it, and that
//! of the players who have been in them.

use std::collections::BTreeMap;

use bytes::Bytes;
use muster_protocol::api::MAX_PLAYERS;
use muster_protocol::id::MatchId;
use muster_store::Transaction;
use prost::Message;

use super::{StateError, fleets, kv, lobbies, timers};
use crate::keyspace::{self, Timer};
use crate::records::{Id, MatchOpening, MatchRecord, MatchSeat, MatchSeats, MatchState, PlayerSeat, typed};

/// Most matches of a fleet that wait for servers and that one pass looks at.
pub const MAX_WAITING: usize = 10_000;

/// Most seats in one row. One takes 300 bytes at most, and a record has other large things to hold.
const SEATS_PER_ROW: usize = 200;
/// Most rows of further seats: of more players than a match can have.
const MAX_SEAT_ROWS: usize = MAX_PLAYERS as usize / SEATS_PER_ROW;

/// The match.
pub async fn load(tx: &mut Transaction, match_id: MatchId) -> Result<Option<MatchRecord>, StateError> {
    let record = kv::load(tx, &keyspace::match_(match_id)).await?;
    whole(tx, record).await
}

/// As [`load`], without conflicting.
pub async fn peek(tx: &mut Transaction, match_id: MatchId) -> Result<Option<MatchRecord>, StateError> {
    let record = kv::peek(tx, &keyspace::match_(match_id)).await?;
    whole(tx, record).await
}

/// The record as it is in its row, with its further seats. A change of these is always one of the row, too, so that they
/// need no conflict of their own.
async fn whole(tx: &mut Transaction, record: Option<MatchRecord>) -> Result<Option<MatchRecord>, StateError> {
    let Some(mut record) = record else { return Ok(None) };
    if record.seat_rows > 0 {
        let range = keyspace::match_seats_of(record.typed_id());
        let rows: Vec<(Bytes, MatchSeats)> = kv::scan(tx, &range, MAX_SEAT_ROWS).await?;
        add(&mut record, rows.into_iter().map(|(_, row)| row));
    }
    Ok(Some(record))
}

/// Adds further seats to a record that is as in its row.
pub(crate) fn add(record: &mut MatchRecord, rows: impl IntoIterator<Item = MatchSeats>) {
    record.seats.extend(rows.into_iter().flat_map(|row| row.seats));
    record.seat_rows = 0;
}

/// What the record's own row says.
fn row(record: &MatchRecord) -> MatchRecord {
    let mut row = record.clone();
    row.seats.truncate(SEATS_PER_ROW);
    row.seat_rows = further(record).count() as u32;
    row
}

/// The seats that the record's own row has no room for.
fn further(record: &MatchRecord) -> impl Iterator<Item = &[MatchSeat]> {
    record.seats.chunks(SEATS_PER_ROW).skip(1)
}

/// Writes a match; `before` is what is there, if anything is.
pub(crate) fn save(tx: &mut Transaction, before: Option<&MatchRecord>, after: &MatchRecord) {
    let id = after.typed_id();
    if after.seats.len() > SEATS_PER_ROW {
        kv::save(tx, &keyspace::match_(id), &row(after));
    } else {
        kv::save(tx, &keyspace::match_(id), after);
    }
    let (old, new) = (before.map(rows).unwrap_or_default(), rows(after));
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        tx.clear(key);
    }
    for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(value)) {
        tx.set(key, value);
    }
    if before.and_then(offered) != offered(after) {
        let (key, hole) = keyspace::match_news_row(&after.namespace, &after.queue, id);
        tx.set_versionstamped_key(&key, hole, b"");
        kv::bump(tx, &keyspace::queue_revision(&after.namespace, &after.queue));
    }
    let (counted, counts) = (before.and_then(lobbies::count_key), lobbies::count_key(after));
    if counted != counts {
        counted.inspect(|key| tx.atomic_add(key, -1));
        counts.inspect(|key| tx.atomic_add(key, 1));
    }
    let waits = |record: &MatchRecord| record.state() == MatchState::Waiting;
    if before.is_some_and(waits) != waits(after) {
        fleets::touch(tx, &after.namespace, &after.fleet);
    }
    if after.ended_at_ms > 0 && before.is_none_or(|record| record.ended_at_ms == 0) {
        // The timer loop, which knows how long what is over is kept, moves it on from here.
        timers::set(tx, after.ended_at_ms, &Timer::MatchRemoval(id));
    }
}

/// How a match is filled, and who sits in it: seats and tickets.
type Offered = (Option<MatchOpening>, Vec<(Option<Id>, Option<Id>)>);

/// What matchmaking goes by of a match that its queue fills.
fn offered(record: &MatchRecord) -> Option<Offered> {
    let seats = || record.seats.iter().map(|seat| (seat.id, seat.ticket));
    record.is_open().then(|| (record.opening, seats().collect()))
}

/// What must be there besides `record`: rows of the indices it is in, and timers.
pub(crate) fn rows(record: &MatchRecord) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let id = record.typed_id();
    let mut rows = lobbies::rows(record);
    for (number, seats) in (0..).zip(further(record)) {
        let seats = MatchSeats { seats: seats.to_vec() };
        rows.insert(keyspace::match_seats(id, number), seats.encode_to_vec());
    }
    if record.state() == MatchState::Waiting {
        let key = keyspace::match_waiting(&record.namespace, &record.fleet, &record.region, id);
        rows.insert(key, Vec::new());
    }
    if matches!(record.state(), MatchState::Waiting | MatchState::Proposed) {
        rows.insert(keyspace::timer(record.deadline_ms, &Timer::MatchDeadline(id)), Vec::new());
    }
    if record.is_open() {
        rows.insert(keyspace::match_open(&record.namespace, &record.queue, id), Vec::new());
    }
    if record.ended_at_ms > 0 {
        return rows;
    }
    for seat in &record.seats {
        if seat.connected_at_ms > 0 {
            let key = keyspace::player_seat(record, &seat.player, seat.typed_id());
            rows.insert(key, PlayerSeat { r#match: record.id }.encode_to_vec());
        }
        if seat.kept_until_ms > 0 {
            let release = Timer::SeatRelease(id, seat.typed_id());
            rows.insert(keyspace::timer(seat.kept_until_ms, &release), Vec::new());
        }
    }
    rows
}

/// Matches of a queue that go on and in which `player` has been, at most `limit`, newest seats first, without conflicting.
pub(crate) async fn of_player(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    player: &str,
    limit: usize,
) -> Result<Vec<MatchId>, StateError> {
    let range = keyspace::player_seats(namespace, queue, player);
    let rows = tx.snapshot_get_range(&range.begin, &range.end, limit, true).await?;
    let found = rows.iter().map(|(key, value)| kv::decode::<PlayerSeat>(key, value));
    found.map(|row| Ok(typed(row?.r#match))).collect()
}

/// Removes a match that is over. Its tickets are the caller's to remove.
pub(crate) fn remove(tx: &mut Transaction, record: &MatchRecord) {
    tx.clear(&keyspace::match_(record.typed_id()));
    for key in rows(record).keys() {
        tx.clear(key);
    }
}

/// Waiting matches of a fleet, region and id, oldest first within a region, without conflicting.
pub async fn waiting(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
) -> Result<Vec<(String, MatchId)>, StateError> {
    let keys = kv::scan_keys(tx, &keyspace::matches_waiting(namespace, fleet), MAX_WAITING).await?;
    Ok(keys.iter().filter_map(|key| keyspace::split_match_waiting(key)).collect())
}

/// How many matches wait for a server of a fleet in a region, counted up to `most`, without conflicting.
pub(crate) async fn count_waiting(
    tx: &mut Transaction,
    (namespace, fleet, region): (&str, &str, &str),
    most: u32,
) -> Result<u32, StateError> {
    let range = keyspace::matches_waiting_in(namespace, fleet, region);
    Ok(kv::scan_keys(tx, &range, most as usize).await?.len() as u32)
}

/// Matches that a queue fills whose keys follow `after`, at most `limit`, with their keys, without conflicting.
pub(crate) async fn open(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Bytes, MatchId)>, StateError> {
    let range = keyspace::matches_open(namespace, queue);
    let range = match after {
        Some(key) => range.after(key),
        None => range,
    };
    Ok(with_ids(kv::scan_keys(tx, &range, limit).await?))
}

/// Matches that changed which a queue fills, or did until then, after `after` and in the order of commits, at most `limit`,
/// with the rows' keys, without conflicting.
pub(crate) async fn news(
    tx: &mut Transaction,
    namespace: &str,
    queue: &str,
    after: &[u8],
    limit: usize,
) -> Result<Vec<(Bytes, MatchId)>, StateError> {
    let range = keyspace::match_news(namespace, queue).after(after);
    Ok(with_ids(kv::scan_keys(tx, &range, limit).await?))
}

fn with_ids(keys: Vec<Bytes>) -> Vec<(Bytes, MatchId)> {
    keys.into_iter().filter_map(|key| Some((key.clone(), keyspace::last_id(&key)?))).collect()
}
