//! Restoring everything: into an empty store, while no orchestrator runs on it.
//!
//! A row of its own is there from before the first write until after the last, and no orchestrator starts while
//! it is. A restore that was cut off is begun again by the next, from nothing.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use muster_protocol::id::UploadId;
use muster_store::limits::KEYSPACE_END;
use muster_store::{Bytes, Database, StoreError};

use super::format::{FormatError, Reader, verify};
use super::take::is_own;
use super::{Archive, Body, End, Header, Row};
use crate::blobs::{BlobError, Blobs, Digest};
use crate::keyspace;
use crate::state::StateError;

/// Bytes read from the file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// Why a restore was refused or broke off.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be opened.
    #[error("{path}: {source}; give the file that `muster backup take` wrote")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no backup, or damaged. Nothing was written.
    #[error("{0}; nothing was written")]
    Format(#[from] FormatError),
    /// It holds the definitions of one namespace.
    #[error(
        "the backup is of the namespace {0} alone; restore it into a running installation with \
         `muster backup restore FILE --into GAME/ENVIRONMENT`"
    )]
    OfNamespace(String),
    /// There is something already.
    #[error(
        "the store is not empty, and a restore would mix two installations; give an empty --data-dir, or another \
         prefix on the cluster"
    )]
    NotEmpty,
    /// The store failed.
    #[error("the store failed: {0}; run the restore again")]
    Store(#[from] StoreError),
    /// The store failed.
    #[error("the store failed: {0}; run the restore again")]
    State(#[from] StateError),
    /// An archive could not be written.
    #[error("{0}; run the restore again")]
    Blob(#[from] BlobError),
}

/// What was restored.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// Of which backup.
    pub header: Header,
    /// How much, and which archives it was without.
    pub end: End,
}

/// Restores the backup at `file` into `db`, which must be empty, and its archives into `data_dir`.
///
/// # Errors
/// [`RestoreError`]. A restore that broke off may be run again.
pub async fn restore(file: &Path, db: &Database, data_dir: &Path) -> Result<Restored, RestoreError> {
    let (header, end) = verify(open(file)?)?;
    if !header.namespace.is_empty() {
        return Err(RestoreError::OfNamespace(header.namespace));
    }
    begin(db).await?;
    let blobs = Blobs::open(data_dir)?;
    let (mut reader, _) = Reader::open(open(file)?)?;
    let mut archive: Option<Receiving> = None;
    while let Some(body) = reader.next_body()? {
        match body {
            Body::Rows(rows) => write(db, &rows.rows).await?,
            Body::Archive(begun) => archive = Receiving::begin(&blobs, &begun).await?,
            Body::Chunk(chunk) => {
                if let Some(receiving) = &mut archive {
                    receiving.take(&blobs, chunk.into()).await?;
                }
            }
            // Definitions belong to namespaces' backups; newer ones may have more.
            Body::Header(_) | Body::Definition(_) | Body::End(_) => {}
        }
    }
    db.run("restored", async |mut tx| {
        tx.clear(&keyspace::restoring());
        Ok::<_, StoreError>(())
    })
    .await?;
    Ok(Restored { header, end })
}

fn open(path: &Path) -> Result<BufReader<File>, RestoreError> {
    let file = File::open(path).map_err(|source| RestoreError::Open { path: path.to_owned(), source })?;
    Ok(BufReader::with_capacity(BUFFER_BYTES, file))
}

/// Marks the store as being restored, if it is empty or holds a part of an earlier attempt, which goes.
async fn begin(db: &Database) -> Result<(), RestoreError> {
    db.run("begin_restore", async |mut tx| {
        let is_again = tx.get(&keyspace::restoring()).await?.is_some();
        let is_empty = tx.get_range(&[], KEYSPACE_END, 1, false).await?.is_empty();
        if !is_empty && !is_again {
            return Err(RestoreError::NotEmpty);
        }
        tx.clear_range(&[], KEYSPACE_END);
        tx.set(&keyspace::restoring(), b"");
        Ok(())
    })
    .await
}

async fn write(db: &Database, rows: &[Row]) -> Result<(), StoreError> {
    db.run("restore", async |mut tx| {
        for row in rows.iter().filter(|row| !is_own(&row.key)) {
            tx.set(&row.key, &row.value);
        }
        Ok(())
    })
    .await
}

/// An archive on its way into its place.
struct Receiving {
    id: UploadId,
    digest: Digest,
    size_bytes: u64,
    received: u64,
}

impl Receiving {
    /// `None` if it is in its place already.
    async fn begin(blobs: &Blobs, archive: &Archive) -> Result<Option<Self>, RestoreError> {
        let damaged = FormatError::Damaged { at: 0, what: "an archive's digest is none" };
        let digest: Digest = archive.digest.parse().map_err(|_| damaged)?;
        if blobs.size(&digest).await? == Some(archive.size_bytes) {
            return Ok(None);
        }
        let receiving = Self { id: UploadId::new(), digest, size_bytes: archive.size_bytes, received: 0 };
        if receiving.size_bytes == 0 {
            blobs.upload_append(receiving.id, 0, 0, Bytes::new()).await?;
            receiving.finish(blobs).await?;
            return Ok(None);
        }
        Ok(Some(receiving))
    }

    async fn take(&mut self, blobs: &Blobs, chunk: Bytes) -> Result<(), RestoreError> {
        self.received = blobs.upload_append(self.id, self.size_bytes, self.received, chunk).await?;
        if self.received == self.size_bytes {
            self.finish(blobs).await?;
        }
        Ok(())
    }

    async fn finish(&self, blobs: &Blobs) -> Result<(), RestoreError> {
        Ok(blobs.upload_finish(self.id, self.size_bytes, self.digest).await?)
    }
}
