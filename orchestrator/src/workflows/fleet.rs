//! The workflow of one fleet: has as many servers as are wanted, where they are wanted, of the pod that is
//! wanted.
//!
//! Whatever changes the fleet or a server of it nudges it. A look is one transaction: it compares records
//! and acts, as far as one transaction should go, and looks again if more is to be done. The lease sees to
//! it that no two look at once.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_protocol::id::{MatchId, ServerId, ServerMark};
use muster_store::Transaction;

use crate::lifecycle::fleet::{self, Member, Plan, Standing};
use crate::lifecycle::machine::Event as ServerEvent;
use crate::lifecycle::{backoff, happen};
use crate::matchmaking::{Fate, Served, dissolve, serve_waiting};
use crate::random;
use crate::records::{FleetHealthRecord, FleetRecord, Pod, ServerRecord, ServerState, StateEntry};
use crate::state::servers::Live;
use crate::state::{StateError, fleets, health, matches, servers};

/// Matches served, servers stopped and matches dissolved in one look.
const BATCH: usize = 32;
/// The timer of the next attempt after servers failed.
const RETRY_TIMER: &str = "retry";

/// Keeps fleets.
pub(crate) struct Fleet;

impl Kind for Fleet {
    const KIND: &'static str = fleets::WORKFLOW;
    // A fleet is never given up: what keeps it from being looked at may be mended without anybody knowing.
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    const RETENTION: Duration = Duration::ZERO;
    type Input = ();
    type Signal = ();
}

impl Machine for Fleet {
    /// All there is to know is on record.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        if matches!(event, Event::Cancel) {
            // It ends when the fleet is deleted; the API says so.
            return Ok(());
        }
        let address = cx.address().clone();
        let now_ms = cx.now_ms();
        let looked = look(cx.tx(), address.namespace(), address.key(), now_ms).await?;
        match looked.retry_at_ms {
            Some(at_ms) => cx.set_timer(RETRY_TIMER, at_ms)?,
            None => cx.cancel_timer(RETRY_TIMER),
        }
        if looked.more {
            cx.again();
        }
        cx.waiting_for(&looked.waits_for());
        if looked.gone {
            cx.finish(&())?;
        }
        Ok(())
    }
}

/// What a look found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// More is to be done.
    more: bool,
    /// There is no such fleet any more.
    gone: bool,
    /// Servers fail; nothing is started before this.
    retry_at_ms: Option<u64>,
    /// Servers on their way to be ready.
    coming: usize,
    /// Matches that wait for a server.
    waiting: usize,
}

impl Looked {
    fn waits_for(&self) -> String {
        match (self.retry_at_ms, self.coming, self.waiting) {
            (Some(_), _, _) => "the next attempt, since its servers fail; see muster fleet ls".to_owned(),
            (None, 0, 0) => "a change of the fleet or of one of its servers".to_owned(),
            (None, coming, waiting) => {
                format!("{coming} servers to become ready, for {waiting} matches that wait")
            }
        }
    }
}

impl From<StateError> for Failure {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Store(error) => Self::Store(error),
            corrupt @ (StateError::Corrupt { .. } | StateError::Newer { .. }) => {
                Self::Because(corrupt.to_string())
            }
        }
    }
}

/// Compares the fleet with what is wanted, and acts.
pub(crate) async fn look(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    now_ms: u64,
) -> Result<Looked, StateError> {
    let Served { more, .. } = serve_waiting(tx, namespace, name, BATCH, now_ms).await?;
    let found = compare_and_create(tx, namespace, name, now_ms).await?;
    let mut looked = Looked { more, ..found.looked };
    looked.more |=
        [found.stop.len(), found.drain.len(), found.dissolve.len()].iter().any(|count| *count > BATCH);
    for (server, reason) in found.stop.iter().take(BATCH) {
        // Seen without conflict: it may have been claimed since.
        let seen = servers::load(tx, *server).await?;
        if seen.is_some_and(|record| record.state().is_unclaimed()) {
            happen(tx, *server, &ServerEvent::Stop { reason }, now_ms).await?;
        }
    }
    for server in found.drain.iter().take(BATCH) {
        happen(tx, *server, &ServerEvent::Drain { reason: "fleet_deleted" }, now_ms).await?;
    }
    for match_id in found.dissolve.iter().take(BATCH) {
        dissolve(tx, *match_id, Fate::Search, now_ms).await?;
    }
    if looked.gone {
        tracing::info!(namespace, fleet = name, "fleet deleted");
    }
    Ok(looked)
}

/// What one look at a fleet found to do beyond creating servers, which it did.
#[derive(Default)]
struct Found {
    stop: Vec<(ServerId, &'static str)>,
    drain: Vec<ServerId>,
    dissolve: Vec<MatchId>,
    looked: Looked,
}

async fn compare_and_create(
    tx: &mut Transaction,
    namespace: &str,
    name: &str,
    now_ms: u64,
) -> Result<Found, StateError> {
    let mut found = Found::default();
    let Some(record) = fleets::load(tx, namespace, name).await? else {
        found.looked.gone = true;
        return Ok(found);
    };
    let live = servers::live(tx, namespace, name).await?;
    let waiting = matches::waiting(tx, namespace, name).await?;
    let healths = health::of_fleet(tx, namespace, name).await?;
    if record.deleting && live.is_empty() && waiting.is_empty() {
        fleets::remove(tx, namespace, name);
        found.looked.gone = true;
        return Ok(found);
    }
    let regions: std::collections::BTreeSet<&String> =
        record.regions.keys().chain(live.iter().map(|server| &server.region)).collect();
    found.looked.coming = live.iter().filter(|server| server.state.is_coming()).count();
    found.looked.waiting = waiting.len();
    for region in regions {
        let standing = standing(&record, region, &live, &waiting, &healths, now_ms);
        let plan = fleet::plan(&standing, now_ms);
        carry_out(tx, &record, region, plan, &mut found, now_ms);
    }
    for (region, match_id) in &waiting {
        if record.deleting || !record.regions.contains_key(region) {
            found.dissolve.push(*match_id);
        }
    }
    Ok(found)
}

fn standing(
    record: &FleetRecord,
    region: &str,
    live: &[Live],
    waiting: &[(String, MatchId)],
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
    let looked = &mut found.looked;
    looked.more |= plan.more;
    looked.retry_at_ms = looked.retry_at_ms.into_iter().chain(plan.retry_at_ms).min();
    found.stop.extend(plan.stop);
    found.drain.extend(plan.drain);
}

fn new_server(record: &FleetRecord, region: &str, pod: &Pod, now_ms: u64) -> ServerRecord {
    ServerRecord {
        id: Some(random::id::<ServerMark>().into()),
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
