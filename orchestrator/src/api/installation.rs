//! What concerns the installation as a whole: status, CA, the API's own description, health, metrics.

mod authority;
mod backup;
mod document;
mod health;
mod metrics;
mod status;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub(crate) use document::ApiDocument;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(status::show_status))
        .routes(routes!(backup::take_backup))
        .routes(routes!(authority::authority_certificate))
        .routes(routes!(document::api_document))
        .routes(routes!(health::health))
        .routes(routes!(metrics::metrics))
}
