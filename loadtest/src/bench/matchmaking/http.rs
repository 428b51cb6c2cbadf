//! Matchmaking through the public API: how many tickets a second it takes, and how long after its last needed ticket a
//! match has its server, as its players see it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use muster_client::Client;
use muster_protocol::api::{TicketRequest, TicketState};
use muster_protocol::id::MatchId;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::population;
use super::stage::Stage;
use crate::bench::figures::Figure;
use crate::harness::steps::Steps;
use crate::latency::Latencies;

/// Clients that ask as fast as they are answered.
const CLIENTS: u64 = 64;
/// How long those ask.
const ASKED: Duration = Duration::from_secs(5);
/// Tickets per second of the clients that wait for their match.
const RATE: u64 = 1_000;
/// How long these come.
const SECONDS: u64 = 10;
/// Warm servers in each region: more than there are matches.
const WARM: u32 = 1_000;
/// Players who come before it is measured, enough for some matches.
const BEFOREHAND: u64 = 50;
/// Longest that one may wait for its match; the last of all may find too few others.
const PATIENCE_S: u32 = 20;
/// Name of queue and fleet.
const NAME: &str = "any-ten";

pub(super) async fn run(stage: &mut Stage, steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let text = format!("{WARM} servers to ready in each region, by stand-ins");
    steps.run("warm_http", &text, stage.warm(NAME, WARM, WARM)).await?;
    stage.studio.apply_queue(&population::open_queue(NAME, NAME)).await?;
    steps.run("beforehand", "HTTP: first matches", beforehand(&stage.player)).await?;
    let text = format!("HTTP: {RATE} tickets a second, each waits for its server");
    let waits = steps.run("assign", &text, assign(&stage.player)).await?;
    stage.studio.pause_queue(NAME).await?;
    let text = format!("HTTP: tickets from {CLIENTS} clients");
    let per_s = steps.run("ask", &text, ask(&stage.player)).await?;
    stage.studio.delete_queue(NAME).await?;
    let ms = |us: u64| us as f64 / 1_000.0;
    Ok(vec![
        Figure::alone("mm.http_tickets_per_s", per_s, "1/s"),
        Figure::alone("mm.assign_p50_ms", ms(waits.percentile(50.0)), "ms"),
        Figure::alone("mm.assign_p99_ms", ms(waits.percentile(99.0)), "ms"),
        Figure::alone("mm.assign_matches", waits.len() as f64, "1"),
    ])
}

/// Tickets that the API takes in a second.
async fn ask(client: &Client) -> anyhow::Result<f64> {
    let (began, taken) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, taken) = (client.clone(), Arc::clone(&taken));
        clients.spawn(async move {
            let mut random = StdRng::seed_from_u64(number);
            while began.elapsed() < ASKED {
                let request = population::request(NAME, number, &mut random);
                client.create_ticket(&request).await?;
                taken.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(taken.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64())
}

/// Has the queue's matchmaker at its work before anything is measured.
async fn beforehand(client: &Client) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(3);
    // Dropped, and those with it who find nobody any more.
    let mut players = JoinSet::new();
    for number in 0..BEFOREHAND {
        let client = client.clone();
        let request = population::request(NAME, RATE * SECONDS + number, &mut random);
        players.spawn(async move { play(&client, &request).await });
    }
    while let Some(player) = players.join_next().await {
        if player??.1.is_some() {
            return Ok(());
        }
    }
    bail!("of {BEFOREHAND} players nobody was matched")
}

/// When a player's ticket was taken, and when its server was known, if it was.
type Seen = (Instant, Option<(MatchId, Instant)>);

/// From the last needed ticket to the assignment, for each match: the last of its members to hear of it counts.
async fn assign(client: &Client) -> anyhow::Result<Latencies> {
    let mut random = StdRng::seed_from_u64(7);
    let mut players = JoinSet::new();
    let began = tokio::time::Instant::now() + Duration::from_millis(100);
    for number in 0..RATE * SECONDS {
        let client = client.clone();
        let request = population::request(NAME, number, &mut random);
        let at = began + Duration::from_micros(number * 1_000_000 / RATE);
        players.spawn(async move {
            sleep_until(at).await;
            play(&client, &request).await
        });
    }
    let mut matches: BTreeMap<MatchId, (Instant, Instant)> = BTreeMap::new();
    while let Some(player) = players.join_next().await {
        let (taken, assigned) = player??;
        let Some((match_id, known)) = assigned else { continue };
        let (last, heard) = matches.entry(match_id).or_insert((taken, known));
        *last = (*last).max(taken);
        *heard = (*heard).max(known);
    }
    ensure!(!matches.is_empty(), "nobody was matched");
    let mut waits = Latencies::default();
    for (last, heard) in matches.into_values() {
        waits.record(heard.saturating_duration_since(last).as_micros() as u64);
    }
    Ok(waits)
}

async fn play(client: &Client, request: &TicketRequest) -> anyhow::Result<Seen> {
    let mut ticket = client.create_ticket(request).await?;
    let (taken, deadline) = (Instant::now(), Duration::from_secs(u64::from(PATIENCE_S)));
    while !ticket.state.is_final() {
        if taken.elapsed() >= deadline {
            client.cancel_ticket(&ticket.id).await?;
            return Ok((taken, None));
        }
        ticket = client.wait_ticket(&ticket.id, ticket.state, PATIENCE_S).await?;
    }
    ensure!(ticket.state == TicketState::Assigned, "a ticket is {:?}: {}", ticket.state, ticket.explanation);
    let at = ticket.assignment.context("an assigned ticket says where")?;
    Ok((taken, Some((at.match_id, Instant::now()))))
}
