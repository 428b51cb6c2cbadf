//! How good the core's matches are: in pools small enough to look at every match there could be, the best that is formed
//! beside the best there is.

use std::collections::BTreeMap;

use muster_matchmaker::{Player, Pool, Queue, Ticket, TicketKey};
use muster_protocol::api::{QueueSpec, Value};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::population::{self, REGIONS};
use crate::bench::figures::Figure;
use crate::harness::steps::Steps;

/// Pools looked at.
const POOLS: u64 = 500;
/// Tickets of a pool.
const TICKETS: std::ops::RangeInclusive<u128> = 4..=12;
/// Players of a match, in two teams: what every match among twelve tickets can be tried for.
const TEAM: u32 = 2;
/// When it is, in milliseconds.
const NOW_MS: u64 = 1_000_000_000;
/// Longest that a ticket has waited, in milliseconds: some are past the first relaxations.
const MAX_WAIT_MS: u64 = 20_000;

/// The best quality formed, against the best there is, on average over the pools in which there is a match.
pub(super) async fn run(steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let text = format!("core: matches of {POOLS} pools, beside the best there is");
    let (ours, best) = steps.run("quality", &text, async { measure() }).await?;
    Ok(vec![Figure::alone("mm.quality_vs_brute_force", ours, "of 1").against("brute force", best)])
}

fn measure() -> anyhow::Result<(f64, f64)> {
    let queue = Queue::compile(&queue())?;
    let (mut ours, mut best, mut there) = (0.0, 0.0, 0u32);
    for seed in 0..POOLS {
        let mut random = StdRng::seed_from_u64(seed);
        let count = random.random_range(TICKETS);
        let tickets: Vec<Ticket> = (1..=count).map(|key| ticket(&queue, key, &mut random)).collect();
        let mut pool = Pool::new(queue.clone());
        for ticket in &tickets {
            pool.insert(ticket.clone())?;
        }
        let made = pool.form(NOW_MS, &population::offers(), usize::MAX);
        let made = made.into_iter().map(|made| made.quality).max_by(f64::total_cmp);
        let Some(possible) = best_of_all(&queue, &tickets) else {
            anyhow::ensure!(made.is_none(), "pool {seed}: a match is formed that is none");
            continue;
        };
        there += 1;
        // Where none is formed although there is one, it counts as 0.
        ours += made.unwrap_or_default();
        best += possible;
    }
    anyhow::ensure!(there > 0, "there is a match in no pool");
    Ok((ours / f64::from(there), best / f64::from(there)))
}

/// The benchmark's queue with teams of [`TEAM`].
fn queue() -> QueueSpec {
    let mut spec = population::queue("two-a-side", "arena");
    for team in &mut spec.teams {
        (team.min, team.max) = (TEAM, TEAM);
    }
    spec
}

fn ticket(queue: &Queue, key: TicketKey, random: &mut StdRng) -> Ticket {
    let size = if random.random_bool(0.7) { 1 } else { TEAM };
    let skill: f64 = random.random_range(1_400.0..1_600.0);
    let players = (0..size).map(|member| {
        let number = Value::Number(skill + random.random_range(-20.0..20.0));
        let attributes = BTreeMap::from([("skill".to_owned(), number)]);
        let attributes = queue.attributes(&attributes).expect("the queue declares it");
        Player { name: format!("p{key}-{member}"), attributes }
    });
    let players: Vec<Player> = players.collect();
    let latencies_ms =
        REGIONS.iter().map(|region| ((*region).to_owned(), random.random_range(20..120))).collect();
    let entered_ms = NOW_MS - random.random_range(0..MAX_WAIT_MS);
    Ticket { latencies_ms, ..Ticket::new(key, players, entered_ms) }
}

/// The quality of the best match there is among `tickets`, by looking at all of them in all divisions and regions.
fn best_of_all(queue: &Queue, tickets: &[Ticket]) -> Option<f64> {
    let mut best: Option<f64> = None;
    for chosen in 1u32..1 << tickets.len() {
        let is_chosen = |at: usize| chosen >> at & 1 == 1;
        let members: Vec<&Ticket> =
            tickets.iter().enumerate().filter(|(at, _)| is_chosen(*at)).map(|(_, ticket)| ticket).collect();
        let players: usize = members.iter().map(|ticket| ticket.players.len()).sum();
        if players != 2 * TEAM as usize {
            continue;
        }
        for sides in 0u32..1 << members.len() {
            let teams: Vec<usize> = (0..members.len()).map(|at| (sides >> at & 1) as usize).collect();
            for region in REGIONS {
                if queue.allows(&members, &teams, region, NOW_MS).is_ok() {
                    let quality = queue.quality(&members, region, NOW_MS);
                    best = Some(best.map_or(quality, |best: f64| best.max(quality)));
                }
            }
        }
    }
    best
}
