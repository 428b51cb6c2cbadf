//! `POST /v1/workflows/{kind}/{key}/{action}`: pause, resume, retry, cancel.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use muster_engine::{Control, control, inspect};
use muster_protocol::api::WorkflowAction;
use muster_protocol::problem::ProblemCode;

use super::{address, known};
use crate::api::NamespaceParam;
use crate::api::auth::{Deploy, Scope};
use crate::api::extract::ApiPath;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;
use crate::state;

/// Pause, resume, retry or cancel a workflow
///
/// It is taken in the order of everything else that the workflow is told, so it takes effect soon after.
#[utoipa::path(post, path = "/v1/workflows/{kind}/{key}/{action}", tag = "workflows",
    params(NamespaceParam, ("kind" = String, Path, description = "Kind"), ("key" = String, Path, description = "Key"),
        ("action" = inline(WorkflowAction), Path, description = "What to do")),
    responses((status = 204)))]
pub(super) async fn act_on_workflow(
    State(app): State<Arc<App>>,
    scope: Scope<Deploy>,
    ApiPath((kind, key, action)): ApiPath<(String, String, WorkflowAction)>,
) -> ApiResult<StatusCode> {
    let address = address(&scope.namespace, &kind, &key)?;
    if action == WorkflowAction::Cancel {
        refuse_to_cancel(&kind)?;
    }
    app.db
        .run("act on workflow", async |mut tx| {
            known(inspect::show(&mut tx, &address).await?, &address)?;
            control(&mut tx, &address, engine_control(action));
            Ok::<_, ApiProblem>(())
        })
        .await?;
    tracing::info!(workflow = %address, action = action.as_str(), "workflow told by request");
    Ok(StatusCode::NO_CONTENT)
}

/// Workflows that stand behind a thing live as long as the thing.
fn refuse_to_cancel(kind: &str) -> ApiResult<()> {
    let fix = match kind {
        state::fleets::WORKFLOW => "delete the fleet with `muster fleet rm`, or pause its workflow",
        state::workflows::SERVER => "stop the server with `muster server stop`, or pause its workflow",
        state::workflows::QUEUE => "delete the queue with `muster queue rm`, or pause its workflow",
        state::workflows::NODE | state::workflows::PLACEMENT | state::workflows::TIMERS => {
            "the installation needs it; pause it, and resume it soon"
        }
        _ => return Ok(()),
    };
    let detail = format!("a workflow of the kind {kind} lives as long as what it keeps");
    Err(ApiProblem::new(ProblemCode::WorkflowKept, detail, fix))
}

fn engine_control(action: WorkflowAction) -> Control {
    match action {
        WorkflowAction::Pause => Control::Pause,
        WorkflowAction::Resume => Control::Resume,
        WorkflowAction::Retry => Control::Retry,
        WorkflowAction::Cancel => Control::Cancel,
    }
}
