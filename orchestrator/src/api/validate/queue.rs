//! Checks of queue specifications.

use muster_matchmaker::Queue;
use muster_protocol::api::{MAX_PARTS, MAX_PLAYERS, QueueSpec};
use muster_protocol::problem::ProblemCode;

use super::ticket::MAX_LATENCY_MS;
use super::{Faults, MAX_REGIONS};
use crate::api::problem::ApiProblem;

/// Longest time a ticket may search, in seconds: a day.
pub(crate) const MAX_TICKET_TTL_S: u32 = 86_400;

/// Longest time players may have to accept a match, in seconds.
pub(crate) const MAX_ACCEPT_S: u32 = 600;

/// Checks a queue's specification against itself, the limits, and the name it is applied under.
pub(crate) fn queue_spec(path_name: &str, spec: &QueueSpec) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("name", &spec.name);
    faults.check(
        spec.name == path_name,
        "name",
        format_args!("{:?} differs from {path_name:?} in the path", spec.name),
    );
    faults.name("fleet", &spec.fleet);
    faults.within("players", spec.players, 0, MAX_PLAYERS);
    faults.within("max_latency_ms", spec.max_latency_ms, 0, MAX_LATENCY_MS);
    faults.within("parts", spec.parts, 0, MAX_PARTS);
    faults.within("accept_s", spec.accept_s, 0, MAX_ACCEPT_S);
    faults.within("ticket_ttl_s", spec.ticket_ttl_s, 1, MAX_TICKET_TTL_S);
    faults.check(
        spec.regions.len() <= MAX_REGIONS,
        "regions",
        format_args!("{} are over the limit of {MAX_REGIONS}", spec.regions.len()),
    );
    faults.unique("regions", spec.regions.iter().map(String::as_str));
    for (index, region) in spec.regions.iter().enumerate() {
        faults.name(&format!("regions[{index}]"), region);
    }
    if let Err(error) = Queue::compile(spec) {
        faults.add(&error.path, error.what);
    }
    faults.into_result(ProblemCode::InvalidSpec)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> QueueSpec {
        QueueSpec {
            regions: vec!["local".into()],
            max_latency_ms: 80,
            ticket_ttl_s: 60,
            ..QueueSpec::simple("duel", "arena", 2)
        }
    }

    #[test]
    fn a_sound_specification_passes() {
        assert_eq!(queue_spec("duel", &valid()), Ok(()));
    }

    #[test]
    fn every_field_has_its_fault() {
        let spec = QueueSpec {
            regions: vec!["local".into(), "local".into(), "Süd".into()],
            max_latency_ms: 70_000,
            ticket_ttl_s: 0,
            parts: 17,
            ..QueueSpec::simple("-", "", 0)
        };
        let detail = queue_spec("duel", &spec).expect_err("every field is wrong").problem().detail.clone();
        for field in [
            "name: \"-\" is no name",
            "differs from \"duel\"",
            "fleet: \"\" is no name",
            "teams: a match needs teams",
            "max_latency_ms: 70000 is outside",
            "ticket_ttl_s: 0 is outside",
            "parts: 17 is outside",
            "regions: \"local\" is there twice",
            "regions[2]: \"Süd\" is no name",
        ] {
            assert!(detail.contains(field), "wanted {field:?} in {detail:?}");
        }
    }
}
