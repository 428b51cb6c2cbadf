//! Builds, and the chunked uploads that make them.

use std::io::SeekFrom;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::api::{Build, BuildRequest, MAX_CHUNK_BYTES, Page, Upload, UploadRequest};
use muster_protocol::id::UploadId;
use muster_protocol::problem::ProblemCode;
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::{ByteStream, Client, ClientError};

/// How long one chunk may take: 8 MiB on a slow uplink, and its fsync.
const CHUNK_TIMEOUT: Duration = Duration::from_mins(3);
/// How long an archive or a backup may take.
pub(crate) const TRANSFER_TIMEOUT: Duration = Duration::from_hours(24);
/// Failures in a row after which an upload is given up; it can be resumed by asking again.
const MAX_FAILURES: u32 = 6;
/// Pause after the first failure; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Bytes hashed at a time.
const HASH_BUFFER_BYTES: usize = 1024 * 1024;

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadStep {
    /// Bytes that the orchestrator holds durably.
    pub received_bytes: u64,
    /// Bytes in all.
    pub size_bytes: u64,
}

impl Client {
    /// The archive of a build, by tag or digest, as it was pushed.
    pub async fn archive(&self, build: &str) -> Result<ByteStream, ClientError> {
        self.call(Method::GET, &["builds", build, "archive"]).timeout(TRANSFER_TIMEOUT).stream().await
    }

    /// Begins an upload, or finds the one of this digest that is under way or complete.
    pub async fn create_upload(&self, request: &UploadRequest) -> Result<Upload, ClientError> {
        self.call(Method::POST, &["uploads"]).json(request).read().await
    }

    /// Sends one chunk, at most `MAX_CHUNK_BYTES`, that begins at byte `offset`.
    pub async fn put_chunk(&self, id: &UploadId, offset: u64, chunk: Bytes) -> Result<Upload, ClientError> {
        self.call(Method::PUT, &["uploads", &id.to_string()])
            .query(&[("offset", offset)])
            .timeout(CHUNK_TIMEOUT)
            .bytes(chunk)
            .read()
            .await
    }

    /// Where an upload stands.
    pub async fn upload(&self, id: &UploadId) -> Result<Upload, ClientError> {
        self.call(Method::GET, &["uploads", &id.to_string()]).read().await
    }

    /// Sends the archive at `path`, whose digest is `digest`, from where the orchestrator has it.
    ///
    /// Chunks that fail on the way are sent again after a pause, from where the orchestrator says it
    /// stands. `progress` is called after each step.
    pub async fn upload_file(
        &self,
        path: &Path,
        digest: &str,
        mut progress: impl FnMut(UploadStep),
    ) -> Result<Upload, ClientError> {
        let unreadable = |source| ClientError::File { path: path.display().to_string(), source };
        let mut file = File::open(path).await.map_err(unreadable)?;
        let size_bytes = file.metadata().await.map_err(unreadable)?.len();
        let request = UploadRequest { digest: digest.to_owned(), size_bytes };
        let mut upload = self.create_upload(&request).await?;
        let mut failures = 0;
        loop {
            progress(UploadStep { received_bytes: upload.received_bytes, size_bytes });
            if upload.received_bytes >= size_bytes {
                return Ok(upload);
            }
            let offset = upload.received_bytes;
            let chunk = read_chunk(&mut file, offset, size_bytes).await.map_err(unreadable)?;
            match self.put_chunk(&upload.id, offset, chunk).await {
                Ok(next) => {
                    failures = 0;
                    upload = next;
                }
                Err(error) => {
                    failures += 1;
                    let misplaced = error.code() == Some(ProblemCode::UploadOffset);
                    if failures >= MAX_FAILURES || !(misplaced || error.is_transient()) {
                        return Err(error);
                    }
                    tracing::debug!(%error, offset, failures, "chunk failed; asking where the upload stands");
                    if !misplaced {
                        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(failures - 1)).await;
                    }
                    // Also after a crash of the orchestrator: what it says now is what it holds.
                    upload = self.upload(&upload.id).await.unwrap_or(upload);
                }
            }
        }
    }

    /// Registers a build.
    pub async fn create_build(&self, request: &BuildRequest) -> Result<Build, ClientError> {
        // Checking a large archive takes the orchestrator a while.
        self.call(Method::POST, &["builds"]).timeout(CHUNK_TIMEOUT).json(request).read().await
    }

    /// Builds of the namespace, from after `after` on.
    pub async fn builds(&self, after: Option<&str>) -> Result<Page<Build>, ClientError> {
        self.call(Method::GET, &["builds"]).query(&after.map(|after| [("after", after)])).read().await
    }
}

async fn read_chunk(file: &mut File, offset: u64, size_bytes: u64) -> std::io::Result<Bytes> {
    let length = (size_bytes - offset).min(MAX_CHUNK_BYTES as u64) as usize;
    let mut chunk = vec![0; length];
    file.seek(SeekFrom::Start(offset)).await?;
    file.read_exact(&mut chunk).await?;
    Ok(Bytes::from(chunk))
}

/// The digest (`sha256:…`) of the file at `path`.
pub async fn file_digest(path: &Path) -> Result<String, ClientError> {
    let unreadable = |source| ClientError::File { path: path.display().to_string(), source };
    let owned = path.to_owned();
    tokio::task::spawn_blocking(move || digest_blocking(&owned))
        .await
        .map_err(|error| unreadable(std::io::Error::other(error)))?
        .map_err(unreadable)
}

fn digest_blocking(path: &Path) -> std::io::Result<String> {
    use std::fmt::Write as _;
    use std::io::Read as _;
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_bytes() {
        let path = std::env::temp_dir().join(format!("muster-client-digest-{}", std::process::id()));
        std::fs::write(&path, b"abc").expect("temporary directory");
        let digest = digest_blocking(&path);
        std::fs::remove_file(&path).expect("just written");
        // The example of FIPS 180-2.
        assert_eq!(
            digest.expect("readable"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
