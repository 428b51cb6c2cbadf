//! Checks of requests about lobbies, and of joining a server by its id.

use std::collections::BTreeMap;

use muster_protocol::api::{
    FindLobbyRequest, JoinRequest, LobbyRequest, LobbySpec, MAX_LOBBY_CONFIG_BYTES, MAX_LOBBY_NAME_BYTES,
    MAX_LOBBY_TAG_BYTES, MAX_LOBBY_TAGS, MAX_PLAYERS, PartyMember,
};
use muster_protocol::problem::ProblemCode;

use super::{Faults, fleet, has_control, ticket};
use crate::api::problem::ApiProblem;

/// Checks the request to make a lobby.
pub(crate) fn lobby_request(request: &LobbyRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("fleet", &request.fleet);
    guests(&mut faults, &request.player, &request.party, request.idempotency_key.as_ref());
    fleet::region_names(&mut faults, &request.regions);
    ticket::latencies(&mut faults, &request.latencies_ms);
    spec(&mut faults, "lobby", &request.lobby);
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks the request to find a lobby.
pub(crate) fn find_lobby_request(request: &FindLobbyRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("fleet", &request.fleet);
    guests(&mut faults, &request.player, &request.party, request.idempotency_key.as_ref());
    ticket::previous_tokens(&mut faults, &request.previous_tokens);
    fleet::region_names(&mut faults, &request.regions);
    ticket::latencies(&mut faults, &request.latencies_ms);
    tags(&mut faults, "tags", &request.tags);
    if let Some(create) = &request.create {
        spec(&mut faults, "create", create);
        for (name, value) in &request.tags {
            faults.check(
                create.tags.get(name).is_none_or(|other| other == value),
                &format!("create.tags.{name}"),
                "is not what is searched for; leave it out, for the lobby that is made has the tags searched for",
            );
        }
        let both = request.tags.keys().filter(|name| !create.tags.contains_key(*name)).count();
        bound(&mut faults, "tags and create.tags", both + create.tags.len(), MAX_LOBBY_TAGS);
    }
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks the request to join a lobby, or a server.
pub(crate) fn join_request(request: &JoinRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    guests(&mut faults, &request.player, &request.party, request.idempotency_key.as_ref());
    ticket::previous_tokens(&mut faults, &request.previous_tokens);
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks the tags that lobbies are listed by.
pub(crate) fn lobby_tags(wanted: &BTreeMap<String, String>) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    tags(&mut faults, "tag", wanted);
    faults.into_result(ProblemCode::InvalidRequest)
}

fn guests(faults: &mut Faults, player: &str, party: &[PartyMember], idempotency_key: Option<&String>) {
    ticket::player(faults, "player", player);
    ticket::party(faults, party);
    faults
        .unique("players", std::iter::once(player).chain(party.iter().map(|member| member.player.as_str())));
    for (index, member) in party.iter().enumerate() {
        faults.check(
            member.attributes.is_empty(),
            &format!("party[{index}].attributes"),
            "are of no use here; leave them out",
        );
    }
    ticket::idempotency_key(faults, idempotency_key);
}

fn spec(faults: &mut Faults, field: &str, spec: &LobbySpec) {
    let at = |name: &str| format!("{field}.{name}");
    bytes(faults, &at("name"), spec.name.len(), MAX_LOBBY_NAME_BYTES);
    faults.check(!has_control(&spec.name), &at("name"), "holds a control character");
    if let Some(most) = spec.max_players {
        faults.within(&at("max_players"), most, 1, MAX_PLAYERS);
    }
    bytes(faults, &at("config"), spec.config.to_string().len(), MAX_LOBBY_CONFIG_BYTES);
    tags(faults, &at("tags"), &spec.tags);
}

fn tags(faults: &mut Faults, field: &str, tags: &BTreeMap<String, String>) {
    bound(faults, field, tags.len(), MAX_LOBBY_TAGS);
    for (name, value) in tags.iter().take(MAX_LOBBY_TAGS) {
        faults.name(field, name);
        let at = format!("{field}.{name}");
        bytes(faults, &at, value.len(), MAX_LOBBY_TAG_BYTES);
        faults.check(!has_control(value), &at, "holds a control character");
    }
}

fn bound(faults: &mut Faults, field: &str, count: usize, limit: usize) {
    faults.check(count <= limit, field, format_args!("{count} are over the limit of {limit}"));
}

fn bytes(faults: &mut Faults, field: &str, count: usize, limit: usize) {
    faults.check(count <= limit, field, format_args!("{count} bytes are over the limit of {limit}"));
}

#[cfg(test)]
mod tests {
    use muster_protocol::api::Value;
    use serde_json::json;

    use super::*;

    fn fault(change: impl FnOnce(&mut LobbyRequest)) -> String {
        let mut request =
            LobbyRequest { fleet: "arena".into(), player: "ann".into(), ..LobbyRequest::default() };
        assert_eq!(lobby_request(&request), Ok(()));
        change(&mut request);
        lobby_request(&request).expect_err("the change makes it invalid").problem().detail.clone()
    }

    #[test]
    fn every_field_has_its_fault() {
        let member = |player: &str| PartyMember { player: player.into(), ..PartyMember::default() };
        let skilled =
            PartyMember { attributes: [("skill".to_owned(), Value::Number(1.0))].into(), ..member("bob") };
        let many = (0..=MAX_LOBBY_TAGS).map(|n| (format!("t{n}"), String::new())).collect();
        let long = [("map".to_owned(), "x".repeat(MAX_LOBBY_TAG_BYTES + 1))].into();
        for (part, told) in [
            ("fleet: \"\" is no name", fault(|r| r.fleet.clear())),
            ("player: empty", fault(|r| r.player.clear())),
            ("players: \"ann\" is there twice", fault(|r| r.party = vec![member("ann")])),
            ("party[0].attributes: are of no use here", fault(|r| r.party = vec![skilled])),
            ("regions[0]: \"a b\" is no name", fault(|r| r.regions = vec!["a b".into()])),
            ("latencies_ms.eu: 60001", fault(|r| r.latencies_ms = [("eu".into(), 60_001)].into())),
            ("lobby.name: 65 bytes", fault(|r| r.lobby.name = "x".repeat(65))),
            ("lobby.name: holds a control", fault(|r| r.lobby.name = "\u{1b}".into())),
            ("lobby.max_players: 0 is outside", fault(|r| r.lobby.max_players = Some(0))),
            ("lobby.config: 4099 bytes", fault(|r| r.lobby.config = json!("x".repeat(4_097)))),
            ("lobby.tags: 17 are over", fault(|r| r.lobby.tags = many)),
            ("lobby.tags.map: 65 bytes", fault(|r| r.lobby.tags = long)),
            (
                "lobby.tags: \"Map\" is no name",
                fault(|r| drop(r.lobby.tags.insert("Map".into(), String::new()))),
            ),
            ("idempotency_key: must be", fault(|r| r.idempotency_key = Some(String::new()))),
        ] {
            assert!(told.contains(part), "wanted {part:?} in {told:?}");
        }
    }

    #[test]
    fn a_lobby_that_is_made_has_the_tags_that_were_searched_for() {
        let tag = |value: &str| BTreeMap::from([("map".to_owned(), value.to_owned())]);
        let request = |wanted: &str, made: &str| FindLobbyRequest {
            fleet: "arena".into(),
            player: "ann".into(),
            tags: tag(wanted),
            create: Some(LobbySpec { tags: tag(made), ..LobbySpec::default() }),
            ..FindLobbyRequest::default()
        };
        assert_eq!(find_lobby_request(&request("dust", "dust")), Ok(()));
        let problem = find_lobby_request(&request("dust", "ice")).expect_err("they contradict each other");
        assert!(problem.problem().detail.contains("create.tags.map: is not what is searched for"));
    }
}
