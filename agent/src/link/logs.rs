//! `LogsRequest`: a server's output, past and, if asked for, to come, as frames on the request's stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use muster_protocol::agent::{LogChunk, LogsRequest, ServerFailure, log_chunk};
use muster_protocol::framing;
use muster_protocol::id::ServerId;
use muster_transport::FrameReader;
use quinn::{RecvStream, SendStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Reports;
use crate::runtime::Engine;

/// Largest piece of output in one frame, in bytes.
const MAX_CHUNK_BYTES: usize = 32 * 1024;
/// Most lines of the past that are sent.
const MAX_TAIL_LINES: u32 = 10_000;
/// Time the request has to arrive after its stream was opened.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one request to its end: of the log, of the container, or of the asker's interest.
pub(super) async fn serve(
    mut send: SendStream,
    receive: RecvStream,
    engine: Option<Arc<Engine>>,
    reports: Arc<Reports>,
    slots: Arc<Semaphore>,
) {
    let mut reader = FrameReader::new(receive);
    let Ok(Ok(Some(request))) = timeout(REQUEST_TIMEOUT, reader.recv::<LogsRequest>()).await else { return };
    let result = match find(&request, engine, &reports, &slots) {
        Ok((engine, container_id, _slot)) => {
            // The asker going away is heard of even while the server is silent.
            let stopped = send.stopped();
            tokio::select! {
                _ = stopped => Ok(()),
                result = copy(&engine, &container_id, &request, &mut send) => result,
            }
        }
        Err(refusal) => write(&mut send, log_chunk::Body::Refused(refusal)).await,
    };
    if result.is_ok() {
        // An error says that the asker is gone.
        let _ = send.finish();
    }
}

type Found = (Arc<Engine>, String, tokio::sync::OwnedSemaphorePermit);

fn find(
    request: &LogsRequest,
    engine: Option<Arc<Engine>>,
    reports: &Reports,
    slots: &Arc<Semaphore>,
) -> Result<Found, ServerFailure> {
    let refuse =
        |code: &str, detail: &str| ServerFailure { code: code.to_owned(), detail: detail.to_owned() };
    let engine = engine.ok_or_else(|| {
        refuse("docker_unavailable", "Docker does not answer on the server's node; start the engine there")
    })?;
    let container_id = request
        .server_id
        .parse::<ServerId>()
        .ok()
        .and_then(|server| reports.container_of(&server))
        .ok_or_else(|| {
            refuse("no_logs", "the server has no container on its node, so it has written nothing")
        })?;
    let slot = Arc::clone(slots).try_acquire_owned().map_err(|_| {
        refuse("too_many", "too many logs of this node are being followed; close one and try again")
    })?;
    Ok((engine, container_id, slot))
}

async fn copy(
    engine: &Engine,
    container_id: &str,
    request: &LogsRequest,
    send: &mut SendStream,
) -> Result<(), quinn::WriteError> {
    let tail = request.tail_lines.min(MAX_TAIL_LINES);
    let mut lines = std::pin::pin!(engine.logs(container_id, request.follow, tail));
    while let Some(line) = lines.next().await {
        match line {
            Ok(mut line) => {
                while !line.is_empty() {
                    let chunk = line.split_to(line.len().min(MAX_CHUNK_BYTES));
                    write(send, log_chunk::Body::Output(chunk)).await?;
                }
            }
            Err(error) => {
                let refusal = ServerFailure { code: "no_logs".to_owned(), detail: error.to_string() };
                return write(send, log_chunk::Body::Refused(refusal)).await;
            }
        }
    }
    Ok(())
}

async fn write(send: &mut SendStream, body: log_chunk::Body) -> Result<(), quinn::WriteError> {
    let mut frame = BytesMut::new();
    framing::encode(&LogChunk { body: Some(body) }, &mut frame)
        .expect("a chunk is far below the cap on frames");
    let frame: Bytes = frame.freeze();
    send.write_chunk(frame).await
}
