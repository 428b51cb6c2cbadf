//! Errors of the API, on their way to becoming problem documents.
//!
//! Every failure of a handler, an extractor or the router itself ends as an [`ApiProblem`], and this is
//! the only file that turns one into a response. What codes exist and which status they carry is
//! `muster_protocol::problem`'s.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use muster_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use muster_store::StoreError;

use super::view::EndpointError;
use crate::blobs::BlobError;
use crate::lifecycle::StepError;
use crate::state::StateError;

/// Seconds after which a request that met contention or a busy store may come again.
const RETRY_CONTENTION_S: u32 = 1;
/// Seconds after which a request that met a full or unreachable store may come again.
const RETRY_STORE_S: u32 = 5;

/// What a handler returns if it cannot do what it was asked.
pub(crate) type ApiResult<T> = Result<T, ApiProblem>;

/// A [`Problem`] that is an axum response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub(crate) struct ApiProblem(#[from] Box<Problem>);

impl ApiProblem {
    /// A problem of `code`: what happened, and what to do.
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail, fix)))
    }

    /// The same, with the seconds after which to try again.
    #[must_use]
    pub(crate) fn retry_after(self, seconds: u32) -> Self {
        Self(Box::new(self.0.retry_after(seconds)))
    }

    /// A request that does not say what it must.
    pub(crate) fn invalid_request(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(ProblemCode::InvalidRequest, detail, fix)
    }

    /// A fault of ours. `detail` goes to the client, so it holds no secret.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            ProblemCode::Internal,
            detail,
            "look in the orchestrator's log; if it happens again, report it",
        )
    }

    /// Its stable code.
    pub(crate) fn code(&self) -> ProblemCode {
        self.0.code
    }

    /// The document.
    #[cfg(test)]
    pub(crate) fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<Problem> for ApiProblem {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<StoreError> for ApiProblem {
    fn from(error: StoreError) -> Self {
        let detail = error.to_string();
        match error {
            StoreError::Conflict | StoreError::TransactionTooOld | StoreError::RetriesExhausted { .. } => {
                Self::new(ProblemCode::Contention, detail, "send the request again")
                    .retry_after(RETRY_CONTENTION_S)
            }
            StoreError::DiskFull { .. } => Self::new(
                ProblemCode::StoreFull,
                detail,
                "free space on the disk that holds the orchestrator's data_dir, then send the request again",
            )
            .retry_after(RETRY_STORE_S),
            StoreError::Io { .. } | StoreError::CommitUnknown { .. } | StoreError::Closed => Self::new(
                ProblemCode::StoreUnavailable,
                detail,
                "check the orchestrator's disk and its log, then read back what the request should have done",
            )
            .retry_after(RETRY_STORE_S),
            StoreError::Unavailable { .. } => Self::new(
                ProblemCode::StoreUnavailable,
                detail,
                "check the cluster of the orchestrator's store, then send the request again",
            )
            .retry_after(RETRY_STORE_S),
            StoreError::TooManyWatches => {
                Self::new(ProblemCode::TooMany, detail, "ask again later, with wait_s=0")
                    .retry_after(RETRY_STORE_S)
            }
            // What is left are limits on keys, values and transactions, which validation keeps requests
            // within: reaching one is a fault of ours.
            _ => {
                tracing::error!(error = %detail, "a request broke a limit of the store");
                Self::internal(detail)
            }
        }
    }
}

impl From<StateError> for ApiProblem {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Store(error) => error.into(),
            corrupt @ (StateError::Corrupt { .. } | StateError::Newer { .. }) => {
                tracing::error!(error = %corrupt, "a record cannot be read");
                Self::internal(corrupt.to_string())
            }
        }
    }
}

impl From<StepError> for ApiProblem {
    fn from(error: StepError) -> Self {
        match error {
            StepError::State(error) => error.into(),
            // Links meet these, with ids that machines send; the API parses its own.
            other => Self::internal(other.to_string()),
        }
    }
}

impl From<EndpointError> for ApiProblem {
    fn from(error: EndpointError) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<BlobError> for ApiProblem {
    fn from(error: BlobError) -> Self {
        let detail = error.to_string();
        let resume = "ask where the upload stands (GET /v1/uploads/{id}) and go on from there";
        match error {
            BlobError::Offset { .. } => Self::new(ProblemCode::UploadOffset, detail, resume),
            BlobError::Busy => {
                Self::new(ProblemCode::UploadOffset, detail, resume).retry_after(RETRY_CONTENTION_S)
            }
            BlobError::Incomplete { .. } => Self::new(ProblemCode::UploadIncomplete, detail, resume),
            BlobError::BeyondSize { .. } => {
                Self::new(ProblemCode::TooLarge, detail, "begin an upload with the archive's real size")
            }
            BlobError::WrongDigest { .. } => Self::new(
                ProblemCode::UploadDigest,
                detail,
                "push the file again; if this comes back, it changes while it is read or the way there is damaged",
            ),
            BlobError::Full { .. } => Self::new(
                ProblemCode::StoreFull,
                detail,
                "free space on the disk that holds the orchestrator's data_dir, then go on with the upload",
            )
            .retry_after(RETRY_STORE_S),
            BlobError::Io { .. } => {
                tracing::error!(error = %detail, "an archive cannot be read or written");
                Self::new(ProblemCode::StoreUnavailable, detail, "check the orchestrator's disk and its log")
                    .retry_after(RETRY_STORE_S)
            }
        }
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&*self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_so_and_when_to_come_again() {
        let problem = ApiProblem::from(StoreError::DiskFull { place: "/data/store.redb".into() });
        assert_eq!(problem.code(), ProblemCode::StoreFull);
        let response = problem.into_response();
        assert_eq!(response.status().as_u16(), 507);
        assert_eq!(response.headers()[header::CONTENT_TYPE], PROBLEM_MEDIA_TYPE);
        assert_eq!(response.headers()[header::RETRY_AFTER], "5");
    }

    #[test]
    fn contention_is_not_a_fault() {
        let problem = ApiProblem::from(StoreError::RetriesExhausted {
            name: "allocate",
            attempts: 9,
            last: Box::new(StoreError::Conflict),
        });
        assert_eq!(problem.code(), ProblemCode::Contention);
        assert_eq!(problem.problem().retry_after_s, Some(RETRY_CONTENTION_S));
    }

    #[test]
    fn a_refused_token_says_how_to_show_one() {
        let response = ApiProblem::new(ProblemCode::TokenMissing, "no token", "send one").into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
    }
}
