//! API tokens, join tokens and namespaces.

use serde::{Deserialize, Serialize};

use crate::id::{ApiTokenId, JoinTokenId};

/// What an API token may do; each role may do all that those below it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Ask for matches and read regions: safe to ship in a game client.
    Client,
    /// Builds, fleets, queues, servers of its namespace.
    Deploy,
    /// Everything.
    Admin,
}

impl Role {
    /// The role's text, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Deploy => "deploy",
            Self::Admin => "admin",
        }
    }
}

/// Makes an API token (`POST /v1/tokens`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApiTokenRequest {
    /// Role.
    pub role: Role,
    /// Namespace it is bound to; needed for every role but `admin`, where none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What it is for, in words.
    #[serde(default)]
    pub name: String,
    /// Seconds until it expires; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_s: Option<u64>,
}

/// An API token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ApiToken {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: ApiTokenId,
    /// Role.
    pub role: Role,
    /// Namespace it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What it is for.
    pub name: String,
    /// When it was made.
    pub created_at_ms: u64,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// The token itself; only in the answer to its making, never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JoinRole {
    /// A node's agent.
    Agent,
    /// An edge proxy.
    Edge,
}

impl JoinRole {
    /// The role's text, as in JSON and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Edge => "edge",
        }
    }
}

/// Makes a one-time join token (`POST /v1/join-tokens`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// What will join.
    pub role: JoinRole,
    /// Region it will be in.
    pub region: String,
    /// Seconds in which it must be used.
    #[serde(default = "default_join_ttl")]
    pub ttl_s: u64,
}

fn default_join_ttl() -> u64 {
    3_600
}

/// A one-time join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct JoinToken {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: JoinTokenId,
    /// What may join with it.
    pub role: JoinRole,
    /// Region it may join.
    pub region: String,
    /// When it expires.
    pub expires_at_ms: u64,
    /// The token: secret, and the fingerprint of the CA to trust.
    pub token: String,
}

/// Makes a namespace (`PUT /v1/namespaces/{game}/{environment}` has no body; this is its answer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Namespace {
    /// `game/environment`.
    pub name: String,
    /// When it was made.
    pub created_at_ms: u64,
}
