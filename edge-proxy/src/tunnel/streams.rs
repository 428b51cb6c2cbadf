//! The way of TCP and WebSocket connections: one tunnel stream each, to the agent of their server.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::id::NodeId;
use muster_protocol::stream::{StreamOpen, StreamOpened, stream_opened::Outcome};
use muster_transport::{FrameIoError, FrameReader, FrameWriter};
use tokio::sync::watch;
use tracing::info;

use super::agents::Agents;
use super::dialer::{ByEndpoint, Dialer};
use crate::metrics::{Metrics, Standing};

/// How long a player's connection waits for its tunnel stream, a redial of the agent included.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

type Current = watch::Receiver<Option<quinn::Connection>>;

/// Tunnel streams to every agent that routes lead to.
pub(crate) struct StreamTunnels {
    endpoint: quinn::Endpoint,
    config: quinn::ClientConfig,
    // Touched when routes change and when a connection begins, never per byte.
    agents: Mutex<Agents<Current>>,
    metrics: Metrics,
}

/// A stream that the agent has connected to the server.
pub(crate) struct TunnelStream {
    /// To the server.
    pub(crate) send: quinn::SendStream,
    /// From the server.
    pub(crate) receive: quinn::RecvStream,
    /// What came from the server along with the agent's answer.
    pub(crate) first: Bytes,
}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The agent is not reached.
    #[error("the agent of {0} is not reachable now")]
    Unreachable(NodeId),
    /// The agent cannot connect to the server.
    #[error("the agent refused: {detail} ({code})")]
    Refused { code: String, detail: String },
    /// The tunnel broke while asking.
    #[error("the tunnel broke: {0}")]
    Broken(#[from] FrameIoError),
    /// The tunnel broke before asking.
    #[error("the tunnel broke: {0}")]
    Connection(#[from] quinn::ConnectionError),
}

impl StreamTunnels {
    /// Tunnels from `endpoint`, to no agent yet.
    pub(crate) fn new(endpoint: quinn::Endpoint, config: quinn::ClientConfig, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self { endpoint, config, agents: Mutex::new(Agents::new()), metrics })
    }

    /// Keeps tunnels to exactly these agents.
    pub(crate) fn follow(&self, wanted: &BTreeMap<NodeId, Vec<String>>) {
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        agents.follow(wanted, |node, addresses| {
            let connect = ByEndpoint { endpoint: self.endpoint.clone(), config: self.config.clone() };
            let dialer = Dialer::new(connect, node, addresses);
            let (sender, current) = watch::channel(None);
            let task = tokio::spawn(keep_up(dialer, sender, self.metrics.clone()));
            (current, task.abort_handle())
        });
    }

    /// A stream to the server that `open` names, on `node`.
    ///
    /// # Errors
    /// [`OpenError`], after at most five seconds.
    pub(crate) async fn open(&self, node: NodeId, open: &StreamOpen) -> Result<TunnelStream, OpenError> {
        let current = {
            let agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
            agents.get(&node).cloned().ok_or(OpenError::Unreachable(node))?
        };
        tokio::time::timeout(OPEN_TIMEOUT, ask(current, node, open))
            .await
            .unwrap_or(Err(OpenError::Unreachable(node)))
    }
}

async fn ask(mut current: Current, node: NodeId, open: &StreamOpen) -> Result<TunnelStream, OpenError> {
    let connection = match current.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(connection)) => connection.clone(),
        _ => return Err(OpenError::Unreachable(node)),
    };
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    writer.send(open).await?;
    match reader.recv::<StreamOpened>().await?.and_then(|opened| opened.outcome) {
        Some(Outcome::Accepted(_)) => {
            let (receive, first) = reader.into_inner();
            Ok(TunnelStream { send: writer.into_inner(), receive, first })
        }
        Some(Outcome::Refused(refused)) => {
            Err(OpenError::Refused { code: refused.code, detail: refused.detail })
        }
        None => Err(OpenError::Unreachable(node)),
    }
}

/// Dials whenever no connection stands, and says which one does.
async fn keep_up(
    mut dialer: Dialer<ByEndpoint>,
    current: watch::Sender<Option<quinn::Connection>>,
    metrics: Metrics,
) {
    loop {
        let connection = dialer.connect().await;
        let _standing = Standing::new(&metrics.stream_tunnels);
        current.send_replace(Some(connection.clone()));
        let reason = connection.closed().await;
        info!(%reason, "tunnel of streams is down");
        current.send_replace(None);
    }
}
