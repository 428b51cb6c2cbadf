//! Builds: immutable game-server artifacts, and the chunked uploads that make them.

use serde::{Deserialize, Serialize};

use crate::id::UploadId;

/// Largest archive, in bytes.
pub const MAX_BUILD_BYTES: u64 = 32 * 1024 * 1024 * 1024;
/// Largest chunk of an upload, in bytes; also a good size for all but the last.
pub const MAX_CHUNK_BYTES: usize = 8 * 1024 * 1024;

/// Begins an upload (`POST /v1/uploads`). If a build of this digest is there already, the answer is
/// complete at once and nothing needs sending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UploadRequest {
    /// `sha256:…` of the whole archive.
    pub digest: String,
    /// Size of the whole archive.
    pub size_bytes: u64,
}

/// An upload under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Upload {
    /// Its id.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub id: UploadId,
    /// Digest announced.
    pub digest: String,
    /// Size announced.
    pub size_bytes: u64,
    /// Bytes held durably: where the next chunk begins.
    pub received_bytes: u64,
}

/// Registers a build (`POST /v1/builds`): an uploaded archive by digest, or a registry reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BuildRequest {
    /// Digest of a complete upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Reference that agents pull with Docker, such as `registry.example/arena@sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Tags to set, `name:tag` each; a tag moves if it was on another build.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Build {
    /// `sha256:…`: of the archive, or of the reference's text.
    pub digest: String,
    /// Registry reference, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Size of the archive; 0 for a reference.
    pub size_bytes: u64,
    /// Tags on it now.
    pub tags: Vec<String>,
    /// `os/architecture` the image says, if known.
    pub platform: String,
    /// When it was registered.
    pub created_at_ms: u64,
}
