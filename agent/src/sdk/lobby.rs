//! `PUT /v1/lobby`: the game changes its lobby: other words, other tags, whether players are let in.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use muster_protocol::agent::{LobbyTags, LobbyWish};
use muster_protocol::api::{
    MAX_LOBBY_CONFIG_BYTES, MAX_LOBBY_NAME_BYTES, MAX_LOBBY_TAG_BYTES, MAX_LOBBY_TAGS, Visibility, is_name,
};
use muster_protocol::problem::{Problem, ProblemCode};
use serde::Deserialize;

use super::SdkState;
use super::auth::Caller;
use super::problem::SdkProblem;
use crate::reconcile::SdkCall;

/// What is to change; what is left out stays.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LobbyBody {
    /// Name that other players see.
    name: Option<String>,
    /// Any JSON, instead of what there is; `null` is as if left out.
    config: Option<serde_json::Value>,
    /// All of the tags.
    tags: Option<BTreeMap<String, String>>,
    /// Whether players are let in.
    open: Option<bool>,
    /// Who may find it.
    visibility: Option<Visibility>,
}

/// `PUT /v1/lobby`.
pub(super) async fn lobby(
    State(state): State<SdkState>,
    caller: Caller,
    body: Result<Json<LobbyBody>, JsonRejection>,
) -> Result<StatusCode, SdkProblem> {
    let wish = wish(body?.0)?;
    let has_lobby = caller.view.borrow().allocation.as_ref().is_some_and(|match_| match_.lobby.is_some());
    if !has_lobby {
        let fix = "wait for `allocated` with a `lobby` in it; matches of queues have none";
        return Err(Problem::new(ProblemCode::ServerState, "this server has no lobby", fix).into());
    }
    caller.say(&state, SdkCall::Lobby(wish)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn wish(body: LobbyBody) -> Result<LobbyWish, Problem> {
    let refuse = |what: String| {
        Problem::new(ProblemCode::InvalidRequest, what, "mend the field named and send it again")
    };
    let within = |field: &str, bytes: usize, limit: usize| {
        if bytes <= limit {
            return Ok(());
        }
        Err(refuse(format!("{field}: {bytes} bytes are over the limit of {limit}")))
    };
    within("name", body.name.as_ref().map_or(0, String::len), MAX_LOBBY_NAME_BYTES)?;
    let config = body.config.map(|config| config.to_string());
    within("config", config.as_ref().map_or(0, String::len), MAX_LOBBY_CONFIG_BYTES)?;
    for (name, value) in body.tags.iter().flatten() {
        if !is_name(name) {
            return Err(refuse(format!("tags: {name:?} is no name; use a-z, 0-9 and -")));
        }
        within(&format!("tags.{name}"), value.len(), MAX_LOBBY_TAG_BYTES)?;
    }
    let tags = body.tags.as_ref().map_or(0, BTreeMap::len);
    if tags > MAX_LOBBY_TAGS {
        return Err(refuse(format!("tags: {tags} are over the limit of {MAX_LOBBY_TAGS}")));
    }
    let texts = body.name.iter().chain(body.tags.iter().flat_map(BTreeMap::values));
    if texts.into_iter().any(|text| text.chars().any(char::is_control)) {
        return Err(refuse("name and tags: no control characters".to_owned()));
    }
    Ok(LobbyWish {
        name: body.name,
        config,
        tags: body.tags.map(|tags| LobbyTags { tags: tags.into_iter().collect() }),
        open: body.open,
        public: body.visibility.map(|visibility| visibility == Visibility::Public),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: serde_json::Value) -> Result<LobbyWish, Problem> {
        wish(serde_json::from_value(body).expect("of the shape"))
    }

    #[test]
    fn what_is_left_out_is_not_wished() {
        let wish = read(json!({"open": false, "config": {"round": 2}})).expect("valid");
        assert_eq!((wish.open, wish.config.as_deref()), (Some(false), Some("{\"round\":2}")));
        assert_eq!((wish.name, wish.tags, wish.public), (None, None, None));
        assert_eq!(read(json!({"tags": {}})).expect("valid").tags, Some(LobbyTags::default()));
    }

    #[test]
    fn what_is_too_much_is_named() {
        let tags: BTreeMap<String, String> =
            (0..=MAX_LOBBY_TAGS).map(|n| (format!("t{n}"), String::new())).collect();
        for (body, part) in [
            (json!({"name": "x".repeat(65)}), "name: 65 bytes"),
            (json!({"name": "\u{1b}[2J"}), "no control characters"),
            (json!({"config": "x".repeat(4_096)}), "config: 4098 bytes"),
            (json!({"tags": {"a b": "x"}}), "tags: \"a b\" is no name"),
            (json!({"tags": {"map": "x".repeat(65)}}), "tags.map: 65 bytes"),
            (json!({"tags": tags}), "tags: 17 are over"),
        ] {
            let problem = read(body).expect_err(part);
            assert!(problem.detail.contains(part), "{}", problem.detail);
        }
    }
}
