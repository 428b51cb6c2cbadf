//! Keys of lobbies, which are matches: how they are found.

use foundationdb_tuple::{Uuid, pack, unpack};
use muster_protocol::id::MatchId;

use super::{KeyRange, Prefix, id};

/// The lobby that players join by a code: its match's id.
pub fn lobby_code(namespace: &str, code: &str) -> Vec<u8> {
    pack(&(Prefix::LobbyCode as u16, namespace, code))
}

/// Index of public lobbies, by how many players they take, those that take fewest first;
/// [`crate::records::PublicLobby`].
pub fn lobby_public(namespace: &str, fleet: &str, region: &str, takes: u32, match_id: MatchId) -> Vec<u8> {
    pack(&(Prefix::LobbyPublic as u16, namespace, fleet, region, takes, id(match_id)))
}

/// Public lobbies of a namespace, or of one of its fleets, or of that in one region.
pub fn lobbies_public(namespace: &str, fleet: Option<&str>, region: Option<&str>) -> KeyRange {
    match (fleet, region) {
        (None, _) => KeyRange::under(&(Prefix::LobbyPublic as u16, namespace)),
        (Some(fleet), None) => KeyRange::under(&(Prefix::LobbyPublic as u16, namespace, fleet)),
        (Some(fleet), Some(region)) => {
            KeyRange::under(&(Prefix::LobbyPublic as u16, namespace, fleet, region))
        }
    }
}

/// Those of a fleet in a region that take at least `players`.
pub fn lobbies_with_room(namespace: &str, fleet: &str, region: &str, players: u32) -> KeyRange {
    let from = pack(&(Prefix::LobbyPublic as u16, namespace, fleet, region, players));
    lobbies_public(namespace, Some(fleet), Some(region)).from(from)
}

/// Region, how many players it takes, and match of a [`lobby_public`] key.
pub fn split_lobby_public(key: &[u8]) -> Option<(String, u32, MatchId)> {
    let (_, _, _, region, takes, id) = unpack::<(u16, String, String, String, u32, Uuid)>(key).ok()?;
    Some((region, takes, MatchId::from_uuid(id)))
}

/// Number of lobbies of a namespace.
pub fn lobby_count(namespace: &str) -> Vec<u8> {
    pack(&(Prefix::LobbyCount as u16, namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_take_enough_are_a_range_fullest_first() {
        let match_id = MatchId::new();
        let key = |takes| lobby_public("a/b", "arena", "eu", takes, match_id);
        assert!(key(0) < key(1) && key(1) < key(300) && key(300) < key(70_000));
        let range = lobbies_with_room("a/b", "arena", "eu", 2);
        let holds = |key: &[u8]| range.begin.as_slice() <= key && key < range.end.as_slice();
        assert!(!holds(&key(1)) && holds(&key(2)) && holds(&key(1_000)));
        assert!(!holds(&lobby_public("a/b", "arena", "us", 9, match_id)));
        assert_eq!(split_lobby_public(&key(300)), Some(("eu".into(), 300, match_id)));
    }
}
