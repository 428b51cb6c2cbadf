//! `/v1/namespaces`: a game in an environment, which owns everything below it.

mod create;
mod list;
mod show;

use std::sync::Arc;

use muster_protocol::api;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::records::NamespaceRecord;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create::create_namespace, show::show_namespace))
        .routes(routes!(list::list_namespaces))
}

fn view(record: NamespaceRecord) -> api::Namespace {
    api::Namespace { name: record.name, created_at_ms: record.created_at_ms }
}
