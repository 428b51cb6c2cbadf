//! What matches of a queue, or of lobbies, can hope for: where servers are or could be, and what is in the way.
//!
//! Read from the store without conflict; commits check again what matters. Every pass of every matchmaker reads it, so it
//! is made of numbers and not of all that they count.

use std::collections::BTreeMap;

use muster_matchmaker::Offer;
use muster_store::Transaction;

use crate::lifecycle;
use crate::records::{FleetRecord, QueueRecord, ServerState};
use crate::state::regions::{self, RegionMachines};
use crate::state::{StateError, fleets, health, matches, servers};

/// Where matches can be hosted now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outlook {
    /// Regions that can host matches, by name; those that are full with a capacity of 0.
    pub(crate) offers: Vec<Offer>,
    /// In words: what is in the way of matches in other regions, or anywhere.
    pub(crate) waiting_for: Vec<String>,
    /// Whether the fleet wants its matches filled while they run.
    pub(crate) backfill: bool,
}

/// The outlook of `queue`.
pub(super) async fn of_queue(
    tx: &mut Transaction,
    queue: &QueueRecord,
    now_ms: u64,
) -> Result<Outlook, StateError> {
    let (namespace, name) = (&queue.namespace, &queue.fleet);
    let fleet = fleets::peek(tx, namespace, name).await?.filter(|fleet| !fleet.deleting);
    let Some(fleet) = fleet else {
        return Ok(Outlook {
            offers: Vec::new(),
            waiting_for: vec![format!(
                "fleet {name} does not exist; apply it, or let the queue name another"
            )],
            backfill: false,
        });
    };
    of_fleet(tx, &fleet, &queue.regions, now_ms).await
}

/// The outlook of matches of `fleet` that may be in `regions`, in any of the fleet's if that is empty.
pub(crate) async fn of_fleet(
    tx: &mut Transaction,
    fleet: &FleetRecord,
    regions: &[String],
    now_ms: u64,
) -> Result<Outlook, StateError> {
    let (namespace, name) = (&fleet.namespace, &fleet.name);
    let machines = regions::list(tx).await?;
    let counts = servers::counts(tx, namespace, name).await?;
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for (region, target) in &fleet.regions {
        let mut tally = Tally::default();
        for (state, count) in counts.get(region).into_iter().flatten().filter(|(state, _)| !state.is_final())
        {
            tally.live += count;
            tally.warm += if *state == ServerState::Ready { *count } else { 0 };
            tally.unclaimed += if state.is_unclaimed() { *count } else { 0 };
        }
        // Beyond what there can be servers for, it does not matter how many wait.
        let most = tally.unclaimed + target.max.saturating_sub(tally.live);
        tally.waiting = matches::count_waiting(tx, (namespace, name, region), most).await?;
        tallies.insert(region, tally);
    }
    let mut outlook = judge(fleet, regions, &machines, &tallies);
    for (region, health) in health::of_fleet(tx, namespace, name).await? {
        let warm = tallies.get(region.as_str()).is_some_and(|tally| tally.warm > 0);
        let offered = outlook.offers.iter().any(|offer| offer.region == region);
        // Matches are still made there, and wait for the start that succeeds.
        if offered && !warm && lifecycle::is_failing(&health, fleet.pod_version, now_ms) {
            outlook.waiting_for.push(lifecycle::failing(&health, &region));
        }
    }
    Ok(outlook)
}

/// The regions that can host matches of `queue` now.
pub(crate) async fn offers(
    tx: &mut Transaction,
    queue: &QueueRecord,
    now_ms: u64,
) -> Result<Vec<Offer>, StateError> {
    Ok(of_queue(tx, queue, now_ms).await?.offers)
}

/// Servers and waiting matches of a fleet in a region.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    live: u32,
    warm: u32,
    unclaimed: u32,
    waiting: u32,
}

fn judge(
    fleet: &FleetRecord,
    allowed: &[String],
    machines: &BTreeMap<String, RegionMachines>,
    tallies: &BTreeMap<&str, Tally>,
) -> Outlook {
    let mut outlook = Outlook { backfill: fleet.backfill, ..Outlook::default() };
    let allowed: Vec<&String> =
        if allowed.is_empty() { fleet.regions.keys().collect() } else { allowed.iter().collect() };
    if allowed.is_empty() {
        outlook.waiting_for.push(format!("fleet {} is in no region; add one to its regions", fleet.name));
    }
    for region in allowed {
        let Some(target) = fleet.regions.get(region) else {
            outlook.waiting_for.push(format!(
                "region {region} is allowed, but fleet {} is not there; add {region} to the fleet's regions",
                fleet.name
            ));
            continue;
        };
        let unserved = RegionMachines::default();
        if let Some(obstacle) = machines.get(region).unwrap_or(&unserved).obstacle(region) {
            outlook.waiting_for.push(obstacle);
            continue;
        }
        let tally = tallies.get(region.as_str()).copied().unwrap_or_default();
        let startable = target.max.saturating_sub(tally.live);
        let capacity = (tally.unclaimed + startable).saturating_sub(tally.waiting);
        if capacity == 0 {
            outlook.waiting_for.push(format!(
                "fleet {} has its max of {} servers in region {region}; raise regions.{region}.max or wait \
                 until games end",
                fleet.name, target.max
            ));
        }
        let warm = tally.warm.saturating_sub(tally.waiting);
        outlook.offers.push(Offer { region: region.clone(), warm, capacity });
    }
    outlook.offers.sort_by(|a, b| a.region.cmp(&b.region));
    outlook
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{EdgeRecord, NodeRecord, RegionTarget};

    fn fixture() -> (FleetRecord, BTreeMap<String, RegionMachines>) {
        let target = RegionTarget { warm: 1, max: 4 };
        let regions = [("eu".to_owned(), target), ("us".to_owned(), target)].into();
        let fleet = FleetRecord { name: "arena".into(), regions, ..Default::default() };
        let served = RegionMachines {
            nodes: vec![NodeRecord { connected: true, ..Default::default() }],
            edges: vec![EdgeRecord { connected: true, ..Default::default() }],
        };
        (fleet, [("eu".to_owned(), served)].into())
    }

    #[test]
    fn an_unserved_region_is_named_with_the_way_out() {
        let (fleet, machines) = fixture();
        let outlook = judge(&fleet, &[], &machines, &BTreeMap::new());
        assert_eq!(outlook.offers, [Offer { region: "eu".into(), warm: 0, capacity: 4 }]);
        assert_eq!(outlook.waiting_for.len(), 1);
        assert!(outlook.waiting_for[0].contains("region us has no node; join an agent"), "{outlook:?}");
    }

    #[test]
    fn a_region_the_fleet_is_not_in_is_named() {
        let (fleet, machines) = fixture();
        let allowed = ["eu".to_owned(), "mars".to_owned()];
        let outlook = judge(&fleet, &allowed, &machines, &BTreeMap::new());
        assert!(outlook.waiting_for[0].contains("add mars to the fleet's regions"), "{outlook:?}");
    }

    #[test]
    fn waiting_matches_have_the_first_claim_on_servers() {
        let (fleet, machines) = fixture();
        let tally = Tally { live: 4, warm: 2, unclaimed: 3, waiting: 2 };
        let outlook = judge(&fleet, &[], &machines, &[("eu", tally)].into());
        assert_eq!(outlook.offers, [Offer { region: "eu".into(), warm: 0, capacity: 1 }]);
        let full = Tally { waiting: 3, ..tally };
        let outlook = judge(&fleet, &[], &machines, &[("eu", full)].into());
        assert!(
            outlook.offers[0].capacity == 0
                && outlook.waiting_for.iter().any(|w| w.contains("raise regions.eu.max"))
        );
    }
}
