//! What keeps a fleet from what was asked, in words: read from the store without conflict.

use std::collections::{BTreeMap, BTreeSet};

use muster_store::Transaction;

use super::backoff;
use crate::records::{FleetHealthRecord, FleetRecord, RegionTarget, ServerRecord, ServerState};
use crate::state::regions::RegionMachines;
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
    let machines = regions::list(tx).await?;
    let healths = health::of_fleet(tx, namespace, fleet).await?;
    let live = servers::live(tx, namespace, fleet).await?;
    let waiting = matches::waiting(tx, namespace, fleet).await?;
    let mut obstacles = Vec::new();
    for (name, target) in record.regions.iter().filter(|(name, _)| region.is_none_or(|one| one == *name)) {
        let here = || live.iter().filter(|server| server.region == *name);
        let pending = match here().find(|server| server.state == ServerState::Pending) {
            Some(server) => servers::peek(tx, server.id).await?,
            None => None,
        };
        let standing = Standing {
            target: *target,
            live: here().count(),
            ready: here().filter(|server| server.state == ServerState::Ready).count(),
            waiting: waiting.iter().filter(|(region, _)| region == name).count(),
            pending: pending.as_ref(),
            health: healths.get(name),
        };
        obstacles.extend(of_region(&record, name, &standing, &machines, now_ms));
    }
    Ok(obstacles)
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
    live: usize,
    ready: usize,
    waiting: usize,
    pending: Option<&'a ServerRecord>,
    health: Option<&'a FleetHealthRecord>,
}

fn of_region(
    fleet: &FleetRecord,
    region: &str,
    standing: &Standing<'_>,
    machines: &BTreeMap<String, RegionMachines>,
    now_ms: u64,
) -> BTreeSet<String> {
    let mut obstacles = BTreeSet::new();
    let wanted = standing.target.warm as usize + standing.waiting;
    if standing.ready >= wanted {
        return obstacles;
    }
    let unserved = RegionMachines::default();
    obstacles.extend(machines.get(region).unwrap_or(&unserved).obstacle(region));
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
    if standing.live >= standing.target.max as usize {
        obstacles.insert(format!(
            "there are {} servers in region {region}, its max is {}; raise regions.{region}.max or wait until \
             games end",
            standing.live, standing.target.max
        ));
    }
    obstacles
}
