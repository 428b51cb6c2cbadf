//! Errors of the SDK endpoint: problem documents, like the public API's.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use muster_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};

use crate::metrics;

/// A problem as a response.
pub(super) struct SdkProblem(Problem);

impl From<Problem> for SdkProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<JsonRejection> for SdkProblem {
    fn from(rejection: JsonRejection) -> Self {
        let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            ProblemCode::TooLarge
        } else {
            ProblemCode::InvalidRequest
        };
        Self(Problem::new(code, rejection.body_text(), "send JSON with `Content-Type: application/json`"))
    }
}

impl IntoResponse for SdkProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.0.retry_after_s;
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// For every path that is none.
pub(super) async fn not_found(uri: Uri) -> SdkProblem {
    let detail = format!("the SDK endpoint has no {}", uri.path());
    Problem::new(ProblemCode::NotFound, detail, "see the SDK's documentation for its calls").into()
}

/// For every method a path does not have.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> SdkProblem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(ProblemCode::MethodNotAllowed, detail, "see the SDK's documentation for its calls").into()
}

/// Counts every response by its status.
pub(super) async fn count(response: Response) -> Response {
    metrics::sdk_request(response.status().as_u16());
    response
}
