//! `/v1/workflows`: what the engine does in a namespace, and what each of it waits for.

mod act;
mod list;
mod show;

use std::sync::Arc;

use muster_engine::Address;
use muster_engine::inspect::Workflow as Found;
use muster_protocol::problem::ProblemCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{ApiProblem, ApiResult};
use crate::app::App;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list::list_workflows))
        .routes(routes!(show::show_workflow))
        .routes(routes!(act::act_on_workflow))
}

fn address(namespace: &str, kind: &str, key: &str) -> ApiResult<Address> {
    Address::new(namespace, kind, key)
        .map_err(|invalid| ApiProblem::invalid_request(invalid.to_string(), "see `muster workflow ls`"))
}

fn known(found: Option<Found>, address: &Address) -> ApiResult<Found> {
    found.ok_or_else(|| {
        ApiProblem::new(
            ProblemCode::WorkflowUnknown,
            format!("there is no workflow {} {} in the namespace", address.kind(), address.key()),
            "see `muster workflow ls`",
        )
    })
}
