//! What a server says of its lobby: other words, other tags, whether players are let in.

use muster_protocol::agent::LobbyWish;
use muster_protocol::api::{
    MAX_LOBBY_CONFIG_BYTES, MAX_LOBBY_NAME_BYTES, MAX_LOBBY_TAG_BYTES, MAX_LOBBY_TAGS, is_name,
};
use muster_store::Transaction;

use crate::records::{Lobby, ServerRecord};
use crate::seats;
use crate::state::{StateError, lobbies, matches};

/// Makes the lobby on `server` as the server wants it. Said with every report, so that most find nothing to do.
pub(crate) async fn server_wishes(
    tx: &mut Transaction,
    server: &ServerRecord,
    wish: &LobbyWish,
    now_ms: u64,
) -> Result<(), StateError> {
    let Some(match_id) = server.match_id() else { return Ok(()) };
    let wanted = |lobby: &Lobby| as_wished(lobby, wish);
    // Looked at without conflict: reports are many, and few are news of this.
    let seen = matches::peek(tx, match_id).await?;
    if !seen.as_ref().and_then(lobbies::under_way).is_some_and(|lobby| wanted(lobby) != *lobby) {
        return Ok(());
    }
    let Some(before) = matches::load(tx, match_id).await? else { return Ok(()) };
    let Some(lobby) = lobbies::under_way(&before).map(wanted) else { return Ok(()) };
    let mut after = before.clone();
    after.lobby = Some(lobby);
    matches::save(tx, Some(&before), &after);
    // The server is told what holds now, which is what it reads of itself.
    seats::tell_server(tx, &after, false, now_ms).await
}

/// The lobby with what is wished. What is over a bound, which the agent does not let through, is passed over.
fn as_wished(lobby: &Lobby, wish: &LobbyWish) -> Lobby {
    let mut after = lobby.clone();
    if let Some(name) = wish.name.as_ref().filter(|name| name.len() <= MAX_LOBBY_NAME_BYTES) {
        after.name.clone_from(name);
    }
    if let Some(config) = wish.config.as_ref().filter(|config| config.len() <= MAX_LOBBY_CONFIG_BYTES) {
        after.config.clone_from(config);
    }
    if let Some(tags) = &wish.tags
        && tags.tags.len() <= MAX_LOBBY_TAGS
        && tags.tags.iter().all(|(name, value)| is_name(name) && value.len() <= MAX_LOBBY_TAG_BYTES)
    {
        after.tags = tags.tags.clone().into_iter().collect();
    }
    if let Some(open) = wish.open {
        after.closed = !open;
    }
    if let Some(public) = wish.public {
        after.public = public;
    }
    after
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muster_protocol::agent::LobbyTags;

    use super::*;

    #[test]
    fn what_is_not_said_stays_and_what_is_too_much_is_passed_over() {
        let tags = BTreeMap::from([("map".to_owned(), "dust".to_owned())]);
        let lobby = Lobby { name: "Ann's".into(), public: true, tags, ..Lobby::default() };
        assert_eq!(as_wished(&lobby, &LobbyWish::default()), lobby);
        let said =
            LobbyWish { open: Some(false), config: Some("{\"round\":2}".into()), ..Default::default() };
        let after = as_wished(&lobby, &said);
        assert_eq!(
            (after.closed, after.config.as_str(), after.name.as_str()),
            (true, "{\"round\":2}", "Ann's")
        );
        assert_eq!((after.tags.len(), after.public), (1, true));
        let cleared =
            LobbyWish { tags: Some(LobbyTags::default()), public: Some(false), ..Default::default() };
        let after = as_wished(&lobby, &cleared);
        assert_eq!((after.tags.len(), after.public), (0, false));
        let tags = [("map".to_owned(), "x".repeat(MAX_LOBBY_TAG_BYTES + 1))].into();
        let large = LobbyWish {
            name: Some("x".repeat(MAX_LOBBY_NAME_BYTES + 1)),
            config: Some("x".repeat(MAX_LOBBY_CONFIG_BYTES + 1)),
            tags: Some(LobbyTags { tags }),
            ..Default::default()
        };
        assert_eq!(as_wished(&lobby, &large), lobby);
    }
}
