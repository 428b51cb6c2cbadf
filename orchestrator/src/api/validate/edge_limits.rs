//! Checks of the limits of edges.

use muster_protocol::api::{EdgeLimits, MAX_PREFIXES};
use muster_protocol::prefix::IpPrefix;
use muster_protocol::problem::ProblemCode;

use super::Faults;
use crate::api::problem::ApiProblem;

/// Checks that lists hold prefixes, and no more than edges take.
pub(crate) fn edge_limits(limits: &EdgeLimits) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    for (name, list) in [("allow", &limits.allow), ("deny", &limits.deny)] {
        faults.check(
            list.len() <= MAX_PREFIXES,
            name,
            format_args!("{} are over the limit of {MAX_PREFIXES}; join neighbouring prefixes", list.len()),
        );
        for (index, text) in list.iter().enumerate().take(MAX_PREFIXES) {
            if let Err(error) = text.parse::<IpPrefix>() {
                faults.add(&format!("{name}[{index}]"), error);
            }
        }
    }
    faults.into_result(ProblemCode::InvalidSpec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_prefix_is_named() {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let good = EdgeLimits { allow: list(&["::1", "10.0.0.0/8"]), ..Default::default() };
        assert_eq!(edge_limits(&good), Ok(()));
        let bad = EdgeLimits { allow: list(&["10.0.0.1/8"]), deny: list(&["::/0", "x"]), ..good };
        let problem = edge_limits(&bad).expect_err("two are none").problem().detail.clone();
        assert!(problem.contains("allow[0]: ") && problem.contains("write 10.0.0.0/8"), "{problem}");
        assert!(problem.contains("deny[1]: "), "{problem}");
        let many = EdgeLimits { deny: vec!["::1".to_owned(); MAX_PREFIXES + 1], ..Default::default() };
        assert!(edge_limits(&many).is_err());
    }
}
