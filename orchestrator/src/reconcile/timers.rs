//! Timers: does what is due. Each timer is one transaction that does nothing if its matter has changed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use muster_store::{Database, Transaction};
use tokio_util::sync::CancellationToken;

use super::Settings;
use crate::keyspace::{self, Timer};
use crate::lifecycle::{fail_lost_node, pass_drain_deadline};
use crate::matchmaking::{Fate, dissolve};
use crate::records::{Id, MatchRecord, ServerRecord, ServerState, TicketRecord, TicketState};
use crate::state::{StateError, fleets, matches, ports, servers, tickets, timers};
use crate::{clock, metrics, wake};

/// How long after it is due a timer may be noticed.
const TICK: Duration = Duration::from_millis(500);
/// Timers taken at a time.
const BATCH: usize = 512;
/// Most servers that are over and kept, in one namespace; beyond, they are removed as they end.
const MAX_ENDED_SERVERS: u32 = 10_000;
/// Most tickets that are over and kept, in one namespace; beyond, they are removed as they end.
const MAX_ENDED_TICKETS: u32 = 200_000;

/// Time between two counts of what is on record, for metrics.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Runs until `shutdown`.
pub(super) async fn run(db: Database, settings: Settings, shutdown: CancellationToken) {
    let mut counted: Option<Instant> = None;
    loop {
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            counted = Some(Instant::now());
            if let Err(error) = count(&db).await {
                tracing::warn!(%error, "cannot count servers and tickets");
            }
        }
        let began = Instant::now();
        let tick = match pass(&db, settings, clock::now_ms()).await {
            Ok(()) => TICK,
            Err(error) => {
                tracing::warn!(%error, "timer pass failed");
                wake::AFTER_FAILURE
            }
        };
        metrics::pass("timers", began.elapsed());
        if !wake::sleep(&shutdown, Vec::new(), tick).await {
            return;
        }
    }
}

/// Sets the gauges of what is on record.
async fn count(db: &Database) -> Result<(), StateError> {
    let (servers, tickets) = db
        .read("count_records", async |mut tx| {
            Ok::<_, StateError>((
                servers::totals(&mut tx, None).await?,
                tickets::totals(&mut tx, None).await?,
            ))
        })
        .await?;
    for state in (0..).map_while(|number| ServerState::try_from(number).ok()) {
        metrics::servers(state.into(), servers.get(&state).copied().unwrap_or(0));
    }
    for state in (0..).map_while(|number| TicketState::try_from(number).ok()) {
        metrics::tickets(state.into(), tickets.get(&state).copied().unwrap_or(0));
    }
    Ok(())
}

/// Does everything that is due at `now_ms`.
pub(super) async fn pass(db: &Database, settings: Settings, now_ms: u64) -> Result<(), StateError> {
    loop {
        let due = db.read("timers_due", async |mut tx| timers::due(&mut tx, now_ms, BATCH).await).await?;
        let found = due.len();
        for key in due {
            fire(db, &key, settings, now_ms).await?;
        }
        if found < BATCH {
            return Ok(());
        }
    }
}

async fn fire(db: &Database, key: &Bytes, settings: Settings, now_ms: u64) -> Result<(), StateError> {
    let Some((due_ms, timer)) = keyspace::split_timer(key) else {
        tracing::warn!(?key, "a timer of an unknown kind is dropped");
        return db
            .run("drop_timer", async |mut tx| {
                tx.clear(key);
                Ok(())
            })
            .await;
    };
    if let Timer::NodeLoss(node) = timer {
        // Many transactions: the timer goes only after the last.
        fail_lost_node(db, node, now_ms).await?;
    }
    db.run("fire_timer", async |mut tx| {
        tx.clear(key);
        let tx = &mut tx;
        match &timer {
            Timer::TicketExpiry(ticket) => crate::tickets::expire(tx, *ticket, now_ms).await,
            Timer::TicketRemoval(ticket) => {
                let keeps = Keeps { due_ms, now_ms, settings, timer: &timer };
                let record = tickets::load(tx, *ticket).await?;
                remove_ticket(tx, record, keeps).await
            }
            Timer::MatchDeadline(match_id) => {
                let fate = Fate::Fail(
                    "no_server",
                    "no server became ready for the match in time; muster fleet ls says what the fleet waits for",
                );
                dissolve(tx, *match_id, fate, now_ms).await.map(drop)
            }
            Timer::MatchRemoval(match_id) => {
                let keeps = Keeps { due_ms, now_ms, settings, timer: &timer };
                let record = matches::load(tx, *match_id).await?;
                remove_match(tx, record, keeps).await
            }
            Timer::DrainDeadline(server) => pass_drain_deadline(tx, *server, now_ms).await,
            Timer::ServerRemoval(server) => {
                let keeps = Keeps { due_ms, now_ms, settings, timer: &timer };
                let record = servers::load(tx, *server).await?;
                remove_server(tx, record, keeps).await
            }
            Timer::NodeLoss(_) => Ok(()),
            Timer::FleetRetry(namespace, fleet) => {
                fleets::touch(tx, namespace, fleet);
                Ok(())
            }
            Timer::PortRelease(region, protocol, port) => {
                ports::release(tx, region, *protocol, *port, now_ms).await
            }
        }
    })
    .await
}

/// A removal that may not be due yet: removals are set for the end itself, and moved on from there.
#[derive(Clone, Copy)]
struct Keeps<'a> {
    due_ms: u64,
    now_ms: u64,
    settings: Settings,
    timer: &'a Timer,
}

impl Keeps<'_> {
    /// Moves the timer on if what ended at `ended_ms` is still to be kept. Returns whether it is.
    fn on(self, tx: &mut Transaction, ended_ms: u64, too_many: bool) -> bool {
        let until_ms = ended_ms.saturating_add(self.settings.retention_ms);
        let keep = !too_many && until_ms > self.now_ms && until_ms != self.due_ms;
        if keep {
            timers::set(tx, until_ms, self.timer);
        }
        keep
    }
}

async fn remove_ticket(
    tx: &mut Transaction,
    record: Option<TicketRecord>,
    keeps: Keeps<'_>,
) -> Result<(), StateError> {
    let Some(record) = record.filter(|record| record.ended_at_ms > 0) else { return Ok(()) };
    let totals = tickets::totals(tx, Some(&record.namespace)).await?;
    let ended: u32 = totals.iter().filter(|(state, _)| state.is_final()).map(|(_, number)| number).sum();
    if !keeps.on(tx, record.ended_at_ms, ended > MAX_ENDED_TICKETS) {
        tickets::remove(tx, &record);
    }
    Ok(())
}

async fn remove_match(
    tx: &mut Transaction,
    record: Option<MatchRecord>,
    keeps: Keeps<'_>,
) -> Result<(), StateError> {
    let Some(record) = record.filter(|record| record.ended_at_ms > 0) else { return Ok(()) };
    if keeps.on(tx, record.ended_at_ms, false) {
        return Ok(());
    }
    for ticket in record.seats.iter().filter_map(|seat| seat.ticket).map(Id::typed) {
        if let Some(ticket) = tickets::load(tx, ticket).await?
            && ticket.state() == TicketState::Assigned
        {
            tickets::remove(tx, &ticket);
        }
    }
    matches::remove(tx, record.typed_id());
    Ok(())
}

async fn remove_server(
    tx: &mut Transaction,
    record: Option<ServerRecord>,
    keeps: Keeps<'_>,
) -> Result<(), StateError> {
    let Some(record) = record.filter(|record| record.state().is_final()) else { return Ok(()) };
    let ended_ms = record.entered_ms(record.state()).unwrap_or_default();
    let totals = servers::totals(tx, Some(&record.namespace)).await?;
    let ended = |state| totals.get(&state).copied().unwrap_or_default();
    let too_many = ended(ServerState::Stopped) + ended(ServerState::Failed) > MAX_ENDED_SERVERS;
    if !keeps.on(tx, ended_ms, too_many) {
        servers::remove(tx, &record);
    }
    Ok(())
}
