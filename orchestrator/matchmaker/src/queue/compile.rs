//! Compiling a queue's definition: names become positions, and what could not be asked is refused.
//!
//! What is compiled may have been applied by an older version, so that only what is needed to go on is refused here; what
//! makes no sense besides is for whoever takes a definition in ([`super::check`]).

use muster_protocol::api::{
    AttributeKind, MAX_ATTRIBUTES, MAX_PLAYERS, MAX_TEXT_BYTES, QueueSpec, RoleSpec, RuleKind, RuleSpec,
    TeamSpec, Value, Weights,
};

use super::{Asks, DefinitionError, MAX_ROLES, MAX_RULES, MAX_TEAMS, Queue, Role, Rule, Team};
use crate::filter::Schema;
use crate::relaxing::{Relaxes, Relaxing};

fn wrong<T>(path: impl Into<String>, what: impl Into<String>) -> Result<T, DefinitionError> {
    Err(DefinitionError { path: path.into(), what: what.into() })
}

impl Queue {
    /// Compiles a definition.
    ///
    /// # Errors
    /// [`DefinitionError`]: the first thing that is wrong with it.
    pub fn compile(definition: &QueueSpec) -> Result<Self, DefinitionError> {
        let (schema, defaults) = attributes(definition)?;
        let teams =
            if definition.players > 0 { alike(definition)? } else { teams(&definition.teams, &schema)? };
        let sizes = sizes(&teams, definition)?;
        if definition.rules.len() > MAX_RULES {
            return wrong("rules", format!("at most {MAX_RULES} rules"));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(definition.rules.len());
        for (at, spec) in definition.rules.iter().enumerate() {
            if spec.name.is_empty() || rules.iter().any(|rule| rule.name == spec.name) {
                return wrong(format!("rules[{at}].name"), "every rule needs a name of its own");
            }
            rules.push(rule(spec, at, &schema)?);
        }
        rules.extend(cap(definition, &rules)?);
        let Weights { skill, latency, wait } = definition.weights;
        if [skill, latency, wait].iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
            return wrong("weights", "a weight is a finite number of at least 0");
        }
        Ok(Self {
            schema,
            defaults,
            teams,
            rules,
            sizes,
            fill_wait_ms: u64::from(definition.fill_wait_s) * 1_000,
            weights: definition.weights,
        })
    }
}

/// The one team of players who are all alike.
fn alike(definition: &QueueSpec) -> Result<Vec<Team>, DefinitionError> {
    if !definition.teams.is_empty() {
        return wrong("players", "say either players or teams: players is short for one team of so many");
    }
    let size = definition.players as usize;
    Ok(vec![Team { name: "players".to_owned(), min: size, max: size, roles: Vec::new() }])
}

/// The rule that `max_latency_ms` is short for.
fn cap(definition: &QueueSpec, rules: &[Rule]) -> Result<Option<Rule>, DefinitionError> {
    let most = definition.max_latency_ms;
    if most == 0 {
        return Ok(None);
    }
    if rules.iter().any(|rule| matches!(rule.asks, Asks::Latency { .. })) {
        return wrong("max_latency_ms", "say either this or a rule of kind latency, which can relax");
    }
    let most = Relaxing::new(f64::from(most), &[], Relaxes::Up)
        .map_err(|what| DefinitionError { path: "max_latency_ms".to_owned(), what })?;
    Ok(Some(Rule { name: "max_latency_ms".to_owned(), asks: Asks::Latency { most } }))
}

fn attributes(definition: &QueueSpec) -> Result<(Schema, Vec<Value>), DefinitionError> {
    if definition.attributes.len() > MAX_ATTRIBUTES {
        return wrong("attributes", format!("at most {MAX_ATTRIBUTES} attributes"));
    }
    let (mut schema, mut defaults) = (Schema::new(), Vec::new());
    for (at, (name, spec)) in definition.attributes.iter().enumerate() {
        let reserved = ["mine", "theirs", "and", "or", "not", "in", "true", "false", "abs", "common"];
        let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
        let is_name =
            begins && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name || reserved.contains(&name.as_str()) {
            let what =
                "a name is of small letters, digits and _, begins with a letter, and is no word of filters";
            return wrong(format!("attributes.{name}"), what);
        }
        if let Err(error) = spec.default.check(spec.kind) {
            return wrong(format!("attributes.{name}.default"), error.to_string());
        }
        schema.insert(name.clone(), (at, spec.kind));
        defaults.push(spec.default.clone());
    }
    Ok((schema, defaults))
}

fn attribute(
    schema: &Schema,
    name: &str,
    kind: AttributeKind,
    path: String,
) -> Result<usize, DefinitionError> {
    match schema.get(name) {
        Some((at, found)) if *found == kind => Ok(*at),
        Some((_, found)) => {
            wrong(path, format!("{name} is a {}, and a {} is needed", found.as_str(), kind.as_str()))
        }
        None => wrong(path, format!("there is no attribute {name}; declare it under attributes")),
    }
}

fn teams(specs: &[TeamSpec], schema: &Schema) -> Result<Vec<Team>, DefinitionError> {
    let mut teams: Vec<Team> = Vec::new();
    for (at, spec) in specs.iter().enumerate() {
        let path = format!("teams[{at}]");
        let contradiction = if spec.name.is_empty() {
            Some("a team needs a name")
        } else if spec.count == 0 {
            Some("count must be at least 1")
        } else if spec.max == 0 || spec.min > spec.max {
            Some("max must be at least 1 and at least min")
        } else if u64::from(spec.count) + teams.len() as u64 > u64::from(MAX_TEAMS) {
            Some("a match may have at most 100 teams")
        } else if spec.roles.len() > MAX_ROLES {
            Some("a team may have at most 16 roles")
        } else {
            None
        };
        if let Some(what) = contradiction {
            return wrong(path, what);
        }
        let mut roles = Vec::new();
        for (number, RoleSpec { attribute: name, is, min }) in spec.roles.iter().enumerate() {
            let path = format!("{path}.roles[{number}]");
            let attribute = attribute(schema, name, AttributeKind::Text, format!("{path}.attribute"))?;
            if is.len() > MAX_TEXT_BYTES {
                return wrong(format!("{path}.is"), format!("a text has at most {MAX_TEXT_BYTES} bytes"));
            }
            if roles.iter().any(|role: &Role| role.attribute == attribute && role.is == *is) {
                return wrong(path, format!("{is} is there twice; say once how many are needed"));
            }
            roles.push(Role { attribute, is: is.clone(), min: *min as usize });
        }
        // Roles of one attribute exclude each other; of several attributes, one player may have many.
        let mut by_attribute = std::collections::BTreeMap::<usize, usize>::new();
        for role in &roles {
            *by_attribute.entry(role.attribute).or_default() += role.min;
        }
        if by_attribute.values().any(|needed| *needed > spec.max as usize) {
            return wrong(format!("{path}.roles"), "they need more players than the team's max");
        }
        for number in 1..=spec.count {
            let name = if spec.count == 1 { spec.name.clone() } else { format!("{} {number}", spec.name) };
            if teams.iter().any(|team| team.name == name) {
                return wrong(format!("{path}.name"), format!("there is another team {name}"));
            }
            let (min, max) = (spec.min as usize, spec.max as usize);
            teams.push(Team { name, min, max, roles: roles.clone() });
        }
    }
    if teams.is_empty() {
        return wrong("teams", "a match needs teams, or players = N where there are none");
    }
    Ok(teams)
}

/// How many players a match may have, the largest first.
fn sizes(teams: &[Team], definition: &QueueSpec) -> Result<Vec<usize>, DefinitionError> {
    let multiple = definition.count_multiple;
    if multiple == 0 {
        return wrong("count_multiple", "must be at least 1");
    }
    let (min, max) = teams.iter().fold((0, 0), |(min, max), team| (min + team.min, max + team.max));
    if max > MAX_PLAYERS as usize {
        return wrong("teams", format!("a match may have at most {MAX_PLAYERS} players, not {max}"));
    }
    let (min, max) = totals(definition, min, max)?;
    let fits = |size: &usize| size.is_multiple_of(multiple as usize);
    let sizes: Vec<usize> = (min.max(1)..=max).rev().filter(fits).collect();
    if sizes.is_empty() {
        let what = format!("no number of players from {min} to {max} is a multiple of it");
        return wrong("count_multiple", what);
    }
    Ok(sizes)
}

/// Fewest and most players in all, of teams that have from `min` to `max` together.
fn totals(definition: &QueueSpec, min: usize, max: usize) -> Result<(usize, usize), DefinitionError> {
    let (least, most) = (definition.min_players as usize, definition.max_players as usize);
    if (definition.players > 0) && (least > 0 || most > 0) {
        let path = if least > 0 { "min_players" } else { "max_players" };
        return wrong(path, "players says how many there are; give teams with min and max instead");
    }
    if least > max {
        return wrong("min_players", format!("the teams have room for {max} players"));
    }
    if most > 0 && (most < min || most < least) {
        return wrong("max_players", format!("a match has at least {} players", min.max(least)));
    }
    Ok((min.max(least), if most > 0 { max.min(most) } else { max }))
}

fn rule(spec: &RuleSpec, at: usize, schema: &Schema) -> Result<Rule, DefinitionError> {
    let path = format!("rules[{at}]");
    let of = |name: &str, kind| attribute(schema, name, kind, format!("{path}.attribute"));
    let limit_of = |field: &str, base, way| {
        if let Err(what) = Relaxing::check_base(base) {
            return wrong(format!("{path}.{field}"), what);
        }
        Relaxing::new(base, &spec.expand, way)
            .map_err(|what| DefinitionError { path: format!("{path}.expand"), what })
    };
    let limit = |most| limit_of("most", most, Relaxes::Up);
    let fixed = |asks| {
        if spec.expand.is_empty() {
            Ok(asks)
        } else {
            wrong(format!("{path}.expand"), "this rule has no number that could relax")
        }
    };
    let asks = match &spec.rule {
        RuleKind::Spread { attribute, most, within, party } => Asks::Spread {
            attribute: of(attribute, AttributeKind::Number)?,
            most: limit(*most)?,
            within: *within,
            party: *party,
        },
        RuleKind::Deviation { attribute, most, within, party } => Asks::Deviation {
            attribute: of(attribute, AttributeKind::Number)?,
            most: limit(*most)?,
            within: *within,
            party: *party,
        },
        RuleKind::Gap { attribute, most, party } => {
            Asks::Gap { attribute: of(attribute, AttributeKind::Number)?, most: limit(*most)?, party: *party }
        }
        RuleKind::Same { attribute } => fixed(Asks::Same { attribute: of(attribute, AttributeKind::Text)? })?,
        RuleKind::Common { attribute, at_least } => Asks::Common {
            attribute: of(attribute, AttributeKind::Tags)?,
            at_least: limit_of("at_least", *at_least, Relaxes::Down)?,
        },
        RuleKind::Apart { attribute } => {
            fixed(Asks::Apart { attribute: of(attribute, AttributeKind::Tags)? })?
        }
        RuleKind::Latency { most } => Asks::Latency { most: limit(*most)? },
    };
    Ok(Rule { name: spec.name.clone(), asks })
}
