//! Matchmaking's pure core: what forming costs per ticket while many others wait.
//!
//! A pool of so many tickets that search, 5 against 5 with skill, latency and parties; then, round after round, as
//! many come as were matched, so that the pool stays as it is. Nothing is written: what durability and the API
//! cost is not in these figures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use muster_matchmaker::{Offer, Player, Pool, Queue, Ticket, TicketKey};
use muster_protocol::api::{Priority, Value};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::BenchOptions;
use super::figures::{Figure, Figures};
use crate::harness::steps::Steps;

/// Tickets that wait, by run.
const POOLS: [u128; 3] = [1_000, 10_000, 100_000];
/// Matches of one round.
const ROUND: usize = 50;
/// How long one pool is measured.
const MEASURED: Duration = Duration::from_secs(5);
/// Simulated time between two rounds, in milliseconds.
const TICK_MS: u64 = 100;
/// 5 against 5, near in skill and not far away, both more loosely after a wait.
const QUEUE: &str = r#"
    name = "five-a-side"
    fleet = "arena"
    [attributes]
    skill = { kind = "number", default = 1500 }
    [[teams]]
    name = "side"
    count = 2
    min = 5
    max = 5
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 100
    expand = [{ after_s = 10, to = 200 }, { after_s = 30, to = 400 }]
    [[rules]]
    name = "fair"
    kind = "gap"
    attribute = "skill"
    most = 50
    [[rules]]
    name = "not laggy"
    kind = "latency"
    most = 80
    expand = [{ after_s = 15, to = 150 }]
"#;
const REGIONS: [&str; 4] = ["eu", "us-east", "us-west", "asia"];

/// What one pool showed.
struct Measured {
    tickets_per_s: f64,
    bytes_per_ticket: f64,
    quality: f64,
}

/// Runs the benchmark.
pub async fn run(_options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let mut measured = Vec::new();
    for pool in POOLS {
        let text = format!("{pool} tickets that wait");
        measured.push(steps.run(&format!("pool_{pool}"), &text, async { measure(pool) }).await?);
    }
    let [small, middle, large] = measured.as_slice() else { anyhow::bail!("a pool was not measured") };
    Ok(Figures::new(vec![
        Figure::alone("mm.core_tickets_per_s", large.tickets_per_s, "1/s"),
        Figure::alone("mm.core_growth_100k_over_1k", small.tickets_per_s / large.tickets_per_s, "x"),
        Figure::alone("mm.core_growth_10k_over_1k", small.tickets_per_s / middle.tickets_per_s, "x"),
        Figure::alone("mm.core_bytes_per_ticket", large.bytes_per_ticket, "B"),
        Figure::alone("mm.core_quality", large.quality, "of 1"),
    ]))
}

fn measure(waiting: TicketKey) -> anyhow::Result<Measured> {
    let queue = Queue::compile(&toml::from_str(QUEUE)?)?;
    let mut random = StdRng::seed_from_u64(1);
    let offers =
        REGIONS.map(|region| Offer { region: region.to_owned(), warm: u32::MAX, capacity: u32::MAX });
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

/// A party: seven of ten are alone, and its members are near to each other in skill.
fn ticket(queue: &Queue, key: TicketKey, now_ms: u64, random: &mut StdRng) -> Ticket {
    let size = match random.random_range(0..100) {
        0..70 => 1,
        70..90 => 2,
        90..97 => 3,
        _ => 5,
    };
    let skill: f64 = (0..6).map(|_| random.random_range(0.0..500.0)).sum();
    let players = (0..size).map(|number| {
        let own = Value::Number(skill + random.random_range(-20.0..20.0));
        let said = BTreeMap::from([("skill".to_owned(), own)]);
        let attributes = queue.attributes(&said).expect("the queue declares it");
        Player { name: format!("p{key}-{number}"), attributes }
    });
    let players = players.collect();
    let home = random.random_range(0..REGIONS.len());
    let latency = |at: usize, random: &mut StdRng| match at.abs_diff(home) {
        0 => random.random_range(10..60),
        1 => random.random_range(50..140),
        _ => random.random_range(120..260),
    };
    let latencies_ms =
        REGIONS.iter().enumerate().map(|(at, region)| ((*region).to_owned(), latency(at, random))).collect();
    let priority = Priority::Normal;
    Ticket { key, players, latencies_ms, entered_ms: now_ms, priority, filter: None, blocks: BTreeSet::new() }
}

/// Resident memory of this process; 0 where it cannot be told.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4_096
}
