//! `GET /v1/lobbies`: the public lobbies, filtered.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_protocol::api::{Lobby, Page};
use muster_store::Bytes;

use crate::api::auth::{Client, Scope};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, validate, view};
use crate::app::App;
use crate::lobbies::{self, Search};

/// What the name of a parameter begins with that is about a tag.
const TAG: &str = "tag.";

/// List public lobbies
///
/// By fleet and region, and there those first that take fewest players. A page may be short and still have a `next`.
#[utoipa::path(get, path = "/v1/lobbies", tag = "lobbies",
    params(NamespaceParam, PageQuery,
        ("fleet" = Option<String>, Query, description = "Of this fleet"),
        ("region" = Option<String>, Query, description = "In this region of the fleet, which must be named too"),
        ("open" = Option<bool>, Query, description = "Only those that take players"),
        ("tag.{name}" = Option<String>, Query, description = "Only those whose tag of that name is this; as many as there are tags")),
    responses((status = 200, body = Page<Lobby>)))]
pub(super) async fn list_lobbies(
    State(app): State<Arc<App>>,
    scope: Scope<Client>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    ApiQuery(pairs): ApiQuery<Vec<(String, String)>>,
) -> ApiResult<Json<Page<Lobby>>> {
    app.ticket_limits.ticket(&scope.caller, from.ip())?;
    let (search, page) = read(pairs)?;
    let limit = page.limit()?;
    let after = page.after.as_ref().map(|after| URL_SAFE_NO_PAD.decode(after)).transpose();
    let after = after.map_err(|_| {
        ApiProblem::invalid_request(
            "after: this is no place in a list of lobbies",
            "pass `next` of the page before",
        )
    })?;
    let listed = lobbies::list(&app.db, &scope.namespace, &search, after.as_deref(), limit).await?;
    let items = listed.lobbies.into_iter().filter_map(view::lobby).collect();
    let next = listed.next.map(|key: Bytes| URL_SAFE_NO_PAD.encode(key));
    Ok(Json(Page { items, next }))
}

/// What is asked, from the query's pairs: tags have names of their own.
fn read(pairs: Vec<(String, String)>) -> ApiResult<(Search, PageQuery)> {
    let (mut search, mut page) = (Search::default(), PageQuery::default());
    let refuse = |what: String| {
        ApiProblem::invalid_request(what, "see the parameters of this path in /v1/openapi.json")
    };
    for (name, value) in pairs {
        match name.as_str() {
            "fleet" => search.fleet = Some(value),
            "region" => search.region = Some(value),
            "open" => {
                search.open =
                    value.parse().map_err(|_| refuse(format!("open: {value:?} is not true or false")))?;
            }
            "after" => page.after = Some(value),
            "limit" => {
                let limit = value.parse().map_err(|_| refuse(format!("limit: {value:?} is no number")))?;
                page.limit = Some(limit);
            }
            other => match other.strip_prefix(TAG) {
                Some(tag) => drop(search.tags.insert(tag.to_owned(), value)),
                None => return Err(refuse(format!("there is no parameter {other:?}"))),
            },
        }
    }
    if search.region.is_some() && search.fleet.is_none() {
        return Err(refuse("region: it is a region of a fleet; name the fleet, too".to_owned()));
    }
    validate::lobby_tags(&search.tags)?;
    Ok((search, page))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> ApiResult<(Search, PageQuery)> {
        read(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn tags_have_names_of_their_own_and_all_else_is_known() {
        let (search, page) = asked(&[
            ("fleet", "arena"),
            ("tag.map", "dust"),
            ("tag.mode", "ctf"),
            ("open", "true"),
            ("limit", "7"),
        ])
        .expect("valid");
        assert_eq!((search.fleet.as_deref(), search.open, page.limit), (Some("arena"), true, Some(7)));
        assert_eq!(search.tags.len(), 2);
        for (wrong, part) in [
            (("opne", "true"), "no parameter \"opne\""),
            (("open", "yes"), "open: \"yes\""),
            (("limit", "x"), "limit: \"x\""),
            (("region", "eu"), "name the fleet"),
            (("tag.A B", "x"), "is no name"),
        ] {
            let detail = asked(&[wrong]).expect_err(part).problem().detail.clone();
            assert!(detail.contains(part), "{detail}");
        }
    }
}
