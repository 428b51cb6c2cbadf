//! `GET /v1/servers`: the namespace's servers, newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Page, Server, ServerState};
use muster_protocol::id::ServerId;
use serde::Deserialize;

use super::standing;
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiQuery;
use crate::api::page::PageQuery;
use crate::api::problem::ApiResult;
use crate::app::App;
use crate::records::ServerRecord;
use crate::state;

/// Most servers looked at for one page; a filter that passes few gives a short page with a `next`.
const MAX_LOOKED_AT: usize = 5_000;
/// Servers read from the store at a time.
const BATCH: usize = 500;

/// Query of the servers' list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ServersQuery {
    /// Of this fleet.
    fleet: Option<String>,
    /// In this region.
    region: Option<String>,
    /// In this state.
    state: Option<ServerState>,
    /// `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<ServerId>,
    /// Most rows, 1 to 1,000; 100 if not given.
    limit: Option<usize>,
}

impl ServersQuery {
    fn passes(&self, record: &ServerRecord) -> bool {
        self.fleet.as_ref().is_none_or(|fleet| record.fleet == *fleet)
            && self.region.as_ref().is_none_or(|region| record.region == *region)
            && self.state.is_none_or(|state| ServerState::from(record.state()) == state)
    }
}

/// List servers, newest first
///
/// Servers that are over stay in the list for a while. A page may be short and still have a `next`.
#[utoipa::path(get, path = "/v1/servers", tag = "servers", params(NamespaceParam, ServersQuery),
    responses((status = 200, body = Page<Server>)))]
pub(super) async fn list_servers(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiQuery(query): ApiQuery<ServersQuery>,
) -> ApiResult<Json<Page<Server>>> {
    let limit = PageQuery { after: None, limit: query.limit }.limit()?;
    app.db
        .read("list servers", async |mut tx| {
            let mut items = Vec::new();
            let mut last = query.after;
            for _ in 0..MAX_LOOKED_AT / BATCH {
                let rows = state::servers::list(&mut tx, &scope.namespace, last, BATCH).await?;
                let is_end = rows.len() < BATCH;
                for record in rows {
                    if items.len() == limit {
                        return Ok(page(items, last));
                    }
                    last = Some(record.typed_id());
                    if query.passes(&record) {
                        items.push(standing(&mut tx, record).await?);
                    }
                }
                if is_end {
                    return Ok(page(items, None));
                }
            }
            Ok(page(items, last))
        })
        .await
}

fn page(items: Vec<Server>, next: Option<ServerId>) -> Json<Page<Server>> {
    Json(Page { items, next: next.map(|id| id.to_string()) })
}
