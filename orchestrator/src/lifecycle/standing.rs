//! What keeps a fleet from what was asked, in words: read from the store without conflict.
//!
//! Everybody who waits for a server is told, and when servers are scarce those are many. So nothing is read that grows
//! with servers or with those who wait: numbers are, where they are kept.

use std::collections::BTreeSet;

use muster_store::Transaction;

use super::backoff;
use crate::records::{FleetHealthRecord, FleetRecord, RegionTarget, ServerRecord, ServerState};
use crate::state::regions::RegionMachines;
use crate::state::servers::StateCounts;
use crate::state::{StateError, fleets, health, matches, regions, servers};

/// What keeps a fleet from what was asked, in all its regions or in one; empty if nothing does.
pub async fn waiting_for(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
    region: Option<&str>,
    now_ms: u64,
) -> Result<Vec<String>, StateError> {
    let Some(record) = fleets::peek(tx, namespace, fleet).await? else {
        return Ok(vec![format!("fleet {fleet} does not exist; apply it")]);
    };
    if record.deleting {
        return Ok(vec![format!("fleet {fleet} is being deleted; it goes when its servers have ended")]);
    }
    let healths = health::of_fleet(tx, namespace, fleet).await?;
    let counts = servers::counts(tx, namespace, fleet).await?;
    let (mut obstacles, none) = (Vec::new(), StateCounts::new());
    for (name, target) in record.regions.iter().filter(|(name, _)| region.is_none_or(|one| one == *name)) {
        let here = counts.get(name).unwrap_or(&none);
        if !is_short(tx, &record, (name, *target), here).await? {
            continue;
        }
        let pending = match here.get(&ServerState::Pending) {
            Some(_) => servers::oldest_pending(tx, namespace, fleet, name).await?,
            None => None,
        };
        let live = here.iter().filter(|(state, _)| !state.is_final()).map(|(_, count)| *count).sum();
        let standing =
            Standing { target: *target, live, pending: pending.as_ref(), health: healths.get(name) };
        let machines = regions::of(tx, name).await?;
        obstacles.extend(of_region(&record, name, &standing, &machines, now_ms));
    }
    Ok(obstacles)
}

/// Whether a region has fewer servers ready than are to be warm and wanted by matches that wait.
async fn is_short(
    tx: &mut Transaction,
    fleet: &FleetRecord,
    (region, target): (&str, RegionTarget),
    here: &StateCounts,
) -> Result<bool, StateError> {
    let ready = here.get(&ServerState::Ready).copied().unwrap_or(0);
    let Some(spare) = ready.checked_sub(target.warm) else { return Ok(true) };
    let waiting =
        matches::count_waiting(tx, (&fleet.namespace, &fleet.name, region), spare.saturating_add(1)).await?;
    Ok(waiting > spare)
}

/// That servers fail in a region, why, and what mends it.
pub(crate) fn failing(health: &FleetHealthRecord, region: &str) -> String {
    let server = health.server.map(crate::records::Id::typed::<muster_protocol::id::ServerMark>);
    let server = server.map(|server| server.to_string()).unwrap_or_default();
    format!(
        "servers fail in region {region}: {}: {}; see `muster server show {server}`, and apply the fleet \
         again if its build or settings are the cause",
        health.code, health.detail
    )
}

struct Standing<'a> {
    target: RegionTarget,
    live: u32,
    pending: Option<&'a ServerRecord>,
    health: Option<&'a FleetHealthRecord>,
}

fn of_region(
    fleet: &FleetRecord,
    region: &str,
    standing: &Standing<'_>,
    machines: &RegionMachines,
    now_ms: u64,
) -> BTreeSet<String> {
    let mut obstacles = BTreeSet::new();
    obstacles.extend(machines.obstacle(region));
    if let Some(pending) = standing.pending
        && !pending.detail.is_empty()
    {
        obstacles.insert(pending.detail.clone());
    }
    if let Some(health) = standing.health
        && backoff::is_failing(health, fleet.pod_version, now_ms)
    {
        let next = health.retry_at_ms.saturating_sub(now_ms).div_ceil(1_000);
        let when = if next == 0 { "now".to_owned() } else { format!("in {next} s") };
        obstacles.insert(format!(
            "{} ({} in a row, next try {when})",
            failing(health, region),
            health.consecutive_failures
        ));
    }
    if standing.live >= standing.target.max {
        obstacles.insert(format!(
            "there are {} servers in region {region}, its max is {}; raise regions.{region}.max or wait until \
             games end",
            standing.live, standing.target.max
        ));
    }
    obstacles
}
