//! A fleet and how it stands, as the API tells it.

use std::collections::BTreeMap;

use muster_protocol::api;

use crate::records::{FleetRecord, ServerState};
use crate::state::servers::StateCounts;

/// A fleet, with its servers by region and what keeps it from what was asked.
pub(crate) fn fleet(
    record: &FleetRecord,
    counts: &BTreeMap<String, StateCounts>,
    waiting_for: Vec<String>,
) -> api::Fleet {
    let regions = record.regions.keys().chain(counts.keys());
    api::Fleet {
        spec: record.to_spec(),
        version: record.version,
        build_digest: record.pod.as_ref().map(|pod| pod.build_digest.clone()).unwrap_or_default(),
        regions: regions.map(|region| (region.clone(), region_status(counts.get(region)))).collect(),
        waiting_for,
    }
}

fn region_status(counts: Option<&StateCounts>) -> api::FleetRegionStatus {
    use ServerState as S;
    let of = |states: &[ServerState]| {
        let counts = counts.into_iter().flatten();
        counts.filter(|(state, _)| states.contains(state)).map(|(_, count)| count).sum()
    };
    api::FleetRegionStatus {
        starting: of(&[S::Pending, S::Placing, S::Pulling, S::Starting]),
        ready: of(&[S::Ready]),
        allocated: of(&[S::Allocated]),
        draining: of(&[S::Draining]),
        failed: of(&[S::Failed]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::RegionTarget;

    #[test]
    fn servers_are_counted_where_they_are_and_where_they_were_wanted() {
        let record = FleetRecord {
            name: "arena".into(),
            regions: [("eu".to_owned(), RegionTarget { warm: 1, max: 2 })].into(),
            ..FleetRecord::default()
        };
        let counts = BTreeMap::from([
            ("eu".to_owned(), StateCounts::from([(ServerState::Pending, 2), (ServerState::Pulling, 1)])),
            ("old".to_owned(), StateCounts::from([(ServerState::Draining, 4), (ServerState::Stopped, 9)])),
        ]);
        let fleet = fleet(&record, &counts, vec!["a node".to_owned()]);
        let eu = api::FleetRegionStatus { starting: 3, ..Default::default() };
        let old = api::FleetRegionStatus { draining: 4, ..Default::default() };
        assert_eq!(fleet.regions, BTreeMap::from([("eu".to_owned(), eu), ("old".to_owned(), old)]));
        assert_eq!(fleet.waiting_for, ["a node"]);
    }
}
