//! `POST /v1/fleets/{name}/allocate`: claims a ready server, without a queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use muster_protocol::api::{AllocateRequest, Allocated};
use muster_protocol::problem::ProblemCode;

use super::unknown;
use crate::allocate::{AllocateError, Allocation, allocate};
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::{ApiJson, ApiPath};
use crate::api::problem::{ApiProblem, ApiResult};
use crate::api::{NamespaceParam, validate, view};
use crate::app::App;
use crate::lifecycle::standing::waiting_for;
use crate::state::regions::RegionMachines;
use crate::{clock, state};

/// Seconds after which to ask again where no server is free.
const RETRY_S: u32 = 1;
/// Most seats whose tokens are signed where other requests run; signing more goes to a thread of its own.
const MAX_SEATS_INLINE: usize = 8;

/// Claim a server
///
/// Takes a ready server of the fleet and sells a seat to each of `players`. To look for another region
/// where the first is full, name both.
#[utoipa::path(post, path = "/v1/fleets/{name}/allocate", tag = "fleets",
    params(NamespaceParam, ("name" = String, Path, description = "Fleet")),
    request_body = AllocateRequest, responses((status = 200, body = Allocated)))]
pub(super) async fn allocate_server(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath(name): ApiPath<String>,
    ApiJson(request): ApiJson<AllocateRequest>,
) -> ApiResult<Json<Allocated>> {
    validate::path_name("fleet", &name)?;
    validate::allocate_request(&request)?;
    let now_ms = clock::now_ms();
    let AllocateRequest { regions, players, data } = request;
    let data = data.unwrap_or_default();
    let claimed = allocate(&app.db, &scope.namespace, &name, &regions, &players, &data, now_ms).await;
    match claimed {
        Ok(allocation) => Ok(Json(tell(app, allocation, now_ms).await?)),
        Err(error) => Err(refusal(&app, &scope.namespace, &name, error, now_ms).await?),
    }
}

async fn tell(app: Arc<App>, allocation: Allocation, now_ms: u64) -> ApiResult<Allocated> {
    let region = &allocation.server.region;
    let edges = app
        .db
        .read("allocated edges", async |mut tx| state::edges::list_in_region(&mut tx, region).await)
        .await?;
    let many = allocation.match_record.seats.len() > MAX_SEATS_INLINE;
    let sign = move || {
        let ttl_ms = app.config.session_token_ttl_ms();
        view::allocated(&allocation, &edges, app.authority.signer(), now_ms, ttl_ms)
    };
    if !many {
        return Ok(sign()?);
    }
    let signed = tokio::task::spawn_blocking(sign).await;
    Ok(signed.map_err(|_| ApiProblem::internal("signing session tokens met a fault"))??)
}

/// The problem that `error` is, with what the fleet waits for where no server is free.
async fn refusal(
    app: &App,
    namespace: &str,
    fleet: &str,
    error: AllocateError,
    now_ms: u64,
) -> ApiResult<ApiProblem> {
    let detail = error.to_string();
    Ok(match error {
        AllocateError::UnknownFleet(name) => unknown(&name),
        AllocateError::UnknownRegion { region, .. } => ApiProblem::new(
            ProblemCode::RegionUnserved,
            detail,
            format!("add {region} to the fleet's regions (`muster fleet apply -f FILE`), or ask for another"),
        ),
        AllocateError::NoCapacity { regions, .. } => {
            let regions: Vec<&str> = regions.split(", ").collect();
            let (waiting, served) = app
                .db
                .read("why no server is free", async |mut tx| {
                    let waiting = waiting_for(&mut tx, namespace, fleet, None, now_ms).await?;
                    Ok::<_, ApiProblem>((waiting, state::regions::list(&mut tx).await?))
                })
                .await?;
            no_capacity(detail, &regions, &waiting, &served)
        }
        AllocateError::TooLarge => {
            ApiProblem::invalid_request(detail, "name fewer players, or send less data")
        }
        AllocateError::State(error) => error.into(),
    })
}

fn no_capacity(
    detail: String,
    regions: &[&str],
    waiting: &[String],
    machines: &BTreeMap<String, RegionMachines>,
) -> ApiProblem {
    let none = RegionMachines::default();
    let obstacles: Vec<String> =
        regions.iter().filter_map(|region| machines.get(*region).unwrap_or(&none).obstacle(region)).collect();
    if obstacles.len() == regions.len() {
        return ApiProblem::new(
            ProblemCode::RegionUnserved,
            obstacles.join("; "),
            "see `muster node ls` and `muster edges ls`, or ask for a region that is served",
        );
    }
    let why = if waiting.is_empty() { String::new() } else { format!("; {}", waiting.join("; ")) };
    ApiProblem::new(
        ProblemCode::NoCapacity,
        format!("{detail}{why}"),
        "ask again in a moment; if it stays so, keep more servers warm, or see `muster fleet ls`",
    )
    .retry_after(RETRY_S)
}
