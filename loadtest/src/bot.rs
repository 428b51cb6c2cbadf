//! One bot: measures, asks for a match, connects, plays, and says what came of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_client::{Client, ClientError};
use muster_protocol::api::{Assignment, JoinRequest, PortProtocol, Ticket, TicketRequest, TicketState};
use muster_protocol::id::{ServerId, TicketId};
use tokio::sync::watch;

use crate::beacons;
use crate::exchange::Exchange;
use crate::link::{self, Incoming, Outgoing};

/// Longest wait of one long poll, in seconds; short, so that a restarted orchestrator is soon asked again.
const POLL_S: u32 = 10;
/// Pause before a call that failed on the way is made again.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// How long answers may come after the last message was sent.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// How a bot comes to its match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It asks in a queue.
    Queue(String),
    /// It joins a lobby by its code.
    Lobby(String),
}

/// What one bot is to do.
#[derive(Clone, Debug)]
pub struct BotPlan {
    /// Client with the token and namespace of the players.
    pub client: Client,
    /// How to come to a match.
    pub way: Way,
    /// Name.
    pub player: String,
    /// What to play over.
    pub protocol: PortProtocol,
    /// How long to play.
    pub play: Duration,
    /// Messages per second.
    pub rate: f64,
    /// Text that makes every message longer.
    pub pad: String,
    /// How long the match may take.
    pub match_deadline: Duration,
    /// CA that `wss` endpoints are checked against.
    pub authority_pem: Option<Arc<[u8]>>,
    /// When the run began; all times are relative to it.
    pub began: Instant,
}

/// How far all bots of a run are together; watched by whoever wants to act in mid-game.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bots that got a server.
    pub assigned: usize,
    /// Bots whose first answer has come.
    pub playing: usize,
    /// Bots that are done, well or not.
    pub finished: usize,
}

/// When a bot reached what, in milliseconds since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BotTimes {
    /// It started.
    pub began_ms: Option<u64>,
    /// It had measured the regions.
    pub measured_ms: Option<u64>,
    /// It had its server.
    pub assigned_ms: Option<u64>,
    /// Its connection stood, token accepted.
    pub connected_ms: Option<u64>,
    /// It had played.
    pub finished_ms: Option<u64>,
}

/// What came of one bot.
#[derive(Debug)]
pub struct BotOutcome {
    /// Name.
    pub player: String,
    /// What it played over.
    pub protocol: PortProtocol,
    /// The server it got.
    pub server: Option<ServerId>,
    /// That server's region.
    pub region: Option<String>,
    /// The exchange, if it got so far.
    pub exchange: Option<Exchange>,
    /// When it reached what.
    pub times: BotTimes,
    /// Why it did not get to the end, if it did not.
    pub failure: Option<String>,
}

impl BotOutcome {
    /// Whether it got a server.
    pub fn is_matched(&self) -> bool {
        self.server.is_some()
    }
}

/// Runs one bot to its end, which is never an error: what went wrong is in the outcome.
pub async fn run(plan: BotPlan, progress: watch::Sender<Progress>) -> BotOutcome {
    let mut outcome = BotOutcome {
        player: plan.player.clone(),
        protocol: plan.protocol,
        server: None,
        region: None,
        exchange: None,
        times: BotTimes::default(),
        failure: None,
    };
    if let Err(error) = live(&plan, &mut outcome, &progress).await {
        outcome.failure = Some(format!("{error:#}"));
    }
    progress.send_modify(|progress| progress.finished += 1);
    outcome
}

async fn live(
    plan: &BotPlan,
    outcome: &mut BotOutcome,
    progress: &watch::Sender<Progress>,
) -> anyhow::Result<()> {
    let now_ms = || Some(plan.began.elapsed().as_millis() as u64);
    outcome.times.began_ms = now_ms();
    let regions = plan.client.regions().await.context("cannot read the regions")?;
    let latencies_ms = beacons::measure(&regions.items).await;
    outcome.times.measured_ms = now_ms();

    let (ticket, assignment) = find_match(plan, latencies_ms).await?;
    outcome.times.assigned_ms = now_ms();
    outcome.server = Some(assignment.server_id);
    outcome.region = Some(assignment.region.clone());
    progress.send_modify(|progress| progress.assigned += 1);

    let endpoint =
        assignment.endpoints.iter().find(|endpoint| endpoint.protocol == plan.protocol).with_context(
            || format!("server {} has no {} port", assignment.server_id, plan.protocol.as_str()),
        )?;
    let (outgoing, incoming) = link::open(endpoint, plan.authority_pem.as_deref()).await?;
    outcome.times.connected_ms = now_ms();

    let seat = Some(assignment.seat_id.to_string());
    let exchange = Mutex::new(Exchange::new(&plan.player, seat, rand::random(), plan.pad.clone()));
    let pace = Pace { play: plan.play, rate: plan.rate };
    let played = play(outgoing, incoming, &exchange, &pace, || {
        progress.send_modify(|progress| progress.playing += 1);
    })
    .await;
    outcome.times.finished_ms = now_ms();
    outcome.exchange = Some(exchange.into_inner().expect("no holder of the lock panics"));
    // Who leaves for good says so, or the seat is kept for them. It may be over already, and nobody there to hear it.
    let _ = plan.client.cancel_ticket(&ticket).await;
    played
}

/// Asks for a match and waits for it, through restarts of the orchestrator.
async fn find_match(
    plan: &BotPlan,
    latencies_ms: BTreeMap<String, u32>,
) -> anyhow::Result<(TicketId, Assignment)> {
    let deadline = Instant::now() + plan.match_deadline;
    let mut ticket = create_ticket(plan, latencies_ms, deadline).await?;
    loop {
        match ticket.state {
            TicketState::Assigned => {
                let assignment = ticket.assignment.context("the ticket is assigned, but says not where")?;
                return Ok((ticket.id, assignment));
            }
            TicketState::Searching | TicketState::Matched if Instant::now() < deadline => {
                ticket = poll(plan, ticket.id, ticket.state, deadline).await?;
            }
            TicketState::Searching | TicketState::Matched => {
                let explanation = &ticket.explanation;
                bail!("no server within {} s: {explanation}", plan.match_deadline.as_secs())
            }
            TicketState::Cancelled | TicketState::Expired | TicketState::Failed => {
                bail!("the ticket is {}: {}", ticket.state.as_str(), ticket.explanation)
            }
        }
    }
}

/// A ticket is asked for again only if the request cannot have arrived: two tickets would be two players.
async fn create_ticket(
    plan: &BotPlan,
    latencies_ms: BTreeMap<String, u32>,
    deadline: Instant,
) -> anyhow::Result<Ticket> {
    loop {
        let asked = match &plan.way {
            Way::Queue(queue) => {
                let request = TicketRequest {
                    latencies_ms: latencies_ms.clone(),
                    ..TicketRequest::new(queue, &plan.player)
                };
                plan.client.create_ticket(&request).await
            }
            Way::Lobby(code) => plan.client.join_lobby(code, &JoinRequest::new(&plan.player)).await,
        };
        match asked {
            Ok(ticket) => return Ok(ticket),
            Err(error) => {
                let unsent = match &error {
                    ClientError::Transport { unsent, .. } => *unsent,
                    other => other.is_transient(),
                };
                if !unsent || Instant::now() >= deadline {
                    return Err(error).context("cannot ask for a match");
                }
                tokio::time::sleep(AGAIN_AFTER).await;
            }
        }
    }
}

async fn poll(plan: &BotPlan, id: TicketId, state: TicketState, deadline: Instant) -> anyhow::Result<Ticket> {
    loop {
        match plan.client.wait_ticket(&id, state, POLL_S).await {
            Ok(ticket) => return Ok(ticket),
            Err(error) if error.is_transient() && Instant::now() < deadline => {
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            Err(error) => return Err(error).context("cannot follow the ticket"),
        }
    }
}

/// How long and how fast to play.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long.
    pub play: Duration,
    /// Messages per second.
    pub rate: f64,
}

/// Plays the exchange: sends at a fixed pace, judges every answer, and waits for the last ones.
///
/// `first_answer` is called once, when the session has shown to work. An error is a connection that
/// broke; what was exchanged until then is in `exchange`.
pub async fn play(
    mut outgoing: Outgoing,
    mut incoming: Incoming,
    exchange: &Mutex<Exchange>,
    pace: &Pace,
    first_answer: impl Fn(),
) -> anyhow::Result<()> {
    let began = Instant::now();
    let now_us = || began.elapsed().as_micros() as u64;
    let with = || exchange.lock().expect("no holder of the lock panics");
    let sending = async {
        let period = Duration::from_secs_f64(1.0 / pace.rate);
        // Bots that start together do not send together.
        tokio::time::sleep(period.mul_f64(rand::random())).await;
        let mut ticks = tokio::time::interval(period);
        while began.elapsed() < pace.play {
            ticks.tick().await;
            let message = with().next(now_us()).encode();
            outgoing.send(&message).await.context("cannot send to the server")?;
        }
        anyhow::Ok(outgoing)
    };
    let receiving = async {
        let mut message = Vec::new();
        let mut sessions = 0;
        loop {
            incoming.receive(&mut message).await.context("the connection to the server broke")?;
            let mut exchange = with();
            exchange.receive(&message, now_us());
            if sessions == 0 && exchange.sessions() > 0 {
                sessions = exchange.sessions();
                first_answer();
            }
            if began.elapsed() >= pace.play && exchange.missing() == 0 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::pin!(receiving);
    let still_open = tokio::select! {
        sent = sending => sent?,
        received = &mut receiving => match received {
            // All sent so far is answered and the time is over: the last tick is not needed.
            Ok(()) => return Ok(()),
            Err(error) => return Err(error),
        },
    };
    if with().missing() > 0 {
        // Running out of time is no error here: what is missing shows in the exchange.
        if let Ok(received) = tokio::time::timeout(STRAGGLERS, receiving).await {
            received?;
        }
    }
    drop(still_open);
    Ok(())
}
