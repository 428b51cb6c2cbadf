//! Players and a studio at work through crashes: what is acknowledged to them goes into the ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use muster_client::{Client, ClientError};
use muster_protocol::api::{
    ApiTokenRequest, Assignment, PortProtocol, QueueSpec, Role, Ticket, TicketRequest, TicketState,
};
use muster_protocol::id::TicketId;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Place, SeenTicket, Stood};
use crate::bot::{self, Pace};
use crate::exchange::Exchange;
use crate::harness::stack::NAMESPACE;
use crate::link;

/// Players at a time.
const PLAYERS: u32 = 12;
/// How long each plays.
const PLAY: Duration = Duration::from_millis(1_200);
/// Messages per second of each.
const RATE: f64 = 10.0;
/// One in so many tickets is cancelled by its owner.
const CANCELLED: u32 = 7;
/// Longest wait of one long poll, in seconds.
const POLL_S: u32 = 5;
/// Pause after a call that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a player waits for a match before going away.
const PATIENCE: Duration = Duration::from_mins(2);
/// Time between two changes of the studio.
const STUDIO_EVERY: Duration = Duration::from_millis(50);

/// What the load shares.
#[derive(Clone)]
pub struct Load {
    /// As game clients carry it, one at each orchestrator; as the others.
    pub players: Vec<Client>,
    /// With a token that may deploy.
    pub studios: Vec<Client>,
    /// With the admin token.
    pub admins: Vec<Client>,
    /// The queue players ask in.
    pub queue: QueueSpec,
    /// Where it is written down.
    pub ledger: Arc<Mutex<Ledger>>,
    /// What became of games.
    pub games: Arc<Mutex<Vec<Game>>>,
    /// How many players have left each server.
    pub left: Arc<Mutex<BTreeMap<String, u32>>>,
    /// No new work once this is cancelled.
    pub stop: CancellationToken,
}

/// One player's time on a server.
#[derive(Clone, Debug)]
pub struct Game {
    /// From when.
    pub began: Instant,
    /// Until when.
    pub ended: Instant,
    /// Why it broke off, if it did.
    pub broken: Option<String>,
}

impl Load {
    /// Runs until told to stop; then waits for what is under way.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for number in 0..PLAYERS {
            tasks.spawn(self.clone().players(number));
        }
        tasks.spawn(self.clone().studio());
        while tasks.join_next().await.is_some() {}
    }

    /// One of `clients`, as a load balancer that knows nothing of who is alive would choose.
    fn any(clients: &[Client]) -> &Client {
        &clients[rand::random_range(0..clients.len())]
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One player after the other.
    async fn players(self, number: u32) {
        let mut round = 0;
        while !self.stop.is_cancelled() {
            round += 1;
            let player = format!("p{number}-{round}");
            let request = TicketRequest::new(&self.queue.name, &player);
            let Ok(ticket) = Self::any(&self.players).create_ticket(&request).await else {
                self.ledger().unknown += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            self.saw(&ticket);
            if round % CANCELLED == number % CANCELLED {
                self.cancel(&player, ticket.id).await;
            } else if let Some(assignment) = self.wait(ticket.id).await {
                self.play(&player, &assignment).await;
            }
        }
    }

    fn saw(&self, ticket: &Ticket) {
        self.ledger().saw(seen(ticket));
    }

    async fn wait(&self, id: TicketId) -> Option<Assignment> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = TicketState::Searching;
        while Instant::now() < deadline {
            match Self::any(&self.players).wait_ticket(&id, state, POLL_S).await {
                Ok(ticket) => {
                    self.saw(&ticket);
                    state = ticket.state;
                    if state.is_final() {
                        return ticket.assignment;
                    }
                    if self.stop.is_cancelled() && state == TicketState::Searching {
                        // Nobody comes to play with any more.
                        return None;
                    }
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        None
    }

    async fn cancel(&self, player: &str, id: TicketId) {
        match Self::any(&self.players).cancel_ticket(&id).await {
            // Acknowledged: from here on it can be nothing else.
            Ok(()) => {
                let player = player.to_owned();
                self.ledger().saw(SeenTicket { id: id.to_string(), player, stood: Stood::Cancelled });
            }
            Err(ClientError::Problem(_)) => {}
            Err(_) => self.ledger().unknown += 1,
        }
    }

    /// Plays over TCP, so that a break is seen, and then lets the server go.
    async fn play(&self, player: &str, assignment: &Assignment) {
        let began = Instant::now();
        let played = self.connect_and_play(player, assignment).await;
        let game =
            Game { began, ended: Instant::now(), broken: played.err().map(|error| format!("{error:#}")) };
        self.games.lock().unwrap_or_else(PoisonError::into_inner).push(game);
        // The last to leave ends it: the next match needs the room. If one never comes, idleness does.
        let left = {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let left = left.entry(assignment.server_id.to_string()).or_default();
            *left += 1;
            *left
        };
        if left == self.queue.players
            && Self::any(&self.studios).stop_server(&assignment.server_id, true).await.is_err()
        {
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn connect_and_play(&self, player: &str, assignment: &Assignment) -> anyhow::Result<()> {
        let endpoint = assignment.endpoints.iter().find(|endpoint| endpoint.protocol == PortProtocol::Tcp);
        let endpoint = endpoint.ok_or_else(|| anyhow::anyhow!("the server has no TCP port"))?;
        let (outgoing, incoming) = link::open(endpoint, None).await?;
        let seat = Some(assignment.seat_id.to_string());
        let exchange = Mutex::new(Exchange::new(player, seat, rand::random(), String::new()));
        bot::play(outgoing, incoming, &exchange, &Pace { play: PLAY, rate: RATE }, || {}).await
    }

    /// Makes namespaces and API tokens, and changes the queue.
    async fn studio(self) {
        let mut round = 0_u32;
        while !self.stop.is_cancelled() {
            round += 1;
            let done = match round % 3 {
                0 => {
                    let environment = format!("n{round}");
                    let made = Self::any(&self.admins).create_namespace("load", &environment).await;
                    made.map(|_| self.ledger().made("namespace", format!("load/{environment}")))
                }
                1 => {
                    let name = format!("token {round}");
                    let namespace = Some(NAMESPACE.to_owned());
                    let request =
                        ApiTokenRequest { role: Role::Client, namespace, name: name.clone(), ttl_s: None };
                    Self::any(&self.admins)
                        .create_token(&request)
                        .await
                        .map(|_| self.ledger().made("token", name))
                }
                _ => {
                    // Every change is another life of tickets, so every one makes a version.
                    let spec = QueueSpec { ticket_ttl_s: 300 + round % 1_000, ..self.queue.clone() };
                    Self::any(&self.studios)
                        .apply_queue(&spec)
                        .await
                        .map(|queue| self.ledger().version(queue.version))
                }
            };
            if done.is_err() {
                self.ledger().unknown += 1;
            }
            tokio::time::sleep(STUDIO_EVERY).await;
        }
    }
}

/// A ticket as the ledger sees it.
pub fn seen(ticket: &Ticket) -> SeenTicket {
    let stood = match (ticket.state, &ticket.assignment) {
        (TicketState::Assigned, Some(assignment)) => Stood::Assigned(Place {
            match_id: assignment.match_id.to_string(),
            server: assignment.server_id.to_string(),
            seat: assignment.seat_id.to_string(),
        }),
        (TicketState::Cancelled, _) => Stood::Cancelled,
        (TicketState::Expired | TicketState::Failed, _) => Stood::Failed(ticket.explanation.clone()),
        _ => Stood::Open,
    };
    SeenTicket { id: ticket.id.to_string(), player: ticket.player.clone(), stood }
}
