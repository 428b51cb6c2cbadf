//! `/v1/builds`: registered game-server artifacts.

mod archive;
mod create;
mod list;
mod show;

use std::sync::Arc;

use muster_protocol::problem::ProblemCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::ApiProblem;
use crate::app::App;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create::create_build, list::list_builds))
        .routes(routes!(show::show_build))
        .routes(routes!(archive::build_archive))
}

/// No build of that tag or digest.
pub(crate) fn unknown(name: &str) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::BuildUnknown,
        format!("there is no build {name:?} in the namespace"),
        format!("push it with `muster build push IMAGE --tag {name}`, or see `muster build ls`"),
    )
}
