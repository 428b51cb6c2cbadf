//! Taking a backup of everything while the orchestrator goes on: all rows of one version of the store, then the
//! archives that the builds among them need.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use muster_store::{StoreError, successor};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::format::{CHUNK_BYTES, MAGIC, encode};
use super::{Archive, Body, End, Header, Row, Rows};
use crate::app::App;
use crate::blobs::{BlobError, Digest};
use crate::keyspace::Prefix;
use crate::records::BuildRecord;
use crate::replicas;
use crate::state::{StateError, kv};
use crate::{clock, keyspace};

/// Rows in one frame.
const PAGE: usize = 500;
/// Bytes of rows from which on a frame is closed; a value has at most 100 kB.
const FULL_BYTES: usize = 1 << 20;

/// Why a backup broke off. Whoever takes it must throw away what they have.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeError {
    #[error("the store cannot be read: {0}")]
    Store(#[from] StoreError),
    #[error("the store cannot be read: {0}")]
    State(#[from] StateError),
    #[error(
        "the cluster keeps a version for 5 s, and this store has too many rows to be read in that time; use \
         FoundationDB's fdbbackup"
    )]
    TooLarge,
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("whoever asked for it has gone")]
    Gone,
}

/// Sends the pieces of a backup of everything into `out`, until it is whole.
pub(crate) async fn take(app: Arc<App>, out: Out) {
    if let Err(error) = send_all(&app, &out).await {
        tracing::warn!(%error, "a backup broke off");
        // An error says that the asker has gone.
        let _ = out.send(Err(error)).await;
    }
}

type Out = mpsc::Sender<Result<Bytes, TakeError>>;

async fn send(out: &Out, bytes: Vec<u8>) -> Result<(), TakeError> {
    out.send(Ok(bytes.into())).await.map_err(|_| TakeError::Gone)
}

async fn send_all(app: &App, out: &Out) -> Result<(), TakeError> {
    let mut frozen = app.db.freeze().await?;
    let header = Header {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        taken_at_ms: clock::now_ms(),
        namespace: String::new(),
    };
    send(out, [MAGIC, &encode(Body::Header(header))].concat()).await?;
    let mut end = End::default();
    let mut digests = BTreeSet::new();
    let mut from = Vec::new();
    loop {
        let page = frozen.page(&from, PAGE).await.map_err(|error| match error {
            StoreError::TransactionTooOld => TakeError::TooLarge,
            other => TakeError::Store(other),
        })?;
        let Some((last, _)) = page.last() else { break };
        from = successor(last);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        for (key, value) in page {
            digests.extend(archive_of(&key, &value));
            end.rows += 1;
            bytes += key.len() + value.len();
            rows.push(Row { key: key.to_vec(), value: value.to_vec() });
            if bytes >= FULL_BYTES {
                bytes = 0;
                send(out, encode(Body::Rows(Rows { rows: std::mem::take(&mut rows) }))).await?;
            }
        }
        if !rows.is_empty() {
            send(out, encode(Body::Rows(Rows { rows }))).await?;
        }
    }
    drop(frozen);
    for digest in digests {
        if send_archive(app, &digest, out).await? {
            end.archives += 1;
        } else {
            tracing::warn!(%digest, "a build's archive is nowhere; the backup is without it");
            end.missing_archives.push(digest.to_string());
        }
    }
    send(out, encode(Body::End(end))).await
}

/// The archive that a row of a build needs.
fn archive_of(key: &Bytes, value: &Bytes) -> Option<Digest> {
    if Prefix::of(key) != Some(Prefix::Build) {
        return None;
    }
    let record = kv::decode::<BuildRecord>(key, value).ok()?;
    record.digest.parse().ok().filter(|_| record.reference.is_empty())
}

/// Sends an archive, brought here first if another replica has it. `false` if nobody has.
async fn send_archive(app: &App, digest: &Digest, out: &Out) -> Result<bool, TakeError> {
    if app.blobs.size(digest).await?.is_none() {
        replicas::fetch(app, digest).await?;
    }
    let Some(mut blob) = app.blobs.read_from(digest, 0).await? else { return Ok(false) };
    send(out, encode(Body::Archive(Archive { digest: digest.to_string(), size_bytes: blob.size_bytes })))
        .await?;
    let mut left = blob.size_bytes;
    let mut buffer = vec![0; CHUNK_BYTES];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let path = app.blobs.path(digest);
        let read = blob.file.read(&mut buffer[..want]).await;
        let read = read.map_err(|source| BlobError::Io { path: path.clone(), source })?;
        if read == 0 {
            let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
            return Err(BlobError::Io { path, source }.into());
        }
        left -= read as u64;
        send(out, encode(Body::Chunk(buffer[..read].to_vec()))).await?;
    }
    Ok(true)
}

/// Whether a row belongs to the store it is in and is not brought back: the one that says a restore is under way,
/// and the news of tickets, whose order is that of the commits there.
pub(super) fn is_own(key: &[u8]) -> bool {
    key == keyspace::restoring() || matches!(Prefix::of(key), Some(Prefix::TicketNews | Prefix::MatchNews))
}
