//! Fleets: has as many servers as are wanted, where they are wanted, of the pod that is wanted.
//!
//! Driven by marks: whatever changes a fleet or a server of it marks the fleet, and the loop looks at
//! marked fleets. Every so often it looks at all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_protocol::id::ServerId;
use muster_store::{Database, Transaction, Watch};
use tokio_util::sync::CancellationToken;

use crate::keyspace::{self, Timer};
use crate::lifecycle::fleet::{self, Member, Plan, Standing};
use crate::lifecycle::machine::Event;
use crate::lifecycle::{backoff, happen};
use crate::matchmaking::{Fate, assign_waiting, dissolve};
use crate::records::{FleetHealthRecord, FleetRecord, Pod, ServerRecord, ServerState, StateEntry};
use crate::state::servers::Live;
use crate::state::{StateError, fleets, health, kv, matches, servers, timers};
use crate::{clock, metrics, wake};

/// Looks at every fleet after this, marked or not.
const FULL_PASS: Duration = Duration::from_secs(30);
/// Looks for marks after this even if nothing was watched to change.
const TICK: Duration = Duration::from_secs(5);
/// Marked fleets taken at a time.
const MAX_DIRTY: usize = 256;
/// Fleets read in one transaction of a full pass.
const PAGE: usize = 256;
/// Servers stopped, and matches dissolved, in one transaction.
const BATCH: usize = 32;

/// Runs until `shutdown`.
pub(super) async fn run(db: Database, shutdown: CancellationToken) {
    let mut last_full: Option<Instant> = None;
    loop {
        let began = Instant::now();
        let full = last_full.is_none_or(|at| at.elapsed() >= FULL_PASS);
        let (watches, tick) = match pass(&db, full, clock::now_ms()).await {
            Ok(watch) => {
                if full {
                    last_full = Some(Instant::now());
                }
                (vec![watch], TICK)
            }
            Err(error) => {
                tracing::warn!(%error, "fleet pass failed");
                (Vec::new(), wake::AFTER_FAILURE)
            }
        };
        metrics::pass("fleets", began.elapsed());
        if !wake::breathe_and_sleep(&shutdown, began, watches, tick).await {
            return;
        }
    }
}

/// One pass over marked fleets, or over all. The watch fires on the next mark.
pub(super) async fn pass(db: &Database, full: bool, now_ms: u64) -> Result<Watch, StateError> {
    let watch = db.watch(&keyspace::dirty_revision()).await?;
    if full {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page =
                db.read("fleets", async |mut tx| fleets::page(&mut tx, after.as_deref(), PAGE).await).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.to_vec());
            for (_, record) in page {
                look_at(db, &record.namespace, &record.name, now_ms).await;
            }
        }
    }
    loop {
        let keys = db
            .read("fleets_dirty", async |mut tx| {
                kv::scan_keys(&mut tx, &keyspace::fleets_dirty(), MAX_DIRTY).await
            })
            .await?;
        let found = keys.len();
        for key in keys {
            // The mark goes first: what happens from here on marks again.
            db.run("fleet_mark", async |mut tx| {
                tx.clear(&key);
                Ok::<_, StateError>(())
            })
            .await?;
            if let Some((namespace, fleet)) = keyspace::split_fleet_dirty(&key) {
                look_at(db, &namespace, &fleet, now_ms).await;
            }
        }
        if found < MAX_DIRTY {
            return Ok(watch);
        }
    }
}

/// Reconciles one fleet. A failure concerns it alone: it is logged, and the next full pass comes by.
async fn look_at(db: &Database, namespace: &str, name: &str, now_ms: u64) {
    if let Err(error) = reconcile(db, namespace, name, now_ms).await {
        tracing::warn!(namespace, fleet = name, %error, "cannot reconcile fleet");
    }
}

/// What one look at a fleet found to do beyond creating servers, which it did.
#[derive(Default)]
struct Found {
    stop: Vec<(ServerId, &'static str)>,
    drain: Vec<ServerId>,
    dissolve: Vec<muster_protocol::id::MatchId>,
    gone: bool,
}

/// Compares a fleet with what is wanted and acts.
async fn reconcile(db: &Database, namespace: &str, name: &str, now_ms: u64) -> Result<(), StateError> {
    assign_waiting(db, namespace, name, now_ms).await?;
    let found = db
        .run("reconcile_fleet", async |mut tx| compare_and_create(&mut tx, namespace, name, now_ms).await)
        .await?;
    if found.gone {
        tracing::info!(namespace, fleet = name, "fleet deleted");
    }
    for batch in found.stop.chunks(BATCH) {
        db.run("stop_servers", async |mut tx| {
            for (server, reason) in batch {
                // Seen without conflict: it may have been claimed since.
                let seen = servers::load(&mut tx, *server).await?;
                if seen.is_some_and(|record| record.state().is_unclaimed()) {
                    happen(&mut tx, *server, &Event::Stop { reason }, now_ms).await?;
                }
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    for batch in found.drain.chunks(BATCH) {
        db.run("drain_servers", async |mut tx| {
            for server in batch {
                happen(&mut tx, *server, &Event::Drain { reason: "fleet_deleted" }, now_ms).await?;
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    for batch in found.dissolve.chunks(BATCH) {
        db.run("dissolve_matches", async |mut tx| {
            for match_id in batch {
                dissolve(&mut tx, *match_id, Fate::Search, now_ms).await?;
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    Ok(())
}

async fn compare_and_create(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    now_ms: u64,
) -> Result<Found, StateError> {
    let mut found = Found::default();
    let Some(record) = fleets::load(tx, namespace, name).await? else { return Ok(found) };
    let live = servers::live(tx, namespace, name).await?;
    let waiting = matches::waiting(tx, namespace, name).await?;
    let healths = health::of_fleet(tx, namespace, name).await?;
    if record.deleting && live.is_empty() && waiting.is_empty() {
        guard(tx, namespace, name).await?;
        fleets::remove(tx, namespace, name);
        found.gone = true;
        return Ok(found);
    }
    let regions: std::collections::BTreeSet<&String> =
        record.regions.keys().chain(live.iter().map(|server| &server.region)).collect();
    let mut creates = false;
    for region in regions {
        let standing = standing(&record, region, &live, &waiting, &healths, now_ms);
        let plan = fleet::plan(&standing, now_ms);
        creates |= plan.create > 0;
        carry_out(tx, &record, region, plan, &mut found, now_ms);
    }
    for (region, match_id) in &waiting {
        if record.deleting || !record.regions.contains_key(region) {
            found.dissolve.push(*match_id);
        }
    }
    if creates {
        guard(tx, namespace, name).await?;
    }
    Ok(found)
}

/// Servers are counted without conflict, so that claims do not disturb a pass. This makes passes over the
/// same fleet conflict with each other, so that two orchestrators do not both create what is missing.
async fn guard(tx: &mut Transaction, namespace: &str, name: &str) -> Result<(), StateError> {
    let key = keyspace::fleet_pass(namespace, name);
    tx.get(&key).await?;
    kv::bump(tx, &key);
    Ok(())
}

fn standing(
    record: &FleetRecord,
    region: &str,
    live: &[Live],
    waiting: &[(String, muster_protocol::id::MatchId)],
    healths: &BTreeMap<String, FleetHealthRecord>,
    now_ms: u64,
) -> Standing {
    let members: Vec<Member> = live
        .iter()
        .filter(|server| server.region == region)
        .map(|server| Member {
            id: server.id,
            state: server.state,
            current: server.pod_version == record.pod_version,
        })
        .collect();
    let health = healths.get(region).filter(|health| backoff::is_failing(health, record.pod_version, now_ms));
    let proven = members.iter().any(|member| member.current && member.state == ServerState::Ready);
    Standing {
        target: record.regions.get(region).copied(),
        deleting: record.deleting,
        waiting: waiting.iter().filter(|(at, _)| at == region).count() as u32,
        retry_at_ms: health.map_or(0, |health| health.retry_at_ms),
        failing: health.is_some() && !proven,
        members,
    }
}

fn carry_out(
    tx: &mut Transaction,
    record: &FleetRecord,
    region: &str,
    plan: Plan,
    found: &mut Found,
    now_ms: u64,
) {
    let pod = record.pod.clone().unwrap_or_default();
    for _ in 0..plan.create {
        servers::create(tx, &new_server(record, region, &pod, now_ms), &pod);
    }
    if plan.more {
        fleets::touch(tx, &record.namespace, &record.name);
    }
    if let Some(at_ms) = plan.retry_at_ms {
        timers::set(tx, at_ms, &Timer::FleetRetry(record.namespace.clone(), record.name.clone()));
    }
    found.stop.extend(plan.stop);
    found.drain.extend(plan.drain);
}

fn new_server(record: &FleetRecord, region: &str, pod: &Pod, now_ms: u64) -> ServerRecord {
    ServerRecord {
        id: Some(ServerId::new().into()),
        namespace: record.namespace.clone(),
        fleet: record.name.clone(),
        region: region.to_owned(),
        pod_version: record.pod_version,
        build_digest: pod.build_digest.clone(),
        state: ServerState::Pending.into(),
        entered: vec![StateEntry { state: ServerState::Pending.into(), at_ms: now_ms }],
        ports: pod.ports.clone(),
        cpu_millis: pod.cpu_millis,
        memory_bytes: pod.memory_bytes,
        idle_s: pod.idle_s,
        drain_s: pod.drain_s,
        ..Default::default()
    }
}
