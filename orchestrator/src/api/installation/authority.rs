//! `GET /v1/ca.pem`: the certificate of Muster's own CA.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use crate::app::App;

/// The CA's certificate
///
/// What `wss` endpoints, and the API with `tls = "own"`, are signed by. Needs no token.
#[utoipa::path(get, path = "/v1/ca.pem", tag = "installation", security(()),
    responses((status = 200, body = String, content_type = "application/x-pem-file")))]
pub(super) async fn authority_certificate(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], app.authority.certificate_pem())
}
