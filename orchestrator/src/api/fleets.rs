//! `/v1/fleets`: a build, and how many servers of it to keep where.

mod allocate;
mod apply;
mod delete;
mod list;
mod show;

use std::sync::Arc;

use muster_protocol::api::Fleet;
use muster_protocol::problem::ProblemCode;
use muster_store::Transaction;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiProblem;
use super::view;
use crate::app::App;
use crate::lifecycle::standing::waiting_for;
use crate::records::FleetRecord;
use crate::state::{self, StateError};

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list::list_fleets))
        .routes(routes!(apply::apply_fleet, show::show_fleet, delete::delete_fleet))
        .routes(routes!(allocate::allocate_server))
}

/// No fleet of that name.
pub(crate) fn unknown(name: &str) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::FleetUnknown,
        format!("there is no fleet {name:?} in the namespace"),
        "apply it with `muster fleet apply -f FILE`, or see `muster fleet ls`",
    )
}

/// A fleet and how it stands.
pub(crate) async fn standing(
    tx: &mut Transaction,
    record: &FleetRecord,
    now_ms: u64,
) -> Result<Fleet, StateError> {
    let (namespace, name) = (&record.namespace, &record.name);
    let counts = state::servers::counts(tx, namespace, name).await?;
    let waiting_for = waiting_for(tx, namespace, name, None, now_ms).await?;
    Ok(view::fleet(record, &counts, waiting_for))
}
