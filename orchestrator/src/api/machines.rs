//! `/v1/nodes`, `/v1/edges`, `/v1/regions`: the machines, what they form, and the traffic and limits of edges.

mod edge_traffic;
mod edges;
mod limits;
mod nodes;
mod regions;

use std::sync::Arc;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

/// The routes.
pub(crate) fn router() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(edges::list_edges))
        .routes(routes!(edge_traffic::edge_traffic))
        .routes(routes!(regions::list_regions))
        .routes(routes!(limits::show_limits, limits::set_limits))
}
