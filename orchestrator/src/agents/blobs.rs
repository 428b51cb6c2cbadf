//! Serving builds to agents: one stream per request, from the byte an interrupted transfer got to.
//!
//! The agent checks the digest of what it has put together; this end only says how large the whole is.

use std::time::Duration;

use muster_protocol::agent::{BlobReply, BlobRequest, ServerFailure, blob_reply::Outcome};
use muster_transport::{FrameReader, FrameWriter};
use tokio::io::AsyncReadExt;

use crate::app::App;
use crate::blobs::{BlobError, Blobs, Digest, OpenBlob};
use crate::metrics;
use crate::replicas::{self, Fetched};

/// How long the request may take to come after its stream was opened.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an agent may take nothing of what it asked for.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes read from disk at a time.
const READ_BYTES: usize = 256 * 1024;

/// Answers the one request of an agent's stream. Failures end the stream; the agent resumes with a new one. A
/// build that is not here is first brought from the replica that has it.
pub(super) async fn serve(app: &App, send: quinn::SendStream, receive: quinn::RecvStream) {
    let (writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    let Some(request) = receive_request(&mut reader).await else { return };
    if let Ok(digest) = request.digest.parse::<Digest>()
        && matches!(app.blobs.size(&digest).await, Ok(None))
    {
        match replicas::fetch(app, &digest).await {
            Ok(Fetched::Here) => {}
            Ok(Fetched::Nowhere) => tracing::warn!(%digest, "an agent asks for a build that nobody holds"),
            // No answer: the agent asks again.
            Ok(Fetched::Unsure) => return,
            Err(error) => {
                tracing::warn!(%digest, %error, "cannot look for a build at the other orchestrators");
                return;
            }
        }
    }
    answer(&app.blobs, writer, &request).await;
}

/// Answers the one request of another replica's stream, with what is here.
pub(crate) async fn serve_build(blobs: &Blobs, writer: FrameWriter, mut reader: FrameReader) {
    if let Some(request) = receive_request(&mut reader).await {
        answer(blobs, writer, &request).await;
    }
}

async fn receive_request(reader: &mut FrameReader) -> Option<BlobRequest> {
    match tokio::time::timeout(REQUEST_TIMEOUT, reader.recv::<BlobRequest>()).await {
        Ok(Ok(Some(request))) => Some(request),
        Ok(Ok(None)) | Err(_) => None,
        Ok(Err(error)) => {
            tracing::debug!(%error, "blob request could not be read");
            None
        }
    }
}

async fn answer(blobs: &Blobs, mut writer: FrameWriter, request: &BlobRequest) {
    let (outcome, blob) = match open(blobs, request).await {
        Ok(blob) => (Outcome::SizeBytes(blob.size_bytes), Some(blob)),
        Err(refused) => {
            tracing::debug!(digest = request.digest, code = refused.code, "blob request refused");
            (Outcome::Refused(refused), None)
        }
    };
    if writer.send(&BlobReply { outcome: Some(outcome) }).await.is_err() {
        return;
    }
    match blob {
        None => writer.finish(),
        Some(blob) => copy(blob, writer.into_inner()).await,
    }
}

async fn open(blobs: &Blobs, request: &BlobRequest) -> Result<OpenBlob, ServerFailure> {
    let refused = |code: &str, detail: String| ServerFailure { code: code.to_owned(), detail };
    let digest: Digest =
        request.digest.parse().map_err(|error| refused("digest_invalid", format!("{error}")))?;
    let blob = blobs.read_from(&digest, request.offset).await.map_err(|error: BlobError| {
        tracing::error!(%digest, %error, "build cannot be read");
        refused("build_unreadable", "the orchestrator cannot read the build; look at its log".to_owned())
    })?;
    let blob = blob.ok_or_else(|| {
        refused("build_unknown", "no orchestrator holds this build; push it again".to_owned())
    })?;
    if request.offset > blob.size_bytes {
        let detail = format!("the build has {} bytes; start again from 0", blob.size_bytes);
        return Err(refused("offset_invalid", detail));
    }
    Ok(blob)
}

async fn copy(mut blob: OpenBlob, mut send: quinn::SendStream) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match blob.file.read(&mut buffer).await {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "build cannot be read to its end");
                // Reset, so that the agent does not take the part for the whole.
                let _ = send.reset(0u32.into());
                return;
            }
        };
        match tokio::time::timeout(STALL_TIMEOUT, send.write_all(&buffer[..read])).await {
            Ok(Ok(())) => metrics::blob_sent(read),
            Ok(Err(_)) => return,
            Err(_) => {
                let _ = send.reset(0u32.into());
                return;
            }
        }
    }
    // An error says that the agent has gone.
    let _ = send.finish();
}
