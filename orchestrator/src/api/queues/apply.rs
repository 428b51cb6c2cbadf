//! `PUT /v1/queues/{name}`: makes a queue, or changes it to be as asked.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{Queue, QueueSpec};
use muster_protocol::problem::ProblemCode;

use super::standing;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiJson, ApiPath};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, fleets, validate};
use crate::app::App;
use crate::records::{FleetRecord, QueueRecord};
use crate::state::queues::MAX_QUEUES;
use crate::{clock, state};

/// Apply a queue
#[utoipa::path(put, path = "/v1/queues/{name}", tag = "queues",
    params(NamespaceParam, ("name" = String, Path, description = "Queue")),
    request_body = QueueSpec, responses((status = 200, body = Queue)))]
pub(super) async fn apply_queue(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
    ApiJson(spec): ApiJson<QueueSpec>,
) -> ApiResult<Json<Queue>> {
    validate::queue_spec(&name, &spec)?;
    let now_ms = clock::now_ms();
    let (namespace, by) = (scope.namespace, scope.caller.token);
    let queue = app
        .db
        .run("apply queue", async |mut tx| {
            let fleet = state::fleets::load(&mut tx, &namespace, &spec.fleet).await?;
            let fleet = fleet.filter(|fleet| !fleet.deleting).ok_or_else(|| fleets::unknown(&spec.fleet))?;
            regions_of_the_fleet(&spec, &fleet)?;
            let is_new = state::queues::load(&mut tx, &namespace, &name).await?.is_none();
            if is_new && state::queues::count(&mut tx, &namespace).await? >= MAX_QUEUES as i64 {
                return Err(too_many());
            }
            let wanted = QueueRecord::from_spec(&namespace, &spec);
            let record = state::queues::apply(&mut tx, wanted, Some(by), now_ms).await?;
            Ok(standing(&mut tx, &record).await?)
        })
        .await?;
    tracing::info!(namespace, queue = name, version = queue.version, fleet = spec.fleet, "queue applied");
    Ok(Json(queue))
}

fn regions_of_the_fleet(spec: &QueueSpec, fleet: &FleetRecord) -> ApiResult<()> {
    let missing: Vec<&str> = spec
        .regions
        .iter()
        .map(String::as_str)
        .filter(|region| !fleet.regions.contains_key(*region))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let has: Vec<&str> = fleet.regions.keys().map(String::as_str).collect();
    Err(ApiProblem::new(
        ProblemCode::InvalidSpec,
        format!(
            "regions: the fleet {:?} is not in {}; it is in {}",
            spec.fleet,
            missing.join(", "),
            has.join(", ")
        ),
        "name regions of the fleet, or add them to the fleet and apply it first",
    ))
}

fn too_many() -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TooMany,
        format!("the namespace has {MAX_QUEUES} queues already"),
        "delete those that are not needed: `muster queue ls`, `muster queue rm NAME`",
    )
}
