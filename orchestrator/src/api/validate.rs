//! Checks of what requests ask for: pure, complete, and in one text.
//!
//! A check looks at a value alone; whether what it names exists is for the transaction that uses it.
//! All faults of a value are found at once, each behind the path of its field, so that a studio mends
//! a specification in one round.

mod build;
mod edge_limits;
mod fleet;
mod lobby;
mod queue;
mod ticket;
mod token;

pub(crate) use build::{BuildSource, build_request, upload_request};
pub(crate) use edge_limits::edge_limits;
pub(crate) use fleet::{allocate_request, fleet_spec};
pub(crate) use lobby::{find_lobby_request, join_request, lobby_request, lobby_tags};
pub(crate) use queue::queue_spec;
pub(crate) use ticket::ticket_request;
pub(crate) use token::{api_token_request, join_token_request};

use muster_protocol::api::{MAX_NAME_BYTES, is_name, is_namespace};
use muster_protocol::problem::ProblemCode;

use super::problem::ApiProblem;

/// Most faults that one answer lists; the rest are counted.
pub(crate) const MAX_FAULTS: usize = 20;
/// Most regions that one specification or request names.
pub(crate) const MAX_REGIONS: usize = 64;

/// The faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    listed: Vec<String>,
    more: usize,
}

impl Faults {
    /// Notes a fault of `field`, a path such as `ports[1].name`.
    pub(crate) fn add(&mut self, field: &str, what: impl std::fmt::Display) {
        if self.listed.len() < MAX_FAULTS {
            self.listed.push(format!("{field}: {what}"));
        } else {
            self.more += 1;
        }
    }

    /// Notes a fault unless `holds`.
    pub(crate) fn check(&mut self, holds: bool, field: &str, what: impl std::fmt::Display) {
        if !holds {
            self.add(field, what);
        }
    }

    /// Notes a fault unless `value` is a name.
    pub(crate) fn name(&mut self, field: &str, value: &str) {
        self.check(
            is_name(value),
            field,
            format_args!(
                "{value:?} is no name; use 1 to {MAX_NAME_BYTES} of a-z, 0-9 and - (not first or last)"
            ),
        );
    }

    /// Notes a fault unless `value` lies within the bounds, both included.
    pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
        &mut self,
        field: &str,
        value: T,
        least: T,
        most: T,
    ) {
        let holds = value >= least && value <= most;
        self.check(holds, field, format_args!("{value} is outside {least} to {most}"));
    }

    /// Notes a fault for every repeated value.
    pub(crate) fn unique<'a>(&mut self, field: &str, values: impl IntoIterator<Item = &'a str>) {
        let mut seen = std::collections::BTreeSet::new();
        for value in values {
            self.check(seen.insert(value), field, format_args!("{value:?} is there twice"));
        }
    }

    /// Nothing if no fault was found, otherwise all of them as one problem of `code`.
    pub(crate) fn into_result(self, code: ProblemCode) -> Result<(), ApiProblem> {
        if self.listed.is_empty() {
            return Ok(());
        }
        let mut detail = self.listed.join("; ");
        if self.more > 0 {
            detail = format!("{detail}; and {} more", self.more);
        }
        Err(ApiProblem::new(code, detail, "mend the fields named and send it again"))
    }
}

/// Refuses a path's `name` that cannot be the name of anything.
pub(crate) fn path_name(kind: &str, name: &str) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name(&format!("name of the {kind} in the path"), name);
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Refuses a text that cannot be a namespace.
pub(crate) fn namespace(namespace: &str) -> Result<(), ApiProblem> {
    if is_namespace(namespace) {
        return Ok(());
    }
    Err(ApiProblem::invalid_request(
        format!("{namespace:?} is no namespace"),
        "a namespace is game/environment, such as arena/prod: names of a-z, 0-9 and -, with one slash between",
    ))
}

/// Whether `text` has a character that a terminal would obey rather than show.
fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_come_in_one_text() {
        let mut faults = Faults::default();
        faults.name("name", "Bad Name");
        faults.within("players", 0, 1, 10);
        faults.unique("regions", ["a", "b", "a"]);
        let problem = faults.into_result(ProblemCode::InvalidSpec).expect_err("three faults");
        let detail = &problem.problem().detail;
        assert!(detail.contains("name: \"Bad Name\""), "{detail}");
        assert!(detail.contains("players: 0 is outside 1 to 10"), "{detail}");
        assert!(detail.contains("regions: \"a\" is there twice"), "{detail}");
    }

    #[test]
    fn faults_beyond_the_bound_are_counted() {
        let mut faults = Faults::default();
        for n in 0..MAX_FAULTS + 7 {
            faults.add("field", n);
        }
        let problem = faults.into_result(ProblemCode::InvalidSpec).expect_err("many faults");
        assert!(problem.problem().detail.ends_with("and 7 more"));
    }
}
