//! Builds and uploads, as the API tells them.

use muster_protocol::api;

use crate::records::{BuildRecord, UploadRecord};

/// A build.
pub(crate) fn build(record: BuildRecord) -> api::Build {
    api::Build {
        digest: record.digest,
        reference: Some(record.reference).filter(|reference| !reference.is_empty()),
        size_bytes: record.size_bytes,
        tags: record.tags,
        platform: record.platform,
        created_at_ms: record.created_at_ms,
    }
}

/// An upload that holds `received_bytes` durably.
pub(crate) fn upload(record: &UploadRecord, received_bytes: u64) -> api::Upload {
    api::Upload {
        id: record.typed_id(),
        digest: record.digest.clone(),
        size_bytes: record.size_bytes,
        received_bytes,
    }
}
