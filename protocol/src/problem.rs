//! Errors of the HTTP API: problem documents (RFC 9457) with a stable `code` and the way out.
//!
//! `code` is for programs and never changes its meaning; `detail` says what happened this time;
//! `fix` says what to do. Status codes follow from the code, in one table.

use serde::{Deserialize, Serialize};

/// Media type of a problem document.
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $status:literal, $title:literal;)*) => {
        /// Stable error codes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        pub enum ProblemCode {
            $($(#[$doc])* $name,)*
            /// A code that this version does not know, from a newer orchestrator.
            #[serde(other)]
            Unknown,
        }

        impl ProblemCode {
            /// Every code an orchestrator of this version sends.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code's text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Unknown => "unknown" }
            }

            /// The HTTP status it is sent with.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* Self::Unknown => 500 }
            }

            /// The same for every problem of this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* Self::Unknown => "Unknown problem" }
            }
        }
    };
}

codes! {
    /// The request's body, path or query does not say what it must.
    InvalidRequest, "invalid_request", 400, "Request is not valid";
    /// A specification (fleet, queue) contradicts itself or a limit.
    InvalidSpec, "invalid_spec", 422, "Specification is not valid";
    /// No token was shown.
    TokenMissing, "token_missing", 401, "No API token";
    /// The token is not one of ours, or was revoked.
    TokenInvalid, "token_invalid", 401, "API token is not valid";
    /// The token's time is over.
    TokenExpired, "token_expired", 401, "API token has expired";
    /// The token's role or namespace does not allow this.
    Forbidden, "forbidden", 403, "Not allowed with this token";
    /// The request needs a namespace and neither token nor query names one.
    NamespaceMissing, "namespace_missing", 400, "No namespace";
    /// No such namespace.
    NamespaceUnknown, "namespace_unknown", 404, "No such namespace";
    /// No such build, by tag or digest.
    BuildUnknown, "build_unknown", 404, "No such build";
    /// The archive is no image that Docker can load.
    ImageInvalid, "image_invalid", 422, "Archive is not a container image";
    /// No such upload, or it has expired.
    UploadUnknown, "upload_unknown", 404, "No such upload";
    /// The chunk does not begin where the upload stands.
    UploadOffset, "upload_offset", 409, "Chunk is at the wrong offset";
    /// Finished before all bytes were there.
    UploadIncomplete, "upload_incomplete", 409, "Upload is not complete";
    /// The bytes are not those whose digest was announced.
    UploadDigest, "upload_digest", 422, "Upload does not have its digest";
    /// Over the limit on size.
    TooLarge, "too_large", 413, "Too large";
    /// No such fleet.
    FleetUnknown, "fleet_unknown", 404, "No such fleet";
    /// The fleet is still used.
    FleetInUse, "fleet_in_use", 409, "Fleet is in use";
    /// No such queue.
    QueueUnknown, "queue_unknown", 404, "No such queue";
    /// No such server.
    ServerUnknown, "server_unknown", 404, "No such server";
    /// The server is not in a state for this.
    ServerState, "server_state", 409, "Server is in the wrong state";
    /// The queue makes its last matches and takes no tickets.
    QueueDraining, "queue_draining", 409, "Queue takes no tickets";
    /// No such ticket, or it is long over.
    TicketUnknown, "ticket_unknown", 404, "No such ticket";
    /// The ticket is past the point where this is possible.
    TicketState, "ticket_state", 409, "Ticket is in the wrong state";
    /// The player has a seat there already, and the request does not show that it is theirs.
    SeatHeld, "seat_held", 409, "Seat is held by another ticket";
    /// The idempotency key was used for another request.
    IdempotencyKeyReused, "idempotency_key_reused", 422, "Idempotency key was used for another request";
    /// No such lobby, or it is over; or none fits.
    LobbyUnknown, "lobby_unknown", 404, "No such lobby";
    /// The lobby has fewer free seats than players who want in.
    LobbyFull, "lobby_full", 409, "Lobby is full";
    /// The lobby takes nobody in.
    LobbyClosed, "lobby_closed", 409, "Lobby is closed";
    /// The server has fewer free seats than players who want in.
    ServerFull, "server_full", 409, "Server is full";
    /// The fleet does not say that its servers may be used so.
    FleetDisallows, "fleet_disallows", 409, "Fleet does not allow this";
    /// No such node.
    NodeUnknown, "node_unknown", 404, "No such node";
    /// The agent that would have to answer is not connected.
    NodeUnreachable, "node_unreachable", 503, "Node is not connected";
    /// No such edge.
    EdgeUnknown, "edge_unknown", 404, "No such edge";
    /// The edge that would have to tell is not connected.
    EdgeUnreachable, "edge_unreachable", 503, "Edge is not connected";
    /// No node or no edge serves the region.
    RegionUnserved, "region_unserved", 409, "Nobody serves this region";
    /// No warm server to claim; ask again.
    NoCapacity, "no_capacity", 503, "No server is free";
    /// No such API token.
    ApiTokenUnknown, "api_token_unknown", 404, "No such API token";
    /// No such workflow.
    WorkflowUnknown, "workflow_unknown", 404, "No such workflow";
    /// The workflow lives as long as what it keeps.
    WorkflowKept, "workflow_kept", 409, "Workflow cannot be cancelled";
    /// A bound is reached; `Retry-After` tells when to come again.
    TooMany, "too_many", 429, "Too many";
    /// The store has no room to write.
    StoreFull, "store_full", 507, "Store is full";
    /// The store does not answer.
    StoreUnavailable, "store_unavailable", 503, "Store is not available";
    /// Two changes met too often; try again.
    Contention, "contention", 503, "Too much contention";
    /// No such path.
    NotFound, "not_found", 404, "No such resource";
    /// The path exists, the method does not.
    MethodNotAllowed, "method_not_allowed", 405, "Method not allowed";
    /// A fault of ours.
    Internal, "internal", 500, "Internal error";
}

/// A problem document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[error("{detail}")]
pub struct Problem {
    /// Names the problem: `urn:muster:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this code.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened this time.
    pub detail: String,
    /// Stable code.
    pub code: ProblemCode,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
    /// Seconds after which to try again, if that can help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// A problem of `code`: what happened, and what to do.
    pub fn new(code: ProblemCode, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:muster:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code,
            fix: fix.into(),
            retry_after_s: None,
        }
    }

    /// The same, with the seconds after which to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_the_same_in_json_and_in_text() {
        for code in ProblemCode::ALL {
            let json = serde_json::to_string(code).expect("a unit variant");
            assert_eq!(json, format!("\"{}\"", code.as_str()));
            assert!((400..600).contains(&code.status()));
        }
    }

    #[test]
    fn a_newer_orchestrators_code_is_still_read() {
        let code: ProblemCode = serde_json::from_str("\"invented_tomorrow\"").expect("falls to Unknown");
        assert_eq!(code, ProblemCode::Unknown);
    }
}
