//! The matchmaker killed in the middle of its work: `kill -9` of the orchestrator, again and again, while tickets come.
//!
//! What was acknowledged is counted by the players, and held against what the store has at the end: a ticket that is not
//! there is lost, one in two matches is double, and so is a server of two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::ensure;
use muster_client::Client;
use muster_orchestrator::records::{MatchRecord, MatchState, TicketRecord, TicketState};
use muster_orchestrator::state::kv;
use muster_orchestrator::{Database, OpenOptions, keyspace};
use muster_protocol::api::{self, TicketRequest};
use muster_protocol::id::{MatchId, ServerId, TicketId};
use muster_transport::Backoff;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::population;
use crate::bench::figures::Figure;
use crate::bench::{BenchOptions, stand_in};
use crate::harness::stack::{REGION, Stack, StackOptions};
use crate::harness::steps::Steps;
use crate::latency::Latencies;

/// Kills of the orchestrator, which has every queue.
const KILLS: u64 = 20;
/// Tickets that come in a second.
const RATE: u64 = 500;
/// Time before the first kill and after the last, in which nothing goes wrong.
const CALM_S: u64 = 10;
/// Between two kills: long enough to be at work again, so that what one costs is not added to the next's.
const BETWEEN_MS: std::ops::Range<u64> = 4_000..6_000;
/// How long players wait for a match, in seconds, and ask again while nobody answers.
const PATIENCE: Duration = Duration::from_mins(1);
/// Pauses of a client that got no answer, the first and the longest, as an SDK's.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(800));
/// Servers kept warm, of those there may be; games end by themselves, for nobody plays.
const SERVERS: (u32, u32) = (500, 5_000);
/// How long the orchestrator may take to stop at the end, before its store is looked into.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// Rows of the store read in one transaction.
const PAGE: usize = 2_000;
/// Behind the last key that the store takes.
const END: [u8; 1] = [0xfe];
/// Name of queue and fleet.
const NAME: &str = "any-ten";

/// What players were told.
#[derive(Default)]
struct Ledger {
    /// Acknowledged, and the match each was told of.
    tickets: BTreeMap<TicketId, Option<MatchId>>,
    /// From acknowledgement to assignment, of those that came while all was calm, and of the others.
    calm: Latencies,
    crashing: Latencies,
}

pub(super) async fn run(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let stack_options = StackOptions::new(options.muster.clone(), options.out.join("run-matchmaking-crash"));
    let mut stack = Stack::start_orchestrator(stack_options, steps).await?;
    let address = stack.link_address();
    let _edge = stand_in::edge(&stack.admin, &address, REGION, "edge").await?;
    let _agent = stand_in::agent(&stack.admin, &address, REGION, "node").await?;
    stack.studio.create_build(&stand_in::build()).await?;
    let (warm, max) = SERVERS;
    let mut fleet = stand_in::fleet(NAME, &[REGION], warm, max);
    fleet.timeouts.idle_s = 10;
    steps.run("warm_crash", "crash: servers to ready, by a stand-in", stack.apply_fleet(&fleet)).await?;
    stack.apply_queue(&population::open_queue(NAME, NAME)).await?;

    let ledger = Arc::new(Mutex::new(Ledger::default()));
    let text = format!("crash: {KILLS} kills while {RATE} tickets a second come");
    steps.run("crash", &text, live(&mut stack, &ledger)).await?;
    let store = stack.dir().join("state/orchestrator/store.redb");
    stack.orchestrators[0].stop(STOP_GRACE).await?;
    let ledger = std::mem::take(&mut *ledger.lock().expect("nobody panicked with it"));
    let judged = steps.run("judge", "crash: what the store has", judge(&store, &ledger)).await?;
    let ms = |us: u64| us as f64 / 1_000.0;
    let (calm, crashing) = (ms(ledger.calm.percentile(99.0)), ms(ledger.crashing.percentile(99.0)));
    Ok(vec![
        Figure::alone("mm.crash_lost", judged.lost as f64, "1"),
        Figure::alone("mm.crash_double", judged.double as f64, "1"),
        Figure::alone("mm.crash_tickets", ledger.tickets.len() as f64, "1"),
        Figure::alone("mm.crash_assigned", judged.assigned as f64, "1"),
        Figure::alone("mm.crash_wait_p99_ms", crashing, "ms"),
        Figure::alone("mm.crash_wait_added_p99_ms", crashing - calm, "ms"),
    ])
}

/// Tickets come, the orchestrator is killed and started again.
async fn live(stack: &mut Stack, ledger: &Arc<Mutex<Ledger>>) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(11);
    let seconds = 2 * CALM_S + KILLS * (BETWEEN_MS.end + BETWEEN_MS.start) / 2_000;
    let mut players = JoinSet::new();
    let began = tokio::time::Instant::now();
    let calm_until = began + Duration::from_secs(CALM_S);
    for number in 0..RATE * seconds {
        let at = began + Duration::from_micros(number * 1_000_000 / RATE);
        let idempotency_key = Some(number.to_string());
        let request = TicketRequest { idempotency_key, ..population::request(NAME, number, &mut random) };
        let request = TicketRequest { latencies_ms: BTreeMap::new(), ..request };
        let (client, ledger) = (stack.player.clone(), Arc::clone(ledger));
        players.spawn(async move {
            sleep_until(at).await;
            play(&client, &request, at < calm_until, &ledger).await;
        });
    }
    sleep_until(calm_until).await;
    for _ in 0..KILLS {
        sleep(Duration::from_millis(random.random_range(BETWEEN_MS))).await;
        stack.orchestrators[0].kill9().await?;
        stack.orchestrators[0].restart()?;
    }
    stack.wait_for_orchestrator(0).await?;
    players.join_all().await;
    Ok(())
}

/// One player's ticket, asked for until it is acknowledged, and followed until it is over.
async fn play(client: &Client, request: &TicketRequest, is_calm: bool, ledger: &Mutex<Ledger>) {
    let began = Instant::now();
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut ticket = loop {
        match client.create_ticket(request).await {
            Ok(ticket) => break ticket,
            Err(_) if began.elapsed() < PATIENCE => sleep(backoff.next(rand::random())).await,
            // Never acknowledged: nothing was promised.
            Err(_) => return,
        }
    };
    let taken = Instant::now();
    backoff.reset();
    ledger.lock().expect("nobody panics with it").tickets.insert(ticket.id, None);
    while !ticket.state.is_final() && taken.elapsed() < PATIENCE {
        match client.wait_ticket(&ticket.id, ticket.state, PATIENCE.as_secs() as u32).await {
            Ok(now) => {
                ticket = now;
                backoff.reset();
            }
            Err(_) => sleep(backoff.next(rand::random())).await,
        }
    }
    let Some(at) = ticket.assignment.filter(|_| ticket.state == api::TicketState::Assigned) else { return };
    let mut ledger = ledger.lock().expect("nobody panics with it");
    ledger.tickets.insert(ticket.id, Some(at.match_id));
    let waited = taken.elapsed().as_micros() as u64;
    if is_calm { ledger.calm.record(waited) } else { ledger.crashing.record(waited) }
}

#[derive(Default)]
struct Judged {
    lost: usize,
    double: usize,
    assigned: usize,
}

/// Holds what the players were told against the records.
async fn judge(store: &std::path::Path, ledger: &Ledger) -> anyhow::Result<Judged> {
    let db = Database::open(store, OpenOptions::default())?;
    let (mut matches, mut tickets) =
        (BTreeMap::<MatchId, MatchRecord>::new(), BTreeMap::<TicketId, TicketRecord>::new());
    let mut from = Vec::new();
    loop {
        let page =
            db.read("judge", async |mut tx| tx.snapshot_get_range(&from, &END, PAGE, false).await).await?;
        let Some((last, _)) = page.last() else { break };
        from = [last.as_ref(), &[0]].concat();
        for (key, value) in page {
            match keyspace::Prefix::of(&key) {
                Some(keyspace::Prefix::Match) => {
                    let record: MatchRecord = kv::decode(&key, &value)?;
                    matches.insert(record.typed_id(), record);
                }
                Some(keyspace::Prefix::Ticket) => {
                    let record: TicketRecord = kv::decode(&key, &value)?;
                    tickets.insert(record.typed_id(), record);
                }
                _ => {}
            }
        }
    }
    db.shutdown().await;
    let mut judged = Judged::default();
    let (mut seated, mut hosting) = (BTreeSet::<TicketId>::new(), BTreeSet::<ServerId>::new());
    for record in matches.values().filter(|record| record.state() != MatchState::Dissolved) {
        judged.double += record.tickets().into_iter().filter(|ticket| !seated.insert(*ticket)).count();
        judged.double += record.server_id().into_iter().filter(|server| !hosting.insert(*server)).count();
    }
    for (id, told) in &ledger.tickets {
        match (tickets.get(id), told) {
            (None, _) => judged.lost += 1,
            (Some(record), Some(told)) if record.match_id() != Some(*told) => judged.double += 1,
            (Some(record), _) => judged.assigned += usize::from(record.state() == TicketState::Assigned),
        }
    }
    ensure!(judged.assigned > 0, "nobody was matched");
    Ok(judged)
}
