//! `GET /v1/openapi.json`: the API's description, made from the routes themselves.

use axum::Extension;
use axum::http::header;
use axum::response::IntoResponse;
use bytes::Bytes;

/// The document as it is sent.
#[derive(Clone)]
pub(crate) struct ApiDocument(pub(crate) Bytes);

/// This document
///
/// Needs no token.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "installation", security(()),
    responses((status = 200, body = serde_json::Value, content_type = "application/json")))]
pub(super) async fn api_document(Extension(document): Extension<ApiDocument>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document.0)
}
