//! Relaying a server's log from its agent, live: one stream per reader, through the replica that has the
//! agent's link.
//!
//! Nothing is kept here. A reader that is slow slows its own stream, and through QUIC's flow control the
//! agent's reading of that log; one that leaves ends the agent's stream.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use muster_protocol::agent::{LogChunk, LogsRequest, log_chunk};
use muster_protocol::id::{NodeId, ServerId};
use muster_protocol::peer::peer_request::Body;
use muster_transport::{FrameIoError, FrameReader, FrameWriter};

use crate::app::App;
use crate::metrics;
use crate::state::nodes;

/// Most lines of the past that are asked for.
pub const MAX_TAIL_LINES: u32 = 10_000;
/// How long opening the agent's stream may take; over it the agent serves as many logs as it can.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refusal is waited for before the log counts as flowing. A quiet log that is followed
/// sends nothing, so silence is not an error.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The server's node has no link.
    #[error("the node {0} is not connected; see `muster node ls`, and read the log there once it is")]
    NotConnected(NodeId),
    /// The agent took no further stream.
    #[error("the node {0} serves as many logs as it can; close another reader")]
    Busy(NodeId),
    /// The agent has no such log.
    #[error("{detail}")]
    Refused {
        /// Stable code.
        code: String,
        /// What happened and what mends it.
        detail: String,
    },
    /// The link failed meanwhile.
    #[error("the node's link failed: {0}; read the log again once it is back")]
    Link(String),
}

impl From<FrameIoError> for LogsError {
    fn from(error: FrameIoError) -> Self {
        Self::Link(error.to_string())
    }
}

impl From<quinn::ConnectionError> for LogsError {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Link(error.to_string())
    }
}

/// The log of `server` on `node`: its last `tail_lines` (at most [`MAX_TAIL_LINES`]), and with `follow`
/// what comes until the server ends or the stream is dropped.
///
/// # Errors
/// [`LogsError`] at once if the agent is not there or refuses; later ones end the stream.
pub async fn read(
    app: &App,
    node: NodeId,
    server: ServerId,
    follow: bool,
    tail_lines: u32,
) -> Result<impl Stream<Item = Result<Bytes, LogsError>> + Send + use<>, LogsError> {
    let (mut writer, mut reader) = open(app, node).await?;
    let tail_lines = tail_lines.min(MAX_TAIL_LINES);
    writer.send(&LogsRequest { server_id: server.to_string(), follow, tail_lines }).await?;
    writer.finish();
    let first = match tokio::time::timeout(REFUSAL_WAIT, next(&mut reader)).await {
        Ok(first) => match first? {
            None => return Ok(stream::try_unfold(State::Ended, step)),
            some => some,
        },
        Err(_) => None,
    };
    Ok(stream::try_unfold(State::Reading { reader, first }, step))
}

/// A stream to the agent of `node`: on its link here, or through the replica that has it.
async fn open(app: &App, node: NodeId) -> Result<(FrameWriter, FrameReader), LogsError> {
    if let Some(connection) = app.links.agent_connection(node) {
        let opened = tokio::time::timeout(OPEN_TIMEOUT, connection.open_bi()).await;
        let (send, receive) = opened.map_err(|_| LogsError::Busy(node))??;
        return Ok((FrameWriter::new(send), FrameReader::new(receive)));
    }
    let record = app.db.read("node", async |mut tx| nodes::peek(&mut tx, node).await).await;
    let record = record.map_err(|error| LogsError::Link(error.to_string()))?;
    let replica = record.filter(|record| record.connected).and_then(|record| record.replica());
    let replica = replica.filter(|replica| *replica != app.replica).ok_or(LogsError::NotConnected(node))?;
    let asked = app.peers.ask(&app.db, replica, Body::NodeId(node.to_string())).await;
    asked.map_err(|error| LogsError::Link(error.to_string()))
}

enum State {
    Reading { reader: FrameReader, first: Option<Bytes> },
    Ended,
}

async fn step(state: State) -> Result<Option<(Bytes, State)>, LogsError> {
    let State::Reading { mut reader, first } = state else { return Ok(None) };
    let output = match first {
        Some(output) => Some(output),
        None => next(&mut reader).await?,
    };
    Ok(output.map(|output| (output, State::Reading { reader, first: None })))
}

async fn next(reader: &mut FrameReader) -> Result<Option<Bytes>, LogsError> {
    let Some(chunk) = reader.recv::<LogChunk>().await? else { return Ok(None) };
    match chunk.body {
        Some(log_chunk::Body::Output(output)) => {
            metrics::log_relayed(output.len());
            Ok(Some(output))
        }
        Some(log_chunk::Body::Refused(refused)) => {
            Err(LogsError::Refused { code: refused.code, detail: refused.detail })
        }
        // A kind of chunk from a newer agent: nothing to show.
        None => Ok(Some(Bytes::new())),
    }
}
