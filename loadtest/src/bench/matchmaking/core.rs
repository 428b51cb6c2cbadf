//! Matchmaking's pure core: what forming costs per ticket while many others wait.
//!
//! A pool of so many tickets that search, 5 against 5 with skill, latency and parties; then, round after round, as
//! many come as were matched, so that the pool stays as it is. Nothing is written: what durability and the API
//! cost is not in these figures.

use std::time::{Duration, Instant};

use muster_matchmaker::{Player, Pool, Queue, Ticket, TicketKey};
use muster_protocol::api::PartyMember;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::population;
use crate::bench::figures::Figure;
use crate::harness::steps::Steps;

/// Tickets that wait, by run.
const POOLS: [u128; 3] = [1_000, 10_000, 100_000];
/// Matches of one round.
const ROUND: usize = 50;
/// How long one pool is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Simulated time between two rounds, in milliseconds.
const TICK_MS: u64 = 100;
/// What one pool showed.
struct Measured {
    tickets_per_s: f64,
    bytes_per_ticket: f64,
    quality: f64,
}

/// Measures the core at every size of pool.
pub(super) async fn run(steps: &mut Steps) -> anyhow::Result<Vec<Figure>> {
    let mut measured = Vec::new();
    for pool in POOLS {
        let text = format!("core: {pool} tickets that wait");
        measured.push(steps.run(&format!("pool_{pool}"), &text, async { measure(pool) }).await?);
    }
    let [small, middle, large] = measured.as_slice() else { anyhow::bail!("a pool was not measured") };
    Ok(vec![
        Figure::alone("mm.core_tickets_per_s", large.tickets_per_s, "1/s"),
        Figure::alone("mm.growth_100k_over_1k", small.tickets_per_s / large.tickets_per_s, "x"),
        Figure::alone("mm.growth_10k_over_1k", small.tickets_per_s / middle.tickets_per_s, "x"),
        Figure::alone("mm.bytes_per_ticket", large.bytes_per_ticket, "B"),
        Figure::alone("mm.core_quality", large.quality, "of 1"),
    ])
}

fn measure(waiting: TicketKey) -> anyhow::Result<Measured> {
    let queue = Queue::compile(&population::queue("five-a-side", "arena"))?;
    let mut random = StdRng::seed_from_u64(1);
    let offers = population::offers();
    let before = resident_bytes();
    let (mut pool, mut key, mut now_ms) = (Pool::new(queue.clone()), 0, 1_000_000_000);
    while key < waiting {
        key += 1;
        pool.insert(ticket(&queue, key, now_ms, &mut random))?;
    }
    let bytes_per_ticket = resident_bytes().saturating_sub(before) as f64 / waiting as f64;
    let (mut matched, mut matches, mut quality, mut spent) = (0usize, 0usize, 0.0, Duration::ZERO);
    let began = Instant::now();
    while began.elapsed() < MEASURED {
        now_ms += TICK_MS;
        let came: Vec<Ticket> = (pool.len()..waiting as usize)
            .map(|_| {
                key += 1;
                ticket(&queue, key, now_ms, &mut random)
            })
            .collect();
        let round = Instant::now();
        for ticket in came {
            pool.insert(ticket)?;
        }
        let formed = pool.form(now_ms, &offers, ROUND);
        spent += round.elapsed();
        matches += formed.len();
        matched += formed.iter().map(|made| made.members.len()).sum::<usize>();
        quality += formed.iter().map(|made| made.quality).sum::<f64>();
    }
    anyhow::ensure!(matches > 0, "nobody was matched in a pool of {waiting}");
    Ok(Measured {
        tickets_per_s: matched as f64 / spent.as_secs_f64(),
        bytes_per_ticket,
        quality: quality / matches as f64,
    })
}

/// What a request asks for, as the core takes it.
fn ticket(queue: &Queue, key: TicketKey, now_ms: u64, random: &mut StdRng) -> Ticket {
    let request = population::request("", key as u64, random);
    let alone = PartyMember { player: request.player, attributes: request.attributes };
    let players = std::iter::once(alone).chain(request.party).map(|member| Player {
        name: member.player,
        attributes: queue.attributes(&member.attributes).expect("the queue declares it"),
    });
    Ticket { latencies_ms: request.latencies_ms, ..Ticket::new(key, players.collect(), now_ms) }
}

/// Resident memory of this process; 0 where it cannot be told.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}
