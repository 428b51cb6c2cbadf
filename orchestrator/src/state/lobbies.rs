//! Lobbies, which are matches: the indices by which they are found, and how many a namespace has.
//!
//! The record is the match's; what is written here follows from it, in `matches::save`.

use std::collections::BTreeMap;

use bytes::Bytes;
use muster_protocol::id::MatchId;
use muster_store::Transaction;
use prost::Message;
use uuid::Uuid;

use super::{StateError, kv, matches};
use crate::keyspace::{self, KeyRange};
use crate::records::{Lobby, MatchRecord, MatchState, PublicLobby};

/// Most lobbies of a namespace that are under way at a time.
pub const MAX_LOBBIES: usize = 50_000;

/// The lobby that a match is, while it is under way.
pub fn under_way(record: &MatchRecord) -> Option<&Lobby> {
    let goes_on = matches!(record.state(), MatchState::Waiting | MatchState::Assigned);
    record.lobby.as_ref().filter(|_| goes_on)
}

/// How many players a match takes as a lobby.
pub(crate) fn takes(record: &MatchRecord, lobby: &Lobby) -> u32 {
    if lobby.closed || lobby.ending { 0 } else { record.free_seats() as u32 }
}

/// The rows by which a lobby is found.
pub(crate) fn rows(record: &MatchRecord) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let Some(lobby) = under_way(record) else { return BTreeMap::new() };
    let (namespace, id) = (&record.namespace, record.typed_id());
    let code = (keyspace::lobby_code(namespace, &lobby.code), id.uuid().into_bytes().to_vec());
    let mut rows = BTreeMap::from([code]);
    if lobby.public {
        let takes = takes(record, lobby);
        let row = PublicLobby { tags: lobby.tags.clone() };
        let key = keyspace::lobby_public(namespace, &record.fleet, &record.region, takes, id);
        rows.insert(key, row.encode_to_vec());
    }
    rows
}

/// The number in which a match is counted, if it is a lobby that is under way.
pub(crate) fn count_key(record: &MatchRecord) -> Option<Vec<u8>> {
    under_way(record).map(|_| keyspace::lobby_count(&record.namespace))
}

/// Number of lobbies of a namespace, to compare with [`MAX_LOBBIES`], without conflicting.
pub async fn count(tx: &mut Transaction, namespace: &str) -> Result<usize, StateError> {
    let number = kv::peek_number(tx, &keyspace::lobby_count(namespace)).await?;
    Ok(usize::try_from(number).unwrap_or(0))
}

/// Whether no lobby has the code. Conflicts with one that takes it.
pub(crate) async fn is_free(tx: &mut Transaction, namespace: &str, code: &str) -> Result<bool, StateError> {
    Ok(tx.get(&keyspace::lobby_code(namespace, code)).await?.is_none())
}

/// The lobby of a code, as its match's record. Conflicts with its changes.
pub async fn by_code(
    tx: &mut Transaction,
    namespace: &str,
    code: &str,
) -> Result<Option<MatchRecord>, StateError> {
    let Some(id) = tx.snapshot_get(&keyspace::lobby_code(namespace, code)).await? else { return Ok(None) };
    let Ok(bytes) = <[u8; 16]>::try_from(&id[..]) else { return Ok(None) };
    let found = matches::load(tx, MatchId::from_uuid(Uuid::from_bytes(bytes))).await?;
    // A code that was given up a moment ago may be another lobby's by now.
    Ok(found.filter(|record| under_way(record).is_some_and(|lobby| lobby.code == code)))
}

/// A public lobby, as the index tells.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Public {
    /// Where the row is.
    pub(crate) key: Bytes,
    /// Its match.
    pub(crate) id: MatchId,
    /// How many players it takes.
    pub(crate) takes: u32,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

/// At most `limit` public lobbies of a range of the index, in its order, without conflicting.
pub(crate) async fn public(
    tx: &mut Transaction,
    range: &KeyRange,
    limit: usize,
) -> Result<Vec<Public>, StateError> {
    let rows: Vec<(Bytes, PublicLobby)> = kv::scan(tx, range, limit).await?;
    let known = rows.into_iter().filter_map(|(key, row)| {
        let (_, takes, id) = keyspace::split_lobby_public(&key)?;
        Some(Public { key, id, takes, tags: row.tags })
    });
    Ok(known.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::MatchSeat;

    fn record(lobby: Lobby) -> MatchRecord {
        MatchRecord {
            id: Some(MatchId::new().into()),
            namespace: "a/b".into(),
            fleet: "arena".into(),
            region: "eu".into(),
            state: MatchState::Assigned.into(),
            max_players: 3,
            seats: vec![MatchSeat::default()],
            lobby: Some(Lobby { code: "ABCDEF".into(), ..lobby }),
            ..MatchRecord::default()
        }
    }

    /// How many players the rows of a record say it takes; `None` if it is not listed.
    fn listed(record: &MatchRecord) -> Option<u32> {
        rows(record).keys().find_map(|key| keyspace::split_lobby_public(key)).map(|(_, takes, _)| takes)
    }

    #[test]
    fn the_index_says_who_may_come_in() {
        let public = record(Lobby { public: true, ..Lobby::default() });
        assert_eq!((listed(&public), rows(&public).len()), (Some(2), 2));
        let private = record(Lobby::default());
        assert_eq!((listed(&private), rows(&private).len()), (None, 1), "by its code alone");
        for shut in [Lobby { closed: true, ..Lobby::default() }, Lobby { ending: true, ..Lobby::default() }] {
            assert_eq!(listed(&record(Lobby { public: true, ..shut })), Some(0));
        }
        let over = MatchRecord { state: MatchState::Ended.into(), ..public.clone() };
        assert_eq!((rows(&over).len(), count_key(&over)), (0, None));
        let plain = MatchRecord { lobby: None, ..public };
        assert_eq!((rows(&plain).len(), count_key(&plain)), (0, None));
    }
}
