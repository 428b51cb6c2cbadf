//! The link to the orchestrator: hears keys, routes and limits, reports traffic. Players do not notice when it is down.

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::edge::{EdgeHello, EdgeMessage, ToEdge, edge_message, to_edge};
use muster_transport::{
    Backoff, DialError, FrameIoError, FrameReader, FrameWriter, Orchestrators, Role, dial, server_name,
};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use crate::metrics::{Metrics, Standing};
use crate::serving::ServingLink;
use crate::traffic::Traffic;

/// How long one address of an orchestrator may take to answer.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Waits between attempts.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How often traffic is reported; also the heartbeat.
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(2);

/// What the link is made with.
pub(crate) struct Link {
    pub(crate) endpoint: quinn::Endpoint,
    pub(crate) client: quinn::ClientConfig,
    pub(crate) orchestrators: Orchestrators,
    pub(crate) hello: EdgeHello,
    pub(crate) serving: ServingLink,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) metrics: Metrics,
}

#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    #[error(transparent)]
    Frame(#[from] FrameIoError),
    #[error("the orchestrator ended the link")]
    Ended,
}

impl Link {
    /// Keeps the link up until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let Err(error) = self.session(&mut backoff).await;
            let wait = backoff.next(rand::random());
            warn!(%error, wait_ms = wait.as_millis() as u64, "link to the orchestrator is down; serving goes on");
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, from dialling to its end.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<std::convert::Infallible, LinkError> {
        let name = server_name(Role::Orchestrator, "orchestrator");
        let addresses = self.orchestrators.in_turn();
        let connection = dial(&self.endpoint, self.client.clone(), &addresses, &name, DIAL_TIMEOUT).await?;
        let (send, receive) = connection.open_bi().await?;
        let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
        writer.send(&message(edge_message::Body::Hello(self.hello.clone()))).await?;
        self.serving.forget_applied();
        let mut report = tokio::time::interval(REPORT_EVERY);
        report.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut standing = None;
        loop {
            tokio::select! {
                heard = reader.recv::<ToEdge>() => {
                    let heard = heard?.ok_or(LinkError::Ended)?;
                    if standing.is_none() {
                        info!(orchestrator = %connection.remote_address(), "link to the orchestrator is up");
                        standing = Some(Standing::new(&self.metrics.link_up));
                        backoff.reset();
                    }
                    match heard.body {
                        Some(to_edge::Body::Welcome(welcome)) => {
                            self.orchestrators.learn(&welcome.orchestrators);
                            self.serving.welcome(welcome).await;
                        }
                        Some(to_edge::Body::Routes(routes)) => self.serving.routes(routes).await,
                        Some(to_edge::Body::Limits(limits)) => self.serving.limits(limits).await,
                        None => warn!("the orchestrator said something that this version does not know"),
                    }
                }
                applied = self.serving.applied() => {
                    writer.send(&message(edge_message::Body::Applied(applied))).await?;
                }
                _ = report.tick() => {
                    writer.send(&message(edge_message::Body::Report(self.traffic.report()))).await?;
                }
            }
        }
    }
}

fn message(body: edge_message::Body) -> EdgeMessage {
    EdgeMessage { body: Some(body) }
}
