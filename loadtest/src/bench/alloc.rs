//! Allocations per second through the public API, on the embedded store.
//!
//! The orchestrator is the real program, with fsync before every answer. Agents and edge are
//! [stand-ins](super::stand_in), because thousands of warm servers would be thousands of containers.
//! What is measured is a claim as a studio's backend makes it: HTTP request in, committed claim out.
//! The clients run on the same machine and take their part of its cores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use muster_client::Client;
use muster_protocol::api::{AllocateRequest, FleetSpec};
use muster_protocol::problem::ProblemCode;
use tokio::task::JoinSet;

use super::figures::{Figure, Figures};
use super::{BenchOptions, stand_in};
use crate::harness::stack::{REGION, Stack, StackOptions};
use crate::harness::steps::Steps;
use crate::harness::wait::{Look, until};
use crate::latency::Latencies;

/// Fleets with [`WARM`] servers each.
const FLEETS: u32 = 4;
/// Warm servers of each fleet.
const WARM: u32 = 1_000;
/// Nodes that stand in.
const NODES: u32 = 4;
/// Requests under way at a time.
const CLIENTS: u32 = 64;
/// Servers claimed in each measurement, of all that are warm.
const CLAIMS: u64 = 3_000;
/// How long all servers may take to be warm.
const WARM_DEADLINE: Duration = Duration::from_mins(5);

/// Runs the benchmark.
pub async fn run(options: &BenchOptions, steps: &mut Steps) -> anyhow::Result<Figures> {
    let stack_options = StackOptions::new(options.muster.clone(), options.out.join("run-alloc"));
    let stack = Stack::start_orchestrator(stack_options, steps).await?;
    let address = stack.link_address();
    let mut stand_ins = vec![stand_in::edge(&stack.admin, &address, REGION, "edge").await?];
    for node in 1..=NODES {
        stand_ins.push(stand_in::agent(&stack.admin, &address, REGION, &format!("node-{node}")).await?);
    }
    stack.studio.create_build(&stand_in::build()).await?;

    let total = FLEETS * WARM;
    // With `max` at the warm count a claim is not followed by a new server: the claim alone is measured.
    let text = format!("{total} servers to ready, by stand-ins");
    let began = Instant::now();
    steps.run("warm", &text, warm(&stack, &mut stand_ins, WARM)).await?;
    let warm_per_s = f64::from(total) / began.elapsed().as_secs_f64();
    let text = format!("{CLAIMS} claims by {CLIENTS} clients");
    let alone = steps.run("claim", &text, claim(&stack.studio)).await?;

    // Now every claim makes its fleet start another server, as in production.
    steps.run("refill", "fill up again", warm(&stack, &mut stand_ins, 4 * WARM)).await?;
    let text = format!("{CLAIMS} claims by {CLIENTS} clients, fleets refilling");
    let refilling = steps.run("claim_refilling", &text, claim(&stack.studio)).await?;
    for stand_in in &mut stand_ins {
        stand_in.check_alive().await?;
    }
    stack.stop(&[]).await?;

    let ms = |us: u64| us as f64 / 1_000.0;
    Ok(Figures::new(vec![
        Figure::alone("alloc.per_s", alone.per_s, "1/s"),
        Figure::alone("alloc.p50_ms", ms(alone.latencies.percentile(50.0)), "ms"),
        Figure::alone("alloc.p99_ms", ms(alone.latencies.percentile(99.0)), "ms"),
        Figure::alone("alloc.no_capacity", alone.no_capacity as f64, "1"),
        Figure::alone("alloc.refilling_per_s", refilling.per_s, "1/s"),
        Figure::alone("alloc.refilling_p50_ms", ms(refilling.latencies.percentile(50.0)), "ms"),
        Figure::alone("alloc.refilling_p99_ms", ms(refilling.latencies.percentile(99.0)), "ms"),
        Figure::alone("alloc.refilling_no_capacity", refilling.no_capacity as f64, "1"),
        Figure::alone("alloc.servers_to_ready_per_s", warm_per_s, "1/s"),
    ]))
}

fn fleet_name(number: u32) -> String {
    format!("bench-{number}")
}

fn fleet(number: u32, max: u32) -> FleetSpec {
    stand_in::fleet(&fleet_name(number), &[REGION], WARM, max)
}

async fn warm(stack: &Stack, stand_ins: &mut [stand_in::StandIn], max: u32) -> anyhow::Result<()> {
    for number in 0..FLEETS {
        stack.studio.apply_fleet(&fleet(number, max)).await?;
    }
    until("all servers to be ready", WARM_DEADLINE, async || {
        for stand_in in &mut *stand_ins {
            stand_in.check_alive().await?;
        }
        let mut seen = Vec::new();
        for number in 0..FLEETS {
            let status = stack.studio.fleet(&fleet_name(number)).await?;
            let region = status.regions.get(REGION).cloned().unwrap_or_default();
            if region.ready < WARM {
                seen.push(format!("{region:?} {:?}", status.waiting_for));
            }
        }
        Ok(if seen.is_empty() { Look::Holds(()) } else { Look::NotYet(seen.join("; ")) })
    })
    .await
}

struct Claimed {
    per_s: f64,
    latencies: Latencies,
    /// Answers that no server was free at that moment; asked again at once.
    no_capacity: u64,
}

/// Claims [`CLAIMS`] servers as fast as [`CLIENTS`] clients can.
async fn claim(client: &Client) -> anyhow::Result<Claimed> {
    let left = Arc::new(AtomicU64::new(CLAIMS));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let (client, left) = (client.clone(), Arc::clone(&left));
        clients.spawn(async move {
            let fleet = fleet_name(number % FLEETS);
            let (mut latencies, mut no_capacity) = (Latencies::default(), 0);
            let request = AllocateRequest { regions: Vec::new(), players: Vec::new(), data: None };
            while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
            {
                let asked = Instant::now();
                loop {
                    match client.allocate(&fleet, &request).await {
                        Ok(_) => break,
                        Err(error) if error.code() == Some(ProblemCode::NoCapacity) => no_capacity += 1,
                        Err(error) => return Err(error),
                    }
                }
                latencies.record(asked.elapsed().as_micros() as u64);
            }
            Ok((latencies, no_capacity))
        });
    }
    let mut claimed = Claimed { per_s: 0.0, latencies: Latencies::default(), no_capacity: 0 };
    while let Some(client) = clients.join_next().await {
        let (latencies, no_capacity) = client??;
        claimed.latencies.merge(&latencies);
        claimed.no_capacity += no_capacity;
    }
    claimed.per_s = CLAIMS as f64 / began.elapsed().as_secs_f64();
    Ok(claimed)
}
