//! `/v1/queues`: matchmaking modes.

mod apply;
mod delete;
mod list;
mod mode;
mod recording;
mod show;
mod versions;

use std::sync::Arc;

use muster_protocol::api::Queue;
use muster_protocol::problem::ProblemCode;
use muster_store::Transaction;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiProblem;
use super::view;
use crate::app::App;
use crate::records::{QueueRecord, TicketState};
use crate::state::{self, StateError};

/// Most running matches counted of those that a queue fills.
const MAX_OPENINGS_COUNTED: usize = 1_000;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list::list_queues))
        .routes(routes!(apply::apply_queue, show::show_queue, delete::delete_queue))
        .routes(routes!(versions::list_versions))
        .routes(routes!(recording::read_recording, recording::clear_recording))
        .routes(routes!(mode::pause_queue))
        .routes(routes!(mode::drain_queue))
        .routes(routes!(mode::resume_queue))
}

/// No queue of that name.
pub(crate) fn unknown(name: &str) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::QueueUnknown,
        format!("there is no queue {name:?} in the namespace"),
        "apply it with `muster queue apply -f FILE`, or see `muster queue ls`",
    )
}

/// A queue and how it stands.
async fn standing(tx: &mut Transaction, record: &QueueRecord) -> Result<Queue, StateError> {
    let (namespace, name) = (&record.namespace, &record.name);
    let status = state::queues::status(tx, namespace, name).await?;
    let searching = state::tickets::count(tx, namespace, name, TicketState::Searching).await?;
    let matched = state::tickets::count(tx, namespace, name, TicketState::Matched).await?;
    let openings = state::matches::open(tx, namespace, name, None, MAX_OPENINGS_COUNTED).await?.len();
    let parts = state::parts::peek(tx, namespace, name).await?;
    view::queue(record, status, (searching, matched, openings), &parts)
}
