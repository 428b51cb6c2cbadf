//! An explanation in plain sentences, for a person who helps a player: one line for each thing that is said.

use std::fmt;

use super::{Exclusion, Explanation, Group, LimitNow, LimitOf, Never, Refused, RegionNow};
use crate::rules::Refusal;

impl Explanation {
    /// The explanation's sentences, one a line.
    pub fn words(&self) -> Vec<String> {
        let party =
            if self.players == 1 { "alone".to_owned() } else { format!("as a party of {}", self.players) };
        let mut lines = vec![format!("Searching for {}, {party}.", Duration(self.waited_ms))];
        lines.extend(self.never.iter().map(never));
        lines.push(self.looked());
        lines.push(self.needed());
        lines.extend(self.best.as_ref().filter(|best| best.is_whole).map(group));
        lines.extend(self.whole.as_ref().map(group));
        lines.extend(self.joining());
        if let Some(ms) = self.only_full_for_ms {
            lines.push(format!(
                "Until it has waited for {} more, only matches of {} players are made.",
                Duration(ms),
                self.full
            ));
        }
        lines.extend(self.limits.iter().map(limit));
        if self.regions.is_empty() {
            lines.push("No region is offered to this queue now.".to_owned());
        }
        lines.extend(self.regions.iter().map(region));
        lines
    }

    fn looked(&self) -> String {
        if self.others == 0 {
            return "Nobody else is searching.".to_owned();
        }
        let mut text = format!("Of {} searching, ", others(self.others));
        if self.looked_at < self.others {
            text = format!(
                "Of {} searching, of which the nearest {} were looked at, ",
                others(self.others),
                self.looked_at
            );
        }
        let mut parts = Vec::new();
        for excluded in &self.excluded {
            let by = match &excluded.by {
                Exclusion::Sizes => "the size of the parties, which fit into no match together".to_owned(),
                Exclusion::Roles => {
                    "the roles, which can no longer be filled with both in a match".to_owned()
                }
                other => excluded_by(other),
            };
            parts.push(format!("{} excluded by {by}", are(excluded.tickets)));
        }
        parts.push(format!("{} left to play with", are(self.candidates)));
        text + &parts.join(", ") + "."
    }

    /// What is said of running matches, if there are any.
    fn joining(&self) -> Option<String> {
        let openings = &self.openings;
        let matches = match openings.looked_at {
            0 => return None,
            1 => "1 running match with free seats".to_owned(),
            count => format!("{count} running matches with free seats"),
        };
        let mut parts = Vec::new();
        for excluded in &openings.excluded {
            let by = match &excluded.by {
                Exclusion::Sizes => "the size of the party, for which no team has the seats".to_owned(),
                Exclusion::Roles => "the roles that the free seats are for".to_owned(),
                other => excluded_by(other),
            };
            parts.push(format!("{} excluded by {by}", are(excluded.tickets)));
        }
        parts.push(format!("{} open to it", are(openings.joinable)));
        Some(format!("Of {matches}, {}.", parts.join(", ")))
    }

    fn needed(&self) -> String {
        let found = self.full - self.missing_for_full.min(self.full);
        let place = self.best.as_ref().map(|best| format!(" in {}", best.region)).unwrap_or_default();
        let missing = match (self.missing_for_full, self.missing_for_smallest) {
            (0, _) => ", as many as a full match has".to_owned(),
            (full, _) if self.smallest == self.full => format!("; {full} more are needed"),
            (full, smallest) => {
                let smallest = if smallest == 0 { "none".to_owned() } else { smallest.to_string() };
                format!("; a full match needs {full} more, the smallest ({}) {smallest}", self.smallest)
            }
        };
        format!("Gathered so far are {found} of {} players{place}{missing}.", self.full)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join("\n"))
    }
}

/// What excludes, where it is the same for tickets and for openings.
fn excluded_by(by: &Exclusion) -> String {
    match by {
        Exclusion::OwnFilter => "its own filter".to_owned(),
        Exclusion::TheirFilter => "their filter".to_owned(),
        Exclusion::Block => "a block list".to_owned(),
        Exclusion::SamePlayer => "a player who is in both".to_owned(),
        Exclusion::Rule(rule) => format!("rule \"{rule}\""),
        Exclusion::Sizes => "the sizes".to_owned(),
        Exclusion::Roles => "the roles".to_owned(),
    }
}

fn others(count: usize) -> String {
    if count == 1 { "1 other ticket".to_owned() } else { format!("{count} other tickets") }
}

fn are(count: usize) -> String {
    if count == 1 { "1 is".to_owned() } else { format!("{count} are") }
}

fn never(never: &Never) -> String {
    format!("It can never be matched: {}.", why_never(never))
}

pub(super) fn why_never(never: &Never) -> String {
    match never {
        Never::Differs { rule, attribute } => {
            format!(
                "its players differ in {attribute}, which rule \"{rule}\" wants to be the same for everybody"
            )
        }
        Never::TooFewInCommon { rule, attribute, has, needs } => {
            format!(
                "its players have {has} of {attribute} in common, and rule \"{rule}\" never asks for fewer than {needs}"
            )
        }
        Never::ApartInside { rule, attribute, has, needs } => {
            format!(
                "its players' {attribute} stands at {has} by rule \"{rule}\", which never allows more than {needs} in a party"
            )
        }
        Never::TooFar => "no offered region is near enough, however long it waits".to_owned(),
        Never::Sizes => "no match has room for a party of this size".to_owned(),
        Never::Roles => "wherever the party fits, the players of a role no longer do".to_owned(),
    }
}

fn group(group: &Group) -> String {
    let what = format!("{} players would make a match in {}", group.players, group.region);
    let but = match &group.refused {
        None if group.has_room => return format!("{what}; it is made when this ticket is next looked at."),
        None => "the region has no room for another now".to_owned(),
        Some(Refused::Teams { rules }) if rules.is_empty() => {
            "they cannot be divided into the teams and roles".to_owned()
        }
        Some(Refused::Teams { rules }) => {
            let rules: Vec<String> = rules.iter().map(|rule| format!("\"{rule}\"")).collect();
            format!("they cannot be divided into the teams and roles so that {} allows it", rules.join(", "))
        }
        Some(Refused::By(Refusal::Size)) => "so few will do only after a longer wait".to_owned(),
        Some(Refused::By(Refusal::Roles)) => "a team lacks a role".to_owned(),
        Some(Refused::By(Refusal::Unwilling)) => "two of them will not play with each other".to_owned(),
        Some(Refused::By(Refusal::Rule(rule))) => format!("rule \"{rule}\" refuses it"),
    };
    format!("{what}, but {but}.")
}

fn limit(limit: &LimitNow) -> String {
    let says = |value: f64| match &limit.of {
        LimitOf::Spread(attribute) => format!("{attribute} at most {value} apart"),
        LimitOf::SpreadInside(attribute) => format!("a party's own {attribute} at most {value} apart"),
        LimitOf::Deviation(attribute) => format!("{attribute} at most {value} from the average"),
        LimitOf::DeviationInside(attribute) => {
            format!("a party's own {attribute} at most {value} from its average")
        }
        LimitOf::Gap(attribute) => format!("the teams' average {attribute} at most {value} apart"),
        LimitOf::Common(attribute) => format!("at least {value} of {attribute} in common"),
        LimitOf::Latency => format!("a round trip of at most {value} ms"),
    };
    let next = limit
        .next
        .map_or("for good".to_owned(), |next| format!("and in {}, {}", Duration(next.in_ms), says(next.to)));
    let alone = if limit.is_met_alone { "" } else { " The party by itself is not within that now." };
    format!("Rule \"{}\" asks for {} now, {next}.{alone}", limit.rule, says(limit.now))
}

fn region(region: &RegionNow) -> String {
    let latency = match region.latency_ms {
        Some(ms) => format!("{ms} ms away"),
        None if region.is_near_ever => "at an unknown distance".to_owned(),
        None => "at an unknown distance, which counts as far".to_owned(),
    };
    let limit = match (region.limit_ms, region.is_near_now, region.is_near_ever) {
        (None, ..) => "no rule limits that".to_owned(),
        (Some(_), true, _) => "near enough".to_owned(),
        (Some(limit), false, true) => format!("too far now (at most {limit} ms), but not for good"),
        (Some(_), false, false) => "too far, however long it waits".to_owned(),
    };
    let room = if region.has_room { "" } else { "; it has no room for a match now" };
    format!("Region {} is {latency}: {limit}{room}.", region.region)
}

/// Milliseconds, as people say them.
struct Duration(u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1_000 => write!(f, "{ms} ms"),
            ms @ 1_000..60_000 if ms % 1_000 == 0 => write!(f, "{} s", ms / 1_000),
            ms @ 1_000..60_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            ms => write!(f, "{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
        }
    }
}
