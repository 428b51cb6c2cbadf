//! `/v1/servers`: game servers, one by one.

mod join;
mod list;
mod logs;
mod show;
mod stop;

use std::sync::Arc;

use muster_protocol::api::Server;
use muster_protocol::id::ServerId;
use muster_protocol::problem::ProblemCode;
use muster_store::Transaction;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{ApiProblem, ApiResult};
use super::view;
use crate::app::App;
use crate::clock;
use crate::lifecycle;
use crate::records::{ServerRecord, ServerState};
use crate::state::regions::RegionMachines;
use crate::state::{self, StateError};

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list::list_servers))
        .routes(routes!(show::show_server))
        .routes(routes!(join::join_server))
        .routes(routes!(stop::stop_server))
        .routes(routes!(logs::server_logs))
}

/// No server of that id.
pub(crate) fn unknown(id: ServerId) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::ServerUnknown,
        format!("there is no server {id} in the namespace, or it has been over for long"),
        "see `muster server ls`",
    )
}

/// The server of that id, if it is in the namespace.
async fn find(tx: &mut Transaction, namespace: &str, id: ServerId) -> ApiResult<ServerRecord> {
    let record = state::servers::peek(tx, id).await?;
    record.filter(|record| record.namespace == namespace).ok_or_else(|| unknown(id))
}

/// A server, with its seats and flows.
async fn standing(tx: &mut Transaction, record: ServerRecord) -> Result<Server, StateError> {
    let claimed_by = match record.match_id() {
        Some(id) => state::matches::peek(tx, id).await?,
        None => None,
    };
    // What a server waits for while it starts depends on its region's edges.
    let machines = match record.state() {
        ServerState::Starting => Some(RegionMachines {
            nodes: Vec::new(),
            edges: state::edges::list_in_region(tx, &record.region).await?,
        }),
        _ => None,
    };
    let explanation = lifecycle::explain(&record, machines.as_ref());
    let flows = if record.holds_resources {
        state::flows::of_server(tx, &record.region, record.typed_id(), clock::now_ms()).await?.unwrap_or(0)
    } else {
        0
    };
    Ok(view::server(record, explanation, claimed_by.as_ref(), flows))
}
