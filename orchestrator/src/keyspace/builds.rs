//! Keys of builds, tags and uploads.

use foundationdb_tuple::pack;
use muster_protocol::id::UploadId;

use super::{KeyRange, Prefix, id};

/// [`crate::records::UploadRecord`].
pub fn upload(upload: UploadId) -> Vec<u8> {
    pack(&(Prefix::Upload as u16, id(upload)))
}

/// Every upload.
pub fn uploads() -> KeyRange {
    KeyRange::under(&(Prefix::Upload as u16,))
}

/// [`crate::records::BuildRecord`] by digest.
pub fn build(namespace: &str, digest: &str) -> Vec<u8> {
    pack(&(Prefix::Build as u16, namespace, digest))
}

/// Every build of a namespace.
pub fn builds(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Build as u16, namespace))
}

/// [`crate::records::TagRecord`] by tag, `name:tag`.
pub fn tag(namespace: &str, tag: &str) -> Vec<u8> {
    pack(&(Prefix::Tag as u16, namespace, tag))
}

/// Every tag of a namespace.
pub fn tags(namespace: &str) -> KeyRange {
    KeyRange::under(&(Prefix::Tag as u16, namespace))
}
