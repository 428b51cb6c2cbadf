//! `GET /metrics`: figures for Prometheus.
//!
//! Open to this machine, for anybody else behind an admin token. An address says nothing where a proxy
//! stands in front, so with `api.insecure`, or where a proxy has left its mark, the token is asked for.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use muster_protocol::api::Role;
use muster_protocol::problem::ProblemCode;

use crate::api::auth;
use crate::api::problem::{ApiProblem, ApiResult};
use crate::app::App;

/// Headers by which a proxy says that it asks for another.
const PROXY_HEADERS: [&str; 2] = ["forwarded", "x-forwarded-for"];

/// Metrics, in Prometheus' text format
///
/// From another machine with an admin token only.
#[utoipa::path(get, path = "/metrics", tag = "installation",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn metrics(
    State(app): State<Arc<App>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    if !is_this_machine(from, &headers, app.config.api.insecure) {
        let caller = auth::caller(&headers, &app).await?;
        auth::allow(&caller, Role::Admin)?;
        auth::allow_installation(&caller, Role::Admin)?;
    }
    let Some(handle) = &app.metrics else {
        return Err(ApiProblem::new(
            ProblemCode::NotFound,
            "this process records no metrics",
            "run the orchestrator with `muster orchestrator` or `muster dev`",
        ));
    };
    let text = handle.render();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn is_this_machine(from: SocketAddr, headers: &HeaderMap, insecure: bool) -> bool {
    from.ip().to_canonical().is_loopback()
        && !insecure
        && !PROXY_HEADERS.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_only_where_no_proxy_stands_in_front() {
        let here: SocketAddr = "127.0.0.1:5000".parse().expect("an address");
        let mapped: SocketAddr = "[::ffff:127.0.0.1]:5000".parse().expect("an address");
        let there: SocketAddr = "192.0.2.7:5000".parse().expect("an address");
        let none = HeaderMap::new();
        assert!(is_this_machine(here, &none, false) && is_this_machine(mapped, &none, false));
        assert!(!is_this_machine(there, &none, false));
        assert!(!is_this_machine(here, &none, true));
        let mut proxied = HeaderMap::new();
        proxied.insert("x-forwarded-for", "192.0.2.7".parse().expect("a value"));
        assert!(!is_this_machine(here, &proxied, false));
    }
}
