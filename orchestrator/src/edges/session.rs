//! One edge's link, from its hello to its end.
//!
//! Like an agent's: listening, telling and writing answers go on side by side, and whichever ends first
//! ends the link. An edge that is gone keeps its routes and its players; it gets a whole table when it is
//! back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use muster_engine::{Clock, SystemClock};
use muster_protocol::edge::{
    EdgeHello, EdgeLimits, EdgeMessage, EdgeWelcome, Route, ToEdge, edge_message, to_edge,
};
use muster_protocol::id::EdgeId;
use muster_store::{Database, StoreError, Watch};
use muster_transport::{FrameReader, FrameWriter};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::flows::{self, Flows};
use super::routes::{Answer, MAX_UNANSWERED, Told};
use crate::app::App;
use crate::lifecycle::StepError;
use crate::links::{EdgeLink, Ended, pause_after};
use crate::state::{self, Routed, StateError, kv};
use crate::{clock, installation, keyspace, lifecycle, metrics};

/// How long an edge may take from its connection to its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// A link that says nothing for this long is closed; a report is due every two seconds.
const SILENCE: Duration = Duration::from_secs(6);
/// How long a message may take to be taken over by the link.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Servers whose routes are recorded as served in one transaction.
const MAX_SERVED_AT_ONCE: usize = 256;

/// Serves the link of `edge` until it ends.
pub(crate) async fn serve(app: Arc<App>, connection: quinn::Connection, edge: EdgeId) {
    let ended = match greet(&app, &connection, edge).await {
        Ok(greeted) => {
            let session = greeted.session;
            let ended = match converse(&app, &connection, edge, greeted).await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            record_end(&app, edge, session).await;
            ended
        }
        Err(ended) => ended,
    };
    ended.close(&connection);
    metrics::link_closed("edge", ended.word());
    tracing::info!(%edge, reason = ended.word(), %ended, "edge's link ended");
}

/// A link whose hello has been taken over by the store.
struct Greeted {
    reader: FrameReader,
    writer: FrameWriter,
    hello: EdgeHello,
    /// The store's number of this link.
    session: u64,
    /// The region the edge joined.
    region: String,
}

async fn greet(app: &App, connection: &quinn::Connection, edge: EdgeId) -> Result<Greeted, Ended> {
    let hello = tokio::time::timeout(HELLO_TIMEOUT, async {
        let (send, receive) = connection.accept_bi().await.map_err(Ended::of_connection)?;
        let mut reader = FrameReader::new(receive);
        let first = reader.recv::<EdgeMessage>().await;
        let first = first.map_err(|error| Ended::of_frame(error, connection))?;
        match first.and_then(|message| message.body) {
            Some(edge_message::Body::Hello(hello)) => Ok((FrameWriter::new(send), reader, hello)),
            _ => Err(Ended::Protocol("the first message must be a hello".to_owned())),
        }
    });
    let (writer, reader, hello) = hello.await.map_err(|_| Ended::Silent)??;
    let ports = 1..=u32::from(u16::MAX);
    if !ports.contains(&hello.port_first)
        || !ports.contains(&hello.port_last)
        || hello.port_first > hello.port_last
    {
        let (first, last) = (hello.port_first, hello.port_last);
        return Err(Ended::Protocol(format!(
            "{first} to {last} is no range of ports; mend the edge's configuration"
        )));
    }
    let session = lifecycle::edge_connected(&app.db, edge, &hello, app.replica, clock::now_ms()).await?;
    let record = app.db.read("edge", async |mut tx| state::edges::load(&mut tx, edge).await).await?;
    let region = record.ok_or(Ended::Unknown)?.region;
    Ok(Greeted { reader, writer, hello, session, region })
}

async fn converse(
    app: &App,
    connection: &quinn::Connection,
    edge: EdgeId,
    greeted: Greeted,
) -> Result<Infallible, Ended> {
    let Greeted { reader, mut writer, hello, session, region } = greeted;
    if hello.version != env!("CARGO_PKG_VERSION") {
        tracing::info!(%edge, theirs = hello.version, ours = env!("CARGO_PKG_VERSION"), "versions differ");
    }
    if hello.region != region {
        tracing::warn!(%edge, joined = region, says = hello.region, "an edge stays in the region it joined");
    }
    let link = app.links.add_edge(edge, session, connection.clone(), &region, clock::now_ms())?;
    let (hostname, public_host) = (&hello.hostname, &hello.public_host);
    tracing::info!(%edge, session, hostname, public_host, "edge connected");
    let flow_key = installation::flow_key(&app.db, &region).await?;
    let welcome = EdgeWelcome {
        token_keys: app.authority.token_keys(),
        flow_key: flow_key.to_vec().into(),
        orchestrators: crate::replicas::addresses(app).await,
    };
    send(&mut writer, to_edge::Body::Welcome(welcome), connection).await?;
    let told = Mutex::new(Told::default());
    let (answers, answered) = mpsc::channel(MAX_UNANSWERED);
    let (reports, reported) = watch::channel(None);
    tokio::select! {
        ended = listen(connection, reader, &link, &told, answers, reports) => ended,
        ended = tell(app, connection, &region, writer, &told) => ended,
        ended = record_answers(&app.db, &SystemClock, (edge, session), &region, answered) => ended,
        ended = flows::record(&app.db, edge, session, reported) => ended,
    }
}

/// Reads what the edge says until it stops.
async fn listen(
    connection: &quinn::Connection,
    mut reader: FrameReader,
    link: &EdgeLink,
    told: &Mutex<Told>,
    answers: mpsc::Sender<Answer>,
    reports: watch::Sender<Option<Flows>>,
) -> Result<Infallible, Ended> {
    loop {
        let message = match tokio::time::timeout(SILENCE, reader.recv::<EdgeMessage>()).await {
            Err(_) => return Err(Ended::Silent),
            Ok(Err(error)) => return Err(Ended::of_frame(error, connection)),
            Ok(Ok(None)) => return Err(Ended::Left),
            Ok(Ok(Some(message))) => message,
        };
        link.seen(clock::now_ms());
        match message.body {
            Some(edge_message::Body::Applied(applied)) => {
                metrics::route_failures(applied.failures.len());
                let answer = lock(told).answered(applied);
                // Full: the store is slower than the edge. The link starts again, with one whole table.
                answers.try_send(answer).map_err(|_| Ended::Behind)?;
            }
            Some(edge_message::Body::Report(report)) => {
                let flows = flows::of_report(&report.servers);
                link.report(flows.values().fold(0, |sum: u32, count| sum.saturating_add(*count)));
                reports.send_replace(Some(flows));
            }
            Some(edge_message::Body::Hello(_)) => {
                return Err(Ended::Protocol("a second hello on the same link".to_owned()));
            }
            // Something a newer edge says: it is alive, and that is all we learn.
            None => {}
        }
    }
}

/// Tells the edge its region's limits and routes, again whenever they change.
async fn tell(
    app: &App,
    connection: &quinn::Connection,
    region: &str,
    mut writer: FrameWriter,
    told: &Mutex<Told>,
) -> Result<Infallible, Ended> {
    let mut limits_told = None;
    loop {
        let began = Instant::now();
        let known = lock(told).known();
        let (wanted, mut changed) = match read_wanted(&app.db, region, &known).await {
            Ok(read) => read,
            Err(StateError::Store(StoreError::Closed)) => return Err(Ended::ShuttingDown),
            Err(error) => {
                tracing::warn!(region, %error, "cannot read what the region's edges are to do; trying again");
                tokio::time::sleep(STORE_PAUSE).await;
                continue;
            }
        };
        let (table, behind) = {
            let mut told = lock(told);
            (told.advance(wanted.revision, wanted.routed, wanted.routes), told.is_behind())
        };
        if behind {
            return Err(Ended::Behind);
        }
        let pause = pause_after(began.elapsed());
        // Before the routes, so that no port is open without them.
        if limits_told.as_ref() != Some(&wanted.limits) {
            send(&mut writer, to_edge::Body::Limits(wanted.limits.clone()), connection).await?;
            limits_told = Some(wanted.limits);
        }
        if let Some(table) = table {
            metrics::routes_sent(table.routes.len());
            send(&mut writer, to_edge::Body::Routes(table), connection).await?;
        }
        // A watch that is lost tells nothing: looking again finds what changed, or that the store is closed.
        let pause = if changed.changed().await.is_ok() { pause } else { STORE_PAUSE };
        tokio::time::sleep(pause).await;
    }
}

/// What the edges of a region are to do.
pub(crate) struct Wanted {
    pub(crate) revision: u64,
    pub(crate) routed: Routed,
    /// Those that were not known.
    pub(crate) routes: Vec<Route>,
    pub(crate) limits: EdgeLimits,
}

/// Reads it, as far as it is not `known`, with a watch on its changes.
pub(crate) async fn read_wanted(
    db: &Database,
    region: &str,
    known: &Routed,
) -> Result<(Wanted, Watch), StateError> {
    let key = keyspace::region_revision(region);
    db.read("region routes", async |mut tx| {
        let revision = u64::try_from(kv::peek_number(&mut tx, &key).await?).unwrap_or(0);
        let (routed, routes) = state::routes_for_region(&mut tx, region, known).await?;
        let limits = state::edge_limits::peek(&mut tx, region).await?.to_wire();
        Ok((Wanted { revision, routed, routes, limits }, tx.watch(&key)))
    })
    .await
}

async fn send(
    writer: &mut FrameWriter,
    body: to_edge::Body,
    connection: &quinn::Connection,
) -> Result<(), Ended> {
    match tokio::time::timeout(SEND_TIMEOUT, writer.send(&ToEdge { body: Some(body) })).await {
        Err(_) => Err(Ended::Behind),
        Ok(sent) => sent.map_err(|error| Ended::of_frame(error, connection)),
    }
}

/// Writes to the store what the edge answered.
pub(crate) async fn record_answers(
    db: &Database,
    clock: &dyn Clock,
    (edge, session): (EdgeId, u64),
    region: &str,
    mut answers: mpsc::Receiver<Answer>,
) -> Result<Infallible, Ended> {
    while let Some(answer) = answers.recv().await {
        let mut failures = answer.failures;
        let mut served = answer.served.as_slice();
        while !served.is_empty() || !failures.is_empty() {
            let (now, later) = served.split_at(served.len().min(MAX_SERVED_AT_ONCE));
            while let Err(error) =
                lifecycle::routes_applied(db, region, (edge, session), now, &failures, clock.now_ms()).await
            {
                if matches!(error, StepError::Superseded(_)) {
                    return Err(Ended::WrittenOff);
                }
                tracing::warn!(%edge, %error, "not written what the edge serves; trying again");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            served = later;
            failures.clear();
        }
    }
    Err(Ended::Left)
}

/// Records that the link is down. At a shutdown every link ends, which says nothing of the machines: the
/// next start takes all as down. Where it cannot be written now, `links::sweep` writes it later.
async fn record_end(app: &App, edge: EdgeId, session: u64) {
    if app.links.is_closed() {
        return;
    }
    if let Err(error) = lifecycle::edge_disconnected(&app.db, edge, session, clock::now_ms()).await {
        tracing::warn!(%edge, %error, "not written that the link is down; it will be later");
    }
}

fn lock(told: &Mutex<Told>) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
