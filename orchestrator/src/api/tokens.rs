//! `/v1/tokens` and `/v1/join-tokens`: credentials of programs and people, and of machines that join.

mod create;
mod create_join;
mod list;
mod revoke;

use std::sync::Arc;

use muster_protocol::problem::ProblemCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiProblem;
use crate::app::App;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create::create_token, list::list_tokens))
        .routes(routes!(revoke::revoke_token))
        .routes(routes!(create_join::create_join_token))
}

fn too_many(what: &str, limit: usize) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TooMany,
        format!("there are {limit} {what} tokens already"),
        "revoke API tokens that are not needed (`muster token ls`, `muster token rm ID`); join tokens go by \
         themselves a day after they expire",
    )
}
