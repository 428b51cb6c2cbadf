//! Builds, their tags, and uploads.

use muster_engine::nudge;
use muster_protocol::id::UploadId;
use muster_store::Transaction;

use super::{StateError, kv, workflows};
use crate::keyspace::{self, KeyRange};
use crate::records::{BuildRecord, TagRecord, UploadRecord};

/// Most tags of one build.
pub const MAX_TAGS: usize = 64;

/// The build of this digest.
pub async fn load(
    tx: &mut Transaction,
    namespace: &str,
    digest: &str,
) -> Result<Option<BuildRecord>, StateError> {
    kv::load(tx, &keyspace::build(namespace, digest)).await
}

/// The build that `name` stands for: a digest, or a tag.
pub async fn resolve(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
) -> Result<Option<BuildRecord>, StateError> {
    if let Some(build) = load(tx, namespace, name).await? {
        return Ok(Some(build));
    }
    match kv::load::<TagRecord>(tx, &keyspace::tag(namespace, name)).await? {
        Some(tag) => load(tx, namespace, &tag.digest).await,
        None => Ok(None),
    }
}

/// Writes a build as it is; its tags are set by [`set_tag`].
pub fn save(tx: &mut Transaction, record: &BuildRecord) {
    kv::save(tx, &keyspace::build(&record.namespace, &record.digest), record);
}

/// Points `tag` at `build`, away from the build it was on, and writes `build`.
pub async fn set_tag(tx: &mut Transaction, build: &mut BuildRecord, tag: &str) -> Result<(), StateError> {
    let key = keyspace::tag(&build.namespace, tag);
    if let Some(before) = kv::load::<TagRecord>(tx, &key).await?
        && before.digest != build.digest
        && let Some(mut other) = load(tx, &build.namespace, &before.digest).await?
    {
        other.tags.retain(|name| name != tag);
        save(tx, &other);
    }
    if !build.tags.iter().any(|name| name == tag) {
        build.tags.push(tag.to_owned());
    }
    kv::save(tx, &key, &TagRecord { digest: build.digest.clone() });
    save(tx, build);
    Ok(())
}

/// At most `limit` builds of a namespace by digest, those after `after`.
pub async fn list(
    tx: &mut Transaction,
    namespace: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<BuildRecord>, StateError> {
    let range: KeyRange = keyspace::builds(namespace);
    let range = match after {
        Some(digest) => range.after(&keyspace::build(namespace, digest)),
        None => range,
    };
    let rows = kv::scan(tx, &range, limit).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}

/// The upload.
pub async fn load_upload(tx: &mut Transaction, upload: UploadId) -> Result<Option<UploadRecord>, StateError> {
    kv::load(tx, &keyspace::upload(upload)).await
}

/// How long an upload may take, in milliseconds.
const UPLOAD_TTL_MS: u64 = 7 * 86_400_000;

/// When an upload is forgotten, Unix milliseconds.
pub fn upload_expires_ms(record: &UploadRecord) -> u64 {
    record.created_at_ms.saturating_add(UPLOAD_TTL_MS)
}

/// Writes an upload.
pub fn save_upload(tx: &mut Transaction, record: &UploadRecord) {
    kv::save(tx, &keyspace::upload(record.typed_id()), record);
    nudge(tx, &workflows::upload(&record.namespace, record.typed_id()));
}

/// Removes an upload. What was received of it goes with the next look of whoever has it.
pub fn remove_upload(tx: &mut Transaction, record: &UploadRecord) {
    tx.clear(&keyspace::upload(record.typed_id()));
    nudge(tx, &workflows::upload(&record.namespace, record.typed_id()));
}

/// At most `limit` uploads, oldest first.
pub async fn list_uploads(tx: &mut Transaction, limit: usize) -> Result<Vec<UploadRecord>, StateError> {
    let rows = kv::scan(tx, &keyspace::uploads(), limit).await?;
    Ok(rows.into_iter().map(|(_, record)| record).collect())
}
