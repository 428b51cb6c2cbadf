//! Extractors for bodies, queries and paths, whose refusals are problem documents.
//!
//! They wrap axum's own and differ in two things: what they say when the input is wrong, and that a
//! query's `namespace`, which belongs to authorization, is not seen by the type that reads the rest.

use axum::extract::rejection::{BytesRejection, JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::uri::Uri;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use muster_protocol::id::{StaticType, TypeSafeId, parse_id};
use muster_protocol::problem::ProblemCode;
use serde::de::DeserializeOwned;

use super::problem::ApiProblem;

/// Largest JSON body, in bytes.
pub(crate) const MAX_JSON_BYTES: usize = 1024 * 1024;

/// A JSON body.
pub(crate) struct ApiJson<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for ApiJson<T> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refuse_json(&rejection)),
        }
    }
}

fn refuse_json(rejection: &JsonRejection) -> ApiProblem {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => ApiProblem::invalid_request(
            "the body is not marked as JSON",
            "send the header `Content-Type: application/json`",
        ),
        JsonRejection::BytesRejection(rejection) => refuse_bytes(rejection, MAX_JSON_BYTES),
        other => ApiProblem::invalid_request(
            other.body_text(),
            "send JSON as the schema in /v1/openapi.json asks for it",
        ),
    }
}

/// A raw body of at most `MAX` bytes.
pub(crate) struct ApiBytes<const MAX: usize>(pub(crate) Bytes);

impl<S: Send + Sync, const MAX: usize> FromRequest<S> for ApiBytes<MAX> {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiProblem> {
        let announced = request
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse::<u64>().ok());
        if announced.is_some_and(|length| length > MAX as u64) {
            return Err(too_large(MAX));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) if bytes.len() > MAX => Err(too_large(MAX)),
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) => Err(refuse_bytes(&rejection, MAX)),
        }
    }
}

fn refuse_bytes(rejection: &BytesRejection, limit: usize) -> ApiProblem {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        too_large(limit)
    } else {
        ApiProblem::invalid_request("the body ended before it was whole", "send the request again")
    }
}

fn too_large(limit: usize) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TooLarge,
        format!("the body is over the limit of {limit} bytes"),
        "send less at a time; a build is uploaded in chunks",
    )
}

/// The query, without its `namespace`.
pub(crate) struct ApiQuery<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for ApiQuery<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiProblem> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiProblem> {
    let refuse = |why: String| {
        ApiProblem::invalid_request(
            format!("the query `{query}` is not valid: {why}"),
            "see the parameters of this path in /v1/openapi.json",
        )
    };
    let rest: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("namespace=")).collect();
    let uri: Uri = format!("/?{}", rest.join("&")).parse().map_err(|_| refuse("not a URI".to_owned()))?;
    match Query::try_from_uri(&uri) {
        Ok(Query(value)) => Ok(value),
        Err(rejection) => Err(refuse(rejection.body_text())),
    }
}

/// Values from the path.
pub(crate) struct ApiPath<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for ApiPath<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(error)) => Err(ApiProblem::invalid_request(
                error.body_text(),
                "see the parameters of this path in /v1/openapi.json",
            )),
            Err(other) => Err(ApiProblem::internal(other.body_text())),
        }
    }
}

/// The one id in the path.
pub(crate) struct ApiId<T: StaticType>(pub(crate) TypeSafeId<T>);

impl<S: Send + Sync, T: StaticType> FromRequestParts<S> for ApiId<T> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiProblem> {
        let ApiPath(text) = ApiPath::<String>::from_request_parts(parts, state).await?;
        parse_id(&text).map(Self).map_err(|error| {
            ApiProblem::invalid_request(
                error.to_string(),
                "take it as it was answered when it was made, or from the list of its kind",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::api::{LogsQuery, TicketQuery, TicketState};

    use super::*;

    #[test]
    fn the_namespace_is_not_part_of_the_rest() {
        let query: LogsQuery = parse_query("namespace=arena%2Fprod&follow=true").expect("valid");
        assert!(query.follow);
        let query: TicketQuery = parse_query("state=searching&wait_s=3&namespace=a/b").expect("valid");
        assert_eq!((query.state, query.wait_s), (Some(TicketState::Searching), 3));
    }

    #[test]
    fn an_unknown_parameter_is_named() {
        let problem = parse_query::<LogsQuery>("folow=true").expect_err("a typo");
        assert_eq!(problem.code(), ProblemCode::InvalidRequest);
        assert!(problem.problem().detail.contains("folow"), "{}", problem.problem().detail);
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        assert!(parse_query::<TicketQuery>("wait_s=soon").is_err());
    }
}
