//! One link while it stands: the control stream, and the requests the orchestrator makes.

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::agent::{
    AgentHello, AgentMessage, AgentWelcome, NodeUsage, ToAgent, agent_message, to_agent,
};
use muster_protocol::token::{KeyError, TokenVerifier};
use muster_transport::{Backoff, FrameIoError, FrameReader, FrameWriter};
use quinn::Connection;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::usage::Usage;
use super::{Link, logs};
use crate::reconcile::Input;

/// How often the node's usage is sent; also the link's heartbeat.
const USAGE_EVERY: Duration = Duration::from_secs(2);
/// Time a message has to leave: an orchestrator that does not read is no orchestrator.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests for logs served at once.
const MAX_LOG_REQUESTS: usize = 32;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    /// The control stream failed.
    #[error(transparent)]
    Frame(#[from] FrameIoError),
    /// The connection failed.
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    /// The orchestrator closed the control stream.
    #[error("the orchestrator closed the control stream")]
    Closed,
    /// The orchestrator does not read.
    #[error("the orchestrator takes no messages")]
    Stalled,
    /// The agent shuts down.
    #[error("the agent is shutting down")]
    ShuttingDown,
}

/// Runs one session to its end.
pub(super) async fn run(link: &mut Link, connection: &Connection, backoff: &mut Backoff) -> Ended {
    match session(link, connection, backoff).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

async fn session(
    link: &mut Link,
    connection: &Connection,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, Ended> {
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    let mut usage = Usage::new();
    say(&mut writer, agent_message::Body::Hello(hello(link))).await?;
    let mut beats = interval(USAGE_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.reset();
    let log_slots = Arc::new(Semaphore::new(MAX_LOG_REQUESTS));
    // Dropped, and with it every request, when the session ends.
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            message = reader.recv::<ToAgent>() => {
                let message = message?.ok_or(Ended::Closed)?;
                // Only an orchestrator that has spoken has taken this agent in.
                backoff.reset();
                hear(link, message).await?;
            }
            reports = link.reports.unsent() => {
                for report in reports {
                    say(&mut writer, agent_message::Body::Report(report)).await?;
                }
            }
            _ = beats.tick() => say(&mut writer, node_usage(link, &mut usage)).await?,
            changed = link.engine.changed() => {
                changed.map_err(|_| Ended::ShuttingDown)?;
                say(&mut writer, node_usage(link, &mut usage)).await?;
            }
            stream = connection.accept_bi() => {
                let (send, receive) = stream?;
                let (engine, reports) = (link.engine.borrow().engine(), Arc::clone(&link.reports));
                requests.spawn(logs::serve(send, receive, engine, reports, Arc::clone(&log_slots)));
            }
            Some(_) = requests.join_next() => {}
        }
    }
}

async fn say(writer: &mut FrameWriter, body: agent_message::Body) -> Result<(), Ended> {
    let message = AgentMessage { body: Some(body) };
    Ok(timeout(SEND_TIMEOUT, writer.send(&message)).await.map_err(|_| Ended::Stalled)??)
}

fn hello(link: &Link) -> AgentHello {
    AgentHello {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        region: link.facts.region.clone(),
        hostname: link.facts.name.clone(),
        tunnel_addresses: link.facts.tunnel_addresses.clone(),
        capacity: Some(link.facts.capacity),
        servers: link.reports.all(),
        unable: link.engine.borrow().unable().to_owned(),
    }
}

fn node_usage(link: &Link, usage: &mut Usage) -> agent_message::Body {
    let (cpu_millis, memory_bytes) = usage.now();
    agent_message::Body::Usage(NodeUsage {
        cpu_millis,
        memory_bytes,
        containers: *link.containers.borrow(),
        unable: link.engine.borrow().unable().to_owned(),
    })
}

async fn hear(link: &mut Link, message: ToAgent) -> Result<(), Ended> {
    match message.body {
        Some(to_agent::Body::Welcome(welcome)) => welcomed(link, &welcome),
        Some(to_agent::Body::Desired(desired)) => {
            link.inputs.send(Input::Desired(desired)).await.map_err(|_| Ended::ShuttingDown)?;
        }
        // From a newer orchestrator.
        None => {}
    }
    Ok(())
}

fn welcomed(link: &mut Link, welcome: &AgentWelcome) {
    link.orchestrators.learn(&welcome.orchestrators);
    match verifier(welcome) {
        Ok(verifier) => {
            link.keys.send_replace(Arc::new(verifier));
            if let Err(error) = link.state.save_welcome(welcome) {
                tracing::warn!(%error, "the session-token keys could not be kept for the next start");
            }
        }
        Err(error) => {
            tracing::error!(%error, "the orchestrator sent session-token keys that are none; keeping the old ones");
        }
    }
}

/// The keys of a welcome, fit for checking session tokens.
pub(crate) fn verifier(welcome: &AgentWelcome) -> Result<TokenVerifier, KeyError> {
    TokenVerifier::new(welcome.token_keys.iter().map(|key| (key.key_id.as_str(), &key.public_key[..])))
}
