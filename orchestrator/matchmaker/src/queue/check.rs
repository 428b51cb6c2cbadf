//! What a definition is held against at the door: the same for the orchestrator's API and for `muster queue check`.
//!
//! More than [`Queue::compile`] asks, which must go on reading what was applied before a check was made: names, bounds, and
//! what can be but makes no sense, as a rule that can never hold. What needs the namespace (is there such a fleet?) is
//! not asked here.

use std::collections::BTreeSet;

use muster_protocol::api::{
    MAX_ACCEPT_S, MAX_LATENCY_MS, MAX_NAME_BYTES, MAX_PARTS, MAX_PLAYERS, MAX_TAGS, MAX_TICKET_TTL_S,
    QueueSpec, Reduce, RuleKind, RuleSpec, Within, is_name,
};

use super::{Asks, DefinitionError, Queue};
use crate::near::MAX_REGIONS;

/// Everything that is wrong with a definition, in its order; nothing if it can be applied. Of what cannot be compiled the
/// first fault.
pub fn check(definition: &QueueSpec) -> Vec<DefinitionError> {
    let mut faults = Faults(Vec::new());
    fields(definition, &mut faults);
    match Queue::compile(definition) {
        Err(error) => faults.0.push(error),
        Ok(queue) => {
            waits(definition, &mut faults);
            roles(&queue, &mut faults);
            for (at, spec) in definition.rules.iter().enumerate() {
                can_hold(&queue, at, &mut faults);
                says_what_counts(spec, at, &mut faults);
            }
        }
    }
    faults.0
}

struct Faults(Vec<DefinitionError>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, what: impl Into<String>) {
        self.0.push(DefinitionError { path: path.into(), what: what.into() });
    }

    fn name(&mut self, path: impl Into<String>, name: &str) {
        if !is_name(name) {
            let how = format!("use 1 to {MAX_NAME_BYTES} of a-z, 0-9 and - (not first or last)");
            self.add(path, format!("{name:?} is no name; {how}"));
        }
    }

    fn within(&mut self, path: &str, value: u32, least: u32, most: u32) {
        if value < least || value > most {
            self.add(path, format!("{value} is outside {least} to {most}"));
        }
    }
}

/// Each field by itself.
fn fields(definition: &QueueSpec, faults: &mut Faults) {
    faults.name("name", &definition.name);
    faults.name("fleet", &definition.fleet);
    faults.within("players", definition.players, 0, MAX_PLAYERS);
    faults.within("max_latency_ms", definition.max_latency_ms, 0, MAX_LATENCY_MS);
    faults.within("parts", definition.parts, 0, MAX_PARTS);
    faults.within("accept_s", definition.accept_s, 0, MAX_ACCEPT_S);
    faults.within("ticket_ttl_s", definition.ticket_ttl_s, 1, MAX_TICKET_TTL_S);
    if definition.regions.len() > MAX_REGIONS {
        let what = format!("{} are over the limit of {MAX_REGIONS}", definition.regions.len());
        faults.add("regions", what);
    }
    let mut seen = BTreeSet::new();
    for (at, region) in definition.regions.iter().enumerate() {
        faults.name(format!("regions[{at}]"), region);
        if !seen.insert(region) {
            faults.add(format!("regions[{at}]"), format!("{region:?} is there twice"));
        }
    }
}

/// What would come only after tickets have expired.
fn waits(definition: &QueueSpec, faults: &mut Faults) {
    let ttl_s = definition.ticket_ttl_s;
    let what = || format!("tickets expire after {ttl_s} s, before they would wait so long");
    if definition.fill_wait_s > 0 && definition.fill_wait_s >= ttl_s {
        faults.add("fill_wait_s", what());
    }
    for (at, rule) in definition.rules.iter().enumerate() {
        for (number, _) in rule.expand.iter().enumerate().filter(|(_, step)| step.after_s >= ttl_s) {
            faults.add(format!("rules[{at}].expand[{number}].after_s"), what());
        }
    }
}

/// Roles of one attribute exclude each other, so each team has at least as many players as those of one need.
fn roles(queue: &Queue, faults: &mut Faults) {
    let needed = |team: &super::Team| {
        let of = |attribute: usize| {
            let alike = team.roles.iter().filter(move |role| role.attribute == attribute);
            alike.map(|role| role.min).sum::<usize>()
        };
        team.roles.iter().map(|role| of(role.attribute)).max().unwrap_or_default().max(team.min)
    };
    let (needed, most) = (queue.teams.iter().map(needed).sum::<usize>(), queue.sizes().1);
    if needed > most {
        faults.add("teams", format!("their roles need {needed} players, and a match has at most {most}"));
    }
}

/// Whether a rule can ever hold, and ever fail, as far as the definition alone can tell.
fn can_hold(queue: &Queue, at: usize, faults: &mut Faults) {
    let Some(rule) = queue.rules.get(at) else { return };
    let mut never =
        |path: &str, what: String| faults.add(format!("rules[{at}].{path}"), format!("never holds: {what}"));
    match &rule.asks {
        Asks::Common { attribute, at_least } => {
            if at_least.last() > MAX_TAGS as f64 {
                never("at_least", format!("an attribute has at most {MAX_TAGS} tags"));
            }
            let apart = queue
                .rules
                .iter()
                .find(|other| matches!(&other.asks, Asks::Apart { attribute: other } if other == attribute));
            if let Some(apart) = apart.filter(|_| at_least.last() > 0.0 && has_several_parties(queue)) {
                let what = format!("rule {:?} lets no two parties have a tag in common", apart.name);
                never("attribute", what);
            }
        }
        Asks::Same { attribute } => {
            let roles = queue.teams.iter().flat_map(|team| &team.roles);
            let needed = roles.filter(|role| role.attribute == *attribute && role.min > 0);
            let texts: BTreeSet<&str> = needed.map(|role| role.is.as_str()).collect();
            let mut texts = texts.into_iter();
            if let (Some(one), Some(other)) = (texts.next(), texts.next()) {
                never("attribute", format!("the teams need both {one} and {other}, by their roles"));
            }
        }
        Asks::Gap { .. } if queue.teams.len() < 2 => {
            let what = "one team has no gap to another; limit its spread instead";
            faults.add(format!("rules[{at}].kind"), what);
        }
        asks if asks.is_of_parties() && queue.largest_party() < 2 => {
            let what = "never fails: no party of this queue has two players";
            faults.add(format!("rules[{at}].within"), what);
        }
        _ => {}
    }
}

/// Whether no match is of one party alone: it has several teams, or more players than a party.
fn has_several_parties(queue: &Queue) -> bool {
    let teams = queue.teams.iter().filter(|team| team.min > 0).count();
    teams > 1 || queue.sizes().0 > queue.largest_party()
}

/// Within a party nothing counts for it, since all of its players do.
fn says_what_counts(spec: &RuleSpec, at: usize, faults: &mut Faults) {
    let (RuleKind::Spread { within, party, .. } | RuleKind::Deviation { within, party, .. }) = &spec.rule
    else {
        return;
    };
    if *within == Within::Party && *party != Reduce::Avg {
        faults.add(format!("rules[{at}].party"), "within a party every player counts; leave this out");
    }
}
