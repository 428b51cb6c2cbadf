//! A queue's definition compiled: names become positions, and what contradicts itself is refused.

use muster_protocol::api::{
    AttributeKind, MAX_ATTRIBUTES, MAX_PLAYERS, MAX_TAGS, MAX_TEXT_BYTES, QueueSpec, Reduce, RoleSpec,
    RuleKind, RuleSpec, TeamSpec, Value, Weights, Within,
};

use crate::filter::Schema;
use crate::relaxing::{Relaxes, Relaxing};

/// Most teams of a match.
pub const MAX_TEAMS: u32 = 100;
/// Most rules of a queue.
pub const MAX_RULES: usize = 32;
/// Most roles of a team.
pub const MAX_ROLES: usize = 16;

/// What is wrong with a definition, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct DefinitionError {
    /// As in `rules[2].attribute`.
    pub path: String,
    /// What is wrong, and how it is mended.
    pub what: String,
}

fn wrong<T>(path: impl Into<String>, what: impl Into<String>) -> Result<T, DefinitionError> {
    Err(DefinitionError { path: path.into(), what: what.into() })
}

/// A compiled queue.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    pub(crate) schema: Schema,
    pub(crate) defaults: Vec<Value>,
    pub(crate) teams: Vec<Team>,
    pub(crate) rules: Vec<Rule>,
    /// Numbers of players a match may have, the largest first.
    pub(crate) sizes: Vec<usize>,
    pub(crate) fill_wait_ms: u64,
    pub(crate) weights: Weights,
}

/// One team.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Team {
    pub(crate) name: String,
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) roles: Vec<Role>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Role {
    pub(crate) attribute: usize,
    pub(crate) is: String,
    pub(crate) min: usize,
}

/// A rule that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) asks: Asks,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asks {
    Spread { attribute: usize, most: Relaxing, within: Within, party: Reduce },
    Gap { attribute: usize, most: Relaxing },
    Same { attribute: usize },
    Common { attribute: usize, at_least: Relaxing },
    Apart { attribute: usize },
    Latency { most: Relaxing },
}

impl Asks {
    /// The limit that relaxes, if there is one.
    pub(crate) fn limit(&self) -> Option<&Relaxing> {
        match self {
            Self::Spread { most, .. } | Self::Gap { most, .. } | Self::Latency { most } => Some(most),
            Self::Common { at_least, .. } => Some(at_least),
            Self::Same { .. } | Self::Apart { .. } => None,
        }
    }

    /// What [`Queue::measure`] may be at most after a wait in milliseconds.
    pub(crate) fn bound(&self, wait_ms: u64) -> f64 {
        match self {
            // Of tags there must be enough, not few enough.
            Self::Common { at_least, .. } => -at_least.at(wait_ms),
            _ => self.limit().map_or(0.0, |limit| limit.at(wait_ms)),
        }
    }
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
        if definition.fill_wait_s > 0 && definition.fill_wait_s >= definition.ticket_ttl_s {
            let what = format!("tickets expire after {} s, before they would do", definition.ticket_ttl_s);
            return wrong("fill_wait_s", what);
        }
        if definition.rules.len() > MAX_RULES {
            return wrong("rules", format!("at most {MAX_RULES} rules"));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(definition.rules.len());
        for (at, spec) in definition.rules.iter().enumerate() {
            if spec.name.is_empty() || rules.iter().any(|rule| rule.name == spec.name) {
                return wrong(format!("rules[{at}].name"), "every rule needs a name of its own");
            }
            let rule = rule(spec, at, &schema)?;
            can_hold(&rule, at, &teams)?;
            rules.push(rule);
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

    /// What filters are compiled against.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many teams a match has.
    pub fn team_count(&self) -> usize {
        self.teams.len()
    }

    /// The name of a team.
    pub fn team_name(&self, team: usize) -> &str {
        self.teams.get(team).map_or("", |team| &team.name)
    }

    /// The team of a name.
    pub fn team_named(&self, name: &str) -> Option<usize> {
        self.teams.iter().position(|team| team.name == name)
    }

    /// Fewest and most players of a match.
    pub fn sizes(&self) -> (usize, usize) {
        (self.sizes.last().copied().unwrap_or(0), self.sizes.first().copied().unwrap_or(0))
    }

    /// Most players of a party.
    pub fn largest_party(&self) -> usize {
        self.teams.iter().map(|team| team.max).max().unwrap_or(0)
    }

    /// The number by which tickets are near to each other, and what counts of a party.
    pub(crate) fn primary(&self) -> Option<(usize, Reduce)> {
        match self.primary_rule()?.asks {
            Asks::Spread { attribute, party, .. } => Some((attribute, party)),
            Asks::Gap { attribute, .. } => Some((attribute, Reduce::Avg)),
            _ => None,
        }
    }

    /// The rule whose number matters most: the first about a spread in the match, or the first of any other about
    /// numbers.
    pub(crate) fn primary_rule(&self) -> Option<&Rule> {
        let whole = |rule: &&Rule| matches!(rule.asks, Asks::Spread { within: Within::Match, .. });
        let any = |rule: &&Rule| matches!(rule.asks, Asks::Spread { .. } | Asks::Gap { .. });
        self.rules.iter().find(whole).or_else(|| self.rules.iter().find(any))
    }

    /// Positions of the rules that more members can only break and that neither a number nor a region decides.
    pub(crate) fn breaking(&self) -> Vec<usize> {
        let primary = self.primary();
        let breaks = |rule: &Rule| match rule.asks {
            Asks::Spread { attribute, party, within: Within::Match, .. } => {
                primary != Some((attribute, party))
            }
            Asks::Common { .. } => true,
            _ => false,
        };
        (0..self.rules.len()).filter(|at| breaks(&self.rules[*at])).collect()
    }

    /// The smallest wait over `wait_ms` at which something relaxes.
    pub(crate) fn next_relaxation(&self, wait_ms: u64) -> Option<u64> {
        let limits = self.rules.iter().filter_map(|rule| rule.asks.limit()?.next_after(wait_ms));
        limits.chain(Some(self.fill_wait_ms).filter(|fill| *fill > wait_ms)).min()
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

/// Whether a rule of these teams can ever hold, as far as the definition alone can tell.
fn can_hold(rule: &Rule, at: usize, teams: &[Team]) -> Result<(), DefinitionError> {
    let never =
        |path: &str, what: String| wrong(format!("rules[{at}].{path}"), format!("never holds: {what}"));
    match &rule.asks {
        Asks::Common { at_least, .. } if at_least.last() > MAX_TAGS as f64 => {
            never("at_least", format!("an attribute has at most {MAX_TAGS} tags"))
        }
        Asks::Same { attribute } => {
            let roles = teams.iter().flat_map(|team| &team.roles);
            let needed = roles.filter(|role| role.attribute == *attribute && role.min > 0);
            let texts: std::collections::BTreeSet<&str> = needed.map(|role| role.is.as_str()).collect();
            let mut texts = texts.into_iter();
            match (texts.next(), texts.next()) {
                (Some(one), Some(other)) => {
                    never("attribute", format!("the teams need both {one} and {other}, by their roles"))
                }
                _ => Ok(()),
            }
        }
        Asks::Gap { .. } if teams.len() < 2 => {
            wrong(format!("rules[{at}].kind"), "one team has no gap to another; limit its spread instead")
        }
        _ => Ok(()),
    }
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
        RuleKind::Gap { attribute, most } => {
            Asks::Gap { attribute: of(attribute, AttributeKind::Number)?, most: limit(*most)? }
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

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "squads"
        fleet = "arena"
        [attributes]
        skill = { kind = "number", default = 1000 }
        mode = { kind = "text", default = "any" }
        maps = { kind = "tags", default = [] }
        [[teams]]
        name = "squad"
        count = 2
        min = 3
        max = 5
        roles = [{ attribute = "mode", is = "tank", min = 1 }]
        [[rules]]
        name = "skill"
        kind = "spread"
        attribute = "skill"
        most = 100
        expand = [{ after_s = 10, to = 300 }]
    "#;

    fn compile(text: &str) -> Result<Queue, DefinitionError> {
        Queue::compile(&toml::from_str(text).expect("TOML"))
    }

    #[test]
    fn a_definition_is_read_whole() {
        let queue = compile(GOOD).expect("good");
        assert_eq!(queue.sizes, [10, 9, 8, 7, 6]);
        assert_eq!((queue.team_name(0), queue.team_name(1)), ("squad 1", "squad 2"));
        assert_eq!(queue.largest_party(), 5);
        assert_eq!((queue.next_relaxation(0), queue.next_relaxation(10_000)), (Some(10_000), None));
        let even = compile(&format!("count_multiple = 2\n{GOOD}")).expect("good");
        assert_eq!(even.sizes, [10, 8, 6]);
    }

    #[test]
    fn what_contradicts_itself_is_told_with_its_place() {
        for (from, to, path, what) in [
            ("min = 3", "min = 6", "teams[0]", "at least min"),
            ("count = 2", "count = 0", "teams[0]", "count"),
            ("max = 5", "max = 600", "teams", "1000 players, not 1200"),
            ("\"tank\", min = 1", "\"tank\", min = 6", "teams[0].roles", "more players"),
            (
                "kind = \"spread\"\n        attribute = \"skill\"",
                "kind = \"spread\"\n        attribute = \"mode\"",
                "rules[0].attribute",
                "text",
            ),
            (
                "kind = \"spread\"\n        attribute = \"skill\"",
                "kind = \"spread\"\n        attribute = \"rank\"",
                "rules[0].attribute",
                "no attribute rank",
            ),
            ("to = 300", "to = 50", "rules[0].expand", "does not relax"),
            ("most = 100", "most = inf", "rules[0].most", "limit"),
            ("most = 100", "most = nan", "rules[0].most", "limit"),
            ("default = 1000", "default = \"x\"", "attributes.skill.default", "number"),
            ("default = 1000", "default = nan", "attributes.skill.default", "finite"),
            (
                "skill = {",
                "theirs = { kind = \"number\", default = 1 }\n        skill = {",
                "attributes.theirs",
                "name",
            ),
            ("name = \"skill\"", "name = \"\"", "rules[0].name", "name"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = compile(&GOOD.replacen(from, to, 1)).expect_err(to);
            assert!(error.path == path && error.what.contains(what), "{to}: {error}");
        }
        let multiple = compile(&format!("count_multiple = 11\n{GOOD}")).expect_err("no multiple");
        assert_eq!(multiple.path, "count_multiple");
        let same = GOOD.replace(
            "kind = \"spread\"\n        attribute = \"skill\"\n        most = 100",
            "kind = \"same\"\n        attribute = \"mode\"",
        );
        assert!(compile(&same).expect_err("nothing relaxes").what.contains("no number"));
    }

    #[test]
    fn what_can_never_be_is_refused() {
        let rules =
            |rule: &str| GOOD[..GOOD.find("[[rules]]").expect("there")].to_owned() + "[[rules]]\n" + rule;
        let tags = "name = \"maps\"\nkind = \"common\"\nattribute = \"maps\"\nat_least = 50\n";
        let mode = "name = \"mode\"\nkind = \"same\"\nattribute = \"mode\"\n";
        let gap = "name = \"gap\"\nkind = \"gap\"\nattribute = \"skill\"\nmost = 5\n";
        let one_role = "[{ attribute = \"mode\", is = \"tank\", min = 1 }]";
        let two_roles = "[{ attribute = \"mode\", is = \"tank\", min = 1 }, { attribute = \"mode\", is = \"healer\", min = 1 }]";
        for (text, path, what) in [
            (rules(&format!("{tags}expand = [{{ after_s = 5, to = 40 }}]")), "rules[0].at_least", "32 tags"),
            (rules(mode).replace(one_role, two_roles), "rules[0].attribute", "healer and tank"),
            (rules(gap).replace("count = 2", "count = 1"), "rules[0].kind", "no gap"),
            (
                GOOD.replace("\"tank\"", &format!("\"{}\"", "x".repeat(65))),
                "teams[0].roles[0].is",
                "64 bytes",
            ),
            (format!("fill_wait_s = 30\nticket_ttl_s = 30\n{GOOD}"), "fill_wait_s", "expire after 30 s"),
            (format!("min_players = 11\n{GOOD}"), "min_players", "room for 10"),
            (format!("max_players = 5\n{GOOD}"), "max_players", "at least 6"),
            (format!("min_players = 9\nmax_players = 8\n{GOOD}"), "max_players", "at least 9"),
            (
                format!("min_players = 7\nmax_players = 7\ncount_multiple = 2\n{GOOD}"),
                "count_multiple",
                "7 to 7",
            ),
        ] {
            let error = compile(&text).expect_err(path);
            assert!(error.path == path && error.what.contains(what), "{path}: {error}");
        }
        assert!(
            compile(&rules(&format!("{tags}expand = [{{ after_s = 5, to = 4 }}]"))).is_ok(),
            "holds in the end"
        );
        assert!(compile(&rules(mode)).is_ok(), "one role");
        let totals = compile(&format!("min_players = 7\nmax_players = 9\n{GOOD}")).expect("good");
        assert_eq!(totals.sizes, [9, 8, 7]);
        let duel = QueueSpec { min_players: 2, ..QueueSpec::simple("duel", "arena", 2) };
        assert_eq!(Queue::compile(&duel).expect_err("both").path, "min_players");
    }

    #[test]
    fn short_forms_say_what_they_are_short_for() {
        let short = QueueSpec { max_latency_ms: 80, ..QueueSpec::simple("duel", "arena", 2) };
        let queue = Queue::compile(&short).expect("short");
        assert_eq!((queue.sizes.as_slice(), queue.team_name(0)), ([2].as_slice(), "players"));
        assert_eq!(queue.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["max_latency_ms"]);
        let both = compile(&format!("players = 2\n{GOOD}")).expect_err("both");
        assert!(both.path == "players" && both.what.contains("either"), "{both}");
        let caps = format!(
            "max_latency_ms = 9\n{}",
            GOOD.replace("spread", "latency").replace("attribute = \"skill\"", "")
        );
        assert_eq!(compile(&caps).expect_err("two caps").path, "max_latency_ms");
        assert!(compile("name = \"n\"\nfleet = \"f\"").expect_err("nobody").what.contains("players = N"));
    }
}
