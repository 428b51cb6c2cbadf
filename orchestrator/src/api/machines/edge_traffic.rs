//! `GET /v1/edges/{edge}/traffic`: what goes through an edge now.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::EdgeTraffic;
use muster_protocol::id::{EdgeId, EdgeMark, NodeId};
use muster_protocol::problem::ProblemCode;

use crate::api::auth::{Admin, Grant};
use crate::api::extract::ApiId;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::view;
use crate::app::App;
use crate::edges::reports::{self, ReportsError};
use crate::records::Id;
use crate::state;

/// Show what goes through an edge now
///
/// Rates are of the time between its last two reports, of which it makes one every two seconds. It names the busiest
/// servers; `total` is of all of them.
#[utoipa::path(get, path = "/v1/edges/{edge}/traffic", tag = "machines",
    params(("edge" = String, Path, description = "Edge")),
    responses((status = 200, body = EdgeTraffic)))]
pub(super) async fn edge_traffic(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiId(edge): ApiId<EdgeMark>,
) -> ApiResult<Json<EdgeTraffic>> {
    let record = app.db.read("edge", async |mut tx| state::edges::load(&mut tx, edge).await).await?;
    let record = record.ok_or_else(|| unknown(edge))?;
    let reports = reports::reports(&app, &record).await.map_err(|error| unreachable(edge, &error))?;
    let traffic = view::edge_traffic(&record, &reports);
    let named = app.db.read("servers of an edge", async |mut tx| {
        let mut servers = traffic.servers.clone();
        for server in &mut servers {
            if let Some(record) = state::servers::peek(&mut tx, server.server).await? {
                let node: Option<NodeId> = record.node.map(Id::typed);
                server.tunnel = traffic.tunnels.iter().find(|tunnel| Some(tunnel.node) == node).cloned();
                (server.namespace, server.fleet) = (record.namespace, record.fleet);
            }
        }
        Ok::<_, state::StateError>(servers)
    });
    let servers = named.await?;
    Ok(Json(EdgeTraffic { servers, ..traffic }))
}

fn unknown(edge: EdgeId) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::EdgeUnknown,
        format!("there is no edge {edge}"),
        "see those that there are with `muster edges ls`",
    )
}

fn unreachable(edge: EdgeId, error: &ReportsError) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::EdgeUnreachable,
        error.to_string(),
        format!("see whether the edge {edge} is connected: `muster edges ls`; its players go on meanwhile"),
    )
}
