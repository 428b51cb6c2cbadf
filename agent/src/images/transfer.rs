//! Getting a build's archive from an orchestrator: over the link, from where the last attempt ended,
//! checked against its digest.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::agent::{BlobReply, BlobRequest, BuildRef, ServerFailure, blob_reply::Outcome};
use muster_transport::{Backoff, FrameReader, FrameWriter};
use quinn::{Connection, RecvStream};
use tokio::sync::watch;

use super::part_file::PartFile;
use crate::{failure, metrics};

/// Bytes taken off the stream at a time.
const READ_BYTES: usize = 256 * 1024;
/// A transfer that brings nothing for this long is begun again.
const STALL: Duration = Duration::from_secs(30);
/// First and longest pause between attempts.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// Times a whole transfer may have the wrong digest: once may be a damaged part file.
const MAX_MISMATCHES: u32 = 2;

/// How one attempt ended.
enum Attempt {
    /// The link or the orchestrator failed; what was received stays.
    Broken(String),
    /// Trying again would not help.
    Refused(ServerFailure),
}

/// Transfers into one directory.
pub(super) struct Transfer {
    dir: PathBuf,
    link: watch::Receiver<Option<Connection>>,
}

impl Transfer {
    pub(super) fn new(dir: PathBuf, link: watch::Receiver<Option<Connection>>) -> Self {
        Self { dir, link }
    }

    /// The build's archive, whole and checked. Waits as long as no orchestrator is reached.
    pub(super) async fn fetch(&self, build: &BuildRef) -> Result<PathBuf, ServerFailure> {
        let disk = |error: std::io::Error| self.disk_failure(&error);
        let path = self.part_path(build);
        let dir = self.dir.clone();
        let mut part = blocking(move || {
            std::fs::create_dir_all(&dir)?;
            PartFile::open(&path)
        })
        .await
        .map_err(disk)?;
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        let mut mismatches = 0;
        loop {
            let before = part.length();
            let outcome = self.attempt(build, &mut part).await;
            if part.length() > before {
                backoff.reset();
            }
            match outcome {
                Ok(()) if part.digest() == build.digest => return Ok(part.path().to_owned()),
                Ok(()) => {
                    mismatches += 1;
                    tracing::warn!(
                        digest = build.digest,
                        received = part.digest(),
                        "image archive is damaged"
                    );
                    part.clear().map_err(disk)?;
                    if mismatches == MAX_MISMATCHES {
                        return Err(failure::image_fetch_failed(
                            "the archive the orchestrator sends does not have its digest; push the build again",
                        ));
                    }
                }
                Err(Attempt::Refused(failure)) => return Err(failure),
                Err(Attempt::Broken(why)) => {
                    tracing::warn!(
                        digest = build.digest,
                        received = part.length(),
                        why,
                        "image transfer broke off"
                    );
                }
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }

    /// Drops what was received.
    pub(super) fn discard(&self, build: &BuildRef) {
        // Gone is gone; what cannot be removed now is overwritten by the next transfer.
        let _ = std::fs::remove_file(self.part_path(build));
    }

    async fn attempt(&self, build: &BuildRef, part: &mut PartFile) -> Result<(), Attempt> {
        let connection = self.connection().await;
        let (send, receive) = connection.open_bi().await.map_err(broken)?;
        let request = BlobRequest { digest: build.digest.clone(), offset: part.length() };
        let mut writer = FrameWriter::new(send);
        writer.send(&request).await.map_err(broken)?;
        writer.finish();
        let mut reader = FrameReader::new(receive);
        let reply = tokio::time::timeout(STALL, reader.recv::<BlobReply>()).await.map_err(broken)?;
        let outcome = reply.map_err(broken)?.and_then(|reply| reply.outcome);
        let size = match outcome {
            Some(Outcome::SizeBytes(size)) => size,
            Some(Outcome::Refused(failure)) => return Err(Attempt::Refused(failure)),
            None => return Err(Attempt::Broken("the orchestrator gave no reply".to_owned())),
        };
        if part.length() > size {
            self.on_disk(part.clear())?;
            return Err(Attempt::Broken("more was there than the build has; beginning anew".to_owned()));
        }
        let (stream, first) = reader.into_inner();
        self.receive(stream, first, size, part).await
    }

    async fn receive(
        &self,
        mut stream: RecvStream,
        first: Bytes,
        size: u64,
        part: &mut PartFile,
    ) -> Result<(), Attempt> {
        let mut chunk = first;
        loop {
            if !chunk.is_empty() {
                if part.length() + chunk.len() as u64 > size {
                    self.on_disk(part.clear())?;
                    return Err(Attempt::Broken("more came than was announced".to_owned()));
                }
                metrics::image_received(chunk.len());
                // A chunk is at most 256 KiB: hashing and writing it takes well under a millisecond.
                self.on_disk(part.append(&chunk))?;
            }
            if part.length() == size {
                return Ok(());
            }
            let next =
                tokio::time::timeout(STALL, stream.read_chunk(READ_BYTES, true)).await.map_err(broken)?;
            match next.map_err(broken)? {
                Some(read) => chunk = read.bytes,
                None => return Err(Attempt::Broken("the stream ended early".to_owned())),
            }
        }
    }

    async fn connection(&self) -> Connection {
        let mut link = self.link.clone();
        let connection = link.wait_for(Option::is_some).await.ok().and_then(|connection| connection.clone());
        match connection {
            Some(connection) => connection,
            // The agent is shutting down, and with it this task.
            None => std::future::pending().await,
        }
    }

    fn part_path(&self, build: &BuildRef) -> PathBuf {
        // Only hex digits make it into the name, whatever was sent as digest.
        let name: String = build.digest.chars().filter(char::is_ascii_hexdigit).take(128).collect();
        self.dir.join(format!("{name}.part"))
    }

    fn on_disk(&self, result: std::io::Result<()>) -> Result<(), Attempt> {
        result.map_err(|error| Attempt::Refused(self.disk_failure(&error)))
    }

    fn disk_failure(&self, error: &std::io::Error) -> ServerFailure {
        failure::image_fetch_failed(&format!(
            "the archive cannot be written to {}: {error}; free disk space there, or check its permissions",
            self.dir.display()
        ))
    }
}

fn broken(error: impl std::fmt::Display) -> Attempt {
    Attempt::Broken(error.to_string())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
}
