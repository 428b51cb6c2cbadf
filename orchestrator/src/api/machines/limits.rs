//! `/v1/regions/{region}/limits`: what sources may send to a region's edges.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::EdgeLimits;
use muster_protocol::problem::ProblemCode;

use crate::api::auth::{Admin, Grant};
use crate::api::extract::{ApiJson, ApiPath};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::validate;
use crate::app::App;
use crate::records::EdgeLimitsRecord;
use crate::state::edge_limits::{self, MAX_LIMITED_REGIONS};

/// Show the limits of a region's edges
#[utoipa::path(get, path = "/v1/regions/{region}/limits", tag = "machines",
    params(("region" = String, Path, description = "Region")),
    responses((status = 200, body = EdgeLimits)))]
pub(super) async fn show_limits(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiPath(region): ApiPath<String>,
) -> ApiResult<Json<EdgeLimits>> {
    validate::path_name("region", &region)?;
    let record = app.db.read("edge limits", async |mut tx| edge_limits::peek(&mut tx, &region).await).await?;
    Ok(Json(record.to_api()))
}

/// Set the limits of a region's edges
///
/// They are as said from then on, and what is not said is not limited. Connected edges hold to them at once,
/// others when they are back.
#[utoipa::path(put, path = "/v1/regions/{region}/limits", tag = "machines",
    params(("region" = String, Path, description = "Region")),
    request_body = EdgeLimits, responses((status = 200, body = EdgeLimits)))]
pub(super) async fn set_limits(
    State(app): State<Arc<App>>,
    _grant: Grant<Admin>,
    ApiPath(region): ApiPath<String>,
    ApiJson(limits): ApiJson<EdgeLimits>,
) -> ApiResult<Json<EdgeLimits>> {
    validate::path_name("region", &region)?;
    validate::edge_limits(&limits)?;
    app.db
        .run("set edge limits", async |mut tx| {
            let is_new = edge_limits::load(&mut tx, &region).await? == EdgeLimitsRecord::default();
            let adds = is_new && limits != EdgeLimits::default();
            if adds && edge_limits::count(&mut tx).await? >= MAX_LIMITED_REGIONS {
                return Err(too_many());
            }
            edge_limits::set(&mut tx, &region, &limits);
            Ok(())
        })
        .await?;
    tracing::info!(region, "limits of edges set");
    Ok(Json(limits))
}

fn too_many() -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TooMany,
        format!("{MAX_LIMITED_REGIONS} regions have limits already"),
        "clear those of regions that are gone: `muster edges limits clear REGION`",
    )
}
