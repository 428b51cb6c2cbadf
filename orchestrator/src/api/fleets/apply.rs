//! `PUT /v1/fleets/{name}`: makes a fleet, or changes it to be as asked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Fleet, FleetSpec};
use muster_protocol::problem::ProblemCode;

use super::standing;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiJson, ApiPath};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, builds, validate};
use crate::app::App;
use crate::records::{FleetRecord, Pod, RegionTarget};
use crate::state::fleets::MAX_FLEETS;
use crate::{clock, state};

/// Apply a fleet
///
/// A tag is resolved now: to run a tag's new build, apply the fleet again. A change of what a server is
/// made of replaces unclaimed servers one by one and leaves claimed ones alone.
#[utoipa::path(put, path = "/v1/fleets/{name}", tag = "fleets",
    params(NamespaceParam, ("name" = String, Path, description = "Fleet")),
    request_body = FleetSpec, responses((status = 200, body = Fleet)))]
pub(super) async fn apply_fleet(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
    ApiJson(spec): ApiJson<FleetSpec>,
) -> ApiResult<Json<Fleet>> {
    validate::fleet_spec(&name, &spec)?;
    let now_ms = clock::now_ms();
    let namespace = scope.namespace;
    let fleet = app
        .db
        .run("apply fleet", async |mut tx| {
            let Some(build) = state::builds::resolve(&mut tx, &namespace, &spec.build).await? else {
                return Err(builds::unknown(&spec.build));
            };
            let is_new = state::fleets::load(&mut tx, &namespace, &name).await?.is_none();
            if is_new && state::fleets::count(&mut tx, &namespace).await? >= MAX_FLEETS as i64 {
                return Err(too_many());
            }
            let wanted = FleetRecord {
                namespace: namespace.clone(),
                name: name.clone(),
                build: spec.build.clone(),
                pod: Some(Pod::from_spec(&spec, &build)),
                regions: spec
                    .regions
                    .iter()
                    .map(|(region, of)| (region.clone(), RegionTarget { warm: of.warm, max: of.max }))
                    .collect(),
                reconnect_s: Some(spec.timeouts.reconnect_s),
                connect_s: Some(spec.timeouts.connect_s),
                backfill: spec.backfill,
                lobbies: spec.lobbies,
                direct_connect: spec.direct_connect,
                max_players: spec.max_players,
                ..FleetRecord::default()
            };
            let record = state::fleets::apply(&mut tx, wanted, now_ms).await?;
            Ok(standing(&mut tx, &record, now_ms).await?)
        })
        .await?;
    tracing::info!(
        namespace,
        fleet = name,
        version = fleet.version,
        build = fleet.build_digest,
        "fleet applied"
    );
    Ok(Json(fleet))
}

fn too_many() -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TooMany,
        format!("the namespace has {MAX_FLEETS} fleets already"),
        "delete those that are not needed: `muster fleet ls`, `muster fleet rm NAME`",
    )
}
