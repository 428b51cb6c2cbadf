//! What a container has written.

use bollard::query_parameters::LogsOptionsBuilder;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};

use super::{Engine, EngineError};

/// Longest log tail in a report, in bytes.
const MAX_TAIL_BYTES: usize = 8 * 1024;
/// Lines asked of Docker for it.
const TAIL_LINES: &str = "100";

impl Engine {
    /// The last lines of the container's log, at most [`MAX_TAIL_BYTES`]; empty if they cannot be had.
    pub(super) async fn log_tail(&self, container_id: &str) -> String {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(TAIL_LINES).build();
        let mut tail = Vec::new();
        let mut lines = std::pin::pin!(self.docker.logs(container_id, Some(options)));
        while let Some(Ok(line)) = lines.next().await {
            tail.extend_from_slice(&line.into_bytes());
            if tail.len() > 2 * MAX_TAIL_BYTES {
                tail.drain(..tail.len() - MAX_TAIL_BYTES);
            }
        }
        let from = tail.len().saturating_sub(MAX_TAIL_BYTES);
        String::from_utf8_lossy(&tail[from..])
            .chars()
            .collect::<String>()
            .trim_start_matches('\u{fffd}')
            .to_owned()
    }

    /// The container's output: at most `tail` lines of the past, then, with `follow`, what comes.
    pub(crate) fn logs(
        &self,
        container_id: &str,
        follow: bool,
        tail: u32,
    ) -> impl Stream<Item = Result<Bytes, EngineError>> + use<> {
        let tail = tail.to_string();
        let options =
            LogsOptionsBuilder::default().stdout(true).stderr(true).follow(follow).tail(&tail).build();
        self.docker
            .logs(container_id, Some(options))
            .map_ok(bollard::container::LogOutput::into_bytes)
            .map_err(EngineError::from)
    }
}
