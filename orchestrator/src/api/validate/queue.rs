//! Checks of queue specifications: the definition's own, and that it goes to where it is sent.

use muster_matchmaker::queue::check;
use muster_protocol::api::QueueSpec;
use muster_protocol::problem::ProblemCode;

use super::Faults;
use crate::api::problem::ApiProblem;

/// Checks a queue's specification against itself, the limits, and the name it is applied under.
pub(crate) fn queue_spec(path_name: &str, spec: &QueueSpec) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.check(
        spec.name == path_name,
        "name",
        format_args!("{:?} differs from {path_name:?} in the path", spec.name),
    );
    for fault in check(spec) {
        faults.add(&fault.path, fault.what);
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
            "regions[1]: \"local\" is there twice",
            "regions[2]: \"Süd\" is no name",
        ] {
            assert!(detail.contains(field), "wanted {field:?} in {detail:?}");
        }
    }
}
