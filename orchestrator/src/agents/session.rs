//! One agent's link, from its hello to its end.
//!
//! Reading, telling and serving builds go on side by side, so that none waits for another; whichever
//! ends first ends the link. Nothing is remembered past it: the next hello says again what is.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::SystemClock;
use muster_protocol::agent::{AgentHello, AgentMessage, AgentWelcome, ToAgent, agent_message, to_agent};
use muster_protocol::id::NodeId;
use muster_store::{Database, StoreError, Watch};
use muster_transport::{FrameReader, FrameWriter};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::desired::{Next, Told};
use super::{blobs, reports};
use crate::app::App;
use crate::links::{AgentLink, AgentStatus, Ended, Greeting, pause_after};
use crate::state::{self, Desired, Generations, StateError};
use crate::{clock, keyspace, lifecycle, metrics};

/// How long an agent may take from its connection to its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A link that says nothing for this long is closed; a heartbeat is due every two seconds.
const SILENCE: Duration = Duration::from_secs(6);
/// How long a message may take to be taken over by the link.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Builds one agent may fetch at a time.
const MAX_TRANSFERS: usize = 16;

/// Serves the link of `node` until it ends.
pub(crate) async fn serve(app: Arc<App>, connection: quinn::Connection, node: NodeId) {
    let ended = match greet(&app, &connection, node).await {
        Ok(greeted) => {
            let session = greeted.session;
            let ended = match converse(&app, &connection, node, greeted).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            record_end(&app, node, session).await;
            ended
        }
        Err(ended) => ended,
    };
    ended.close(&connection);
    metrics::link_closed("agent", ended.word());
    tracing::info!(%node, reason = ended.word(), %ended, "agent's link ended");
}

/// A link whose hello has been taken over by the store.
struct Greeted {
    reader: FrameReader,
    writer: FrameWriter,
    hello: AgentHello,
    /// The store's number of this link.
    session: u64,
    /// The region the node joined.
    region: String,
    greeting: Greeting,
}

async fn greet(app: &App, connection: &quinn::Connection, node: NodeId) -> Result<Greeted, Ended> {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, async {
        let (send, receive) = connection.accept_bi().await.map_err(Ended::of_connection)?;
        let mut reader = FrameReader::new(receive);
        let first = reader.recv::<AgentMessage>().await;
        let first = first.map_err(|error| Ended::of_frame(error, connection))?;
        match first.and_then(|message| message.body) {
            Some(agent_message::Body::Hello(hello)) => Ok((FrameWriter::new(send), reader, hello)),
            _ => Err(Ended::Protocol("the first message must be a hello".to_owned())),
        }
    });
    let (writer, reader, hello) = hello.await.map_err(|_| Ended::Silent)??;
    // Until the registry has the link: what is written is ahead of it.
    let greeting = app.links.greet_agent(node);
    let session = lifecycle::node_connected(&app.db, node, &hello, app.replica, clock::now_ms()).await?;
    let record = app.db.read("node", async |mut tx| state::nodes::load(&mut tx, node).await).await?;
    let region = record.ok_or(Ended::Unknown)?.region;
    Ok(Greeted { reader, writer, hello, session, region, greeting })
}

async fn converse(
    app: &Arc<App>,
    connection: &quinn::Connection,
    node: NodeId,
    greeted: Greeted,
) -> Result<Infallible, Ended> {
    let Greeted { reader, mut writer, hello, session, region, greeting } = greeted;
    if hello.version != env!("CARGO_PKG_VERSION") {
        tracing::info!(%node, theirs = hello.version, ours = env!("CARGO_PKG_VERSION"), "versions differ");
    }
    if hello.region != region {
        tracing::warn!(%node, joined = region, says = hello.region, "a node stays in the region it joined");
    }
    let now_ms = clock::now_ms();
    let status = AgentStatus {
        region,
        since_ms: now_ms,
        last_seen_ms: now_ms,
        cpu_millis: 0,
        memory_bytes: 0,
        containers: hello.servers.len() as u32,
        unable: hello.unable,
    };
    let link = app.links.add_agent(node, session, connection.clone(), status)?;
    drop(greeting);
    tracing::info!(%node, session, hostname = hello.hostname, servers = hello.servers.len(), "agent connected");
    let inbox = reports::Inbox::default();
    let orchestrators = crate::replicas::addresses(app).await;
    let welcome = AgentWelcome { token_keys: app.authority.token_keys(), orchestrators };
    send(&mut writer, to_agent::Body::Welcome(welcome), connection).await?;
    tokio::select! {
        ended = listen(app, connection, node, reader, &link, &inbox) => ended,
        ended = tell(app, connection, node, writer) => ended,
        ended = serve_streams(app, connection) => ended,
        ended = reports::apply(&app.db, &SystemClock, (node, session), &inbox) => ended,
    }
}

/// Reads what the agent says until it stops.
async fn listen(
    app: &App,
    connection: &quinn::Connection,
    node: NodeId,
    mut reader: FrameReader,
    link: &AgentLink,
    inbox: &reports::Inbox,
) -> Result<Infallible, Ended> {
    let mut unable = None;
    loop {
        let message = match tokio::time::timeout(SILENCE, reader.recv::<AgentMessage>()).await {
            Err(_) => return Err(Ended::Silent),
            Ok(Err(error)) => return Err(Ended::of_frame(error, connection)),
            Ok(Ok(None)) => return Err(Ended::Left),
            Ok(Ok(Some(message))) => message,
        };
        let now_ms = clock::now_ms();
        match message.body {
            Some(agent_message::Body::Usage(usage)) => {
                if unable.as_ref() != Some(&usage.unable) {
                    if let Err(error) = lifecycle::node_unable(&app.db, node, &usage.unable).await {
                        tracing::warn!(%node, %error, "not written whether the agent is able; trying again");
                    } else {
                        unable = Some(usage.unable.clone());
                    }
                }
                link.update(|status| {
                    status.last_seen_ms = now_ms;
                    status.cpu_millis = usage.cpu_millis;
                    status.memory_bytes = usage.memory_bytes;
                    status.containers = usage.containers;
                    status.unable = usage.unable;
                });
            }
            Some(agent_message::Body::Report(report)) => {
                link.seen(now_ms);
                inbox.push(report).map_err(|_| Ended::Behind)?;
            }
            Some(agent_message::Body::Hello(_)) => {
                return Err(Ended::Protocol("a second hello on the same link".to_owned()));
            }
            // Something a newer agent says: it is alive, and that is all we learn.
            None => link.seen(now_ms),
        }
    }
}

/// Tells the agent what is wanted, again whenever that changes.
async fn tell(
    app: &App,
    connection: &quinn::Connection,
    node: NodeId,
    mut writer: FrameWriter,
) -> Result<Infallible, Ended> {
    let mut told = Told::default();
    loop {
        let began = Instant::now();
        let (desired, mut changed) = match read_desired(&app.db, node, told.known()).await {
            Ok(read) => read,
            Err(StateError::Store(StoreError::Closed)) => return Err(Ended::ShuttingDown),
            Err(error) => {
                tracing::warn!(%node, %error, "cannot read what is wanted of the node; trying again");
                tokio::time::sleep(STORE_PAUSE).await;
                continue;
            }
        };
        let next = told.advance(desired);
        let pause = pause_after(began.elapsed());
        match next {
            Next::ReadAgain => continue,
            Next::Say(message) => send(&mut writer, to_agent::Body::Desired(message), connection).await?,
            Next::Wait => {}
        }
        // A watch that is lost tells nothing: looking again finds what changed, or that the store is closed.
        let pause = if changed.changed().await.is_ok() { pause } else { STORE_PAUSE };
        tokio::time::sleep(pause).await;
    }
}

/// What is wanted of `node` beyond what is `known`, with a watch on its changes.
pub(crate) async fn read_desired(
    db: &Database,
    node: NodeId,
    known: &Generations,
) -> Result<(Desired, Watch), StateError> {
    db.read("desired servers", async |mut tx| {
        let desired = state::desired_for_node(&mut tx, node, known).await?;
        Ok((desired, tx.watch(&keyspace::node_revision(node))))
    })
    .await
}

async fn send(
    writer: &mut FrameWriter,
    body: to_agent::Body,
    connection: &quinn::Connection,
) -> Result<(), Ended> {
    match tokio::time::timeout(SEND_TIMEOUT, writer.send(&ToAgent { body: Some(body) })).await {
        Err(_) => Err(Ended::Behind),
        Ok(sent) => sent.map_err(|error| Ended::of_frame(error, connection)),
    }
}

/// Answers the streams the agent opens: each asks for one build.
async fn serve_streams(app: &Arc<App>, connection: &quinn::Connection) -> Result<Infallible, Ended> {
    let places = Arc::new(Semaphore::new(MAX_TRANSFERS));
    // Dropped with this future, and the transfers with it.
    let mut transfers = JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (send, receive) = connection.accept_bi().await.map_err(Ended::of_connection)?;
        while transfers.try_join_next().is_some() {}
        let app = app.clone();
        transfers.spawn(async move {
            blobs::serve(&app, send, receive).await;
            drop(place);
        });
    }
}

/// Records that the link is down. At a shutdown every link ends, which says nothing of the machines: the
/// next start takes all as down. Where it cannot be written now, `links::sweep` writes it later.
async fn record_end(app: &App, node: NodeId, session: u64) {
    if app.links.is_closed() {
        return;
    }
    let now_ms = clock::now_ms();
    let timeout_ms = app.config.node_loss_timeout_ms();
    if let Err(error) = lifecycle::node_disconnected(&app.db, node, session, now_ms, timeout_ms).await {
        tracing::warn!(%node, %error, "not written that the link is down; it will be later");
    }
}
