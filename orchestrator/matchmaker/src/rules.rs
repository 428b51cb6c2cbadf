//! Whether a match may be: every rule, for tickets in teams, in a region, at a time.
//!
//! This is what a match is held against last, whatever formed it, and what tests hold every match against.

use std::collections::BTreeSet;

use crate::queue::{Asks, Queue, Rule, Team};
use crate::ticket::Ticket;
use muster_protocol::api::{Reduce, Within};

/// Why tickets are no match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The number of players, or of a team's.
    Size,
    /// A team's roles.
    Roles,
    /// Two of them will not play with each other, by a filter or a block list, or have a player in common.
    Unwilling,
    /// A rule, by name.
    Rule(String),
}

/// The wait of the oldest of these, in milliseconds.
pub(crate) fn oldest_wait(members: &[&Ticket], now_ms: u64) -> u64 {
    members.iter().map(|ticket| ticket.wait_ms(now_ms)).max().unwrap_or(0)
}

impl Queue {
    /// Whether `members`, each in the team that `teams` names at its place, may play in `region`.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn allows(
        &self,
        members: &[&Ticket],
        teams: &[usize],
        region: &str,
        now_ms: u64,
    ) -> Result<(), Refusal> {
        let wait_ms = oldest_wait(members, now_ms);
        let players: usize = members.iter().map(|ticket| ticket.players.len()).sum();
        let is_full = self.sizes.first() == Some(&players);
        if !self.sizes.contains(&players) || (!is_full && wait_ms < self.fill_wait_ms) {
            return Err(Refusal::Size);
        }
        for (at, team) in self.teams.iter().enumerate() {
            let inside: Vec<&Ticket> = in_team(members, teams, at).collect();
            let size: usize = inside.iter().map(|ticket| ticket.players.len()).sum();
            if size < team.min || size > team.max {
                return Err(Refusal::Size);
            }
            if !has_roles(team, &inside) {
                return Err(Refusal::Roles);
            }
        }
        if !all_willing(members) {
            return Err(Refusal::Unwilling);
        }
        let broken = self.rules.iter().find(|rule| !self.holds(rule, members, teams, region, wait_ms));
        broken.map_or(Ok(()), |rule| Err(Refusal::Rule(rule.name.clone())))
    }

    /// Whether a rule holds after a wait of the oldest, in milliseconds. Of members without teams (`teams` is empty), what
    /// is asked of teams holds.
    pub(crate) fn holds(
        &self,
        rule: &Rule,
        members: &[&Ticket],
        teams: &[usize],
        region: &str,
        wait_ms: u64,
    ) -> bool {
        self.measure(rule, members, teams, region) <= rule.asks.bound(wait_ms)
    }

    /// Whether a rule may hold for these once others have joined them, as far as they tell.
    pub(crate) fn may_hold(
        &self,
        rule: &Rule,
        members: &[&Ticket],
        teams: &[usize],
        region: &str,
        wait_ms: u64,
    ) -> bool {
        self.measure_so_far(rule, members, teams, region) <= rule.asks.bound(wait_ms)
    }

    /// Where members stand by a rule: it holds while this is at most its [`Asks::bound`].
    pub(crate) fn measure(&self, rule: &Rule, members: &[&Ticket], teams: &[usize], region: &str) -> f64 {
        match &rule.asks {
            Asks::Spread { attribute, within, party, .. } => {
                self.largest((members, teams), *within, (*attribute, *party), |numbers| {
                    spread(numbers.map(|(number, _)| number))
                })
            }
            Asks::Deviation { attribute, within, party, .. } => {
                self.largest((members, teams), *within, (*attribute, *party), |numbers| deviation(numbers))
            }
            Asks::Gap { attribute, party, .. } => self.gap((*attribute, *party), members, teams),
            Asks::Same { attribute } => {
                let mut texts = members.iter().flat_map(|ticket| ticket.texts(*attribute));
                texts.next().map_or(0, |first| texts.filter(|text| *text != first).count()) as f64
            }
            Asks::Common { attribute, .. } => -(common(members, *attribute) as f64),
            Asks::Apart { attribute } => shared(members, *attribute) as f64,
            Asks::Latency { .. } => {
                members.iter().map(|ticket| f64::from(ticket.latency(region))).fold(0.0, f64::max)
            }
        }
    }

    /// The least that [`Queue::measure`] can say once others have joined. Of a deviation it is half of the spread: newcomers
    /// can at best draw the average to the middle.
    pub(crate) fn measure_so_far(
        &self,
        rule: &Rule,
        members: &[&Ticket],
        teams: &[usize],
        region: &str,
    ) -> f64 {
        match &rule.asks {
            Asks::Deviation { attribute, within, party, .. } if *within != Within::Party => {
                self.largest((members, teams), *within, (*attribute, *party), |numbers| {
                    spread(numbers.map(|(number, _)| number)) / 2.0
                })
            }
            _ => self.measure(rule, members, teams, region),
        }
    }

    /// The largest of what `measure` says of the numbers in the match, in each team, or in each party, each of which
    /// counts for so many players.
    fn largest(
        &self,
        (members, teams): (&[&Ticket], &[usize]),
        within: Within,
        (attribute, party): (usize, Reduce),
        measure: impl Fn(&mut dyn Iterator<Item = (f64, usize)>) -> f64,
    ) -> f64 {
        let counted = |ticket: &Ticket| (ticket.number(attribute, party), ticket.players.len());
        match within {
            Within::Match => measure(&mut members.iter().map(|ticket| counted(ticket))),
            Within::Team => (0..self.teams.len())
                .map(|team| measure(&mut in_team(members, teams, team).map(counted)))
                .fold(0.0, f64::max),
            Within::Party => members
                .iter()
                .map(|ticket| measure(&mut ticket.numbers(attribute).map(|number| (number, 1))))
                .fold(0.0, f64::max),
        }
    }

    /// How far the teams' averages are apart, with what counts of a party.
    pub(crate) fn gap(
        &self,
        (attribute, party): (usize, Reduce),
        members: &[&Ticket],
        teams: &[usize],
    ) -> f64 {
        let averages = (0..self.teams.len()).filter_map(|team| {
            let parties = in_team(members, teams, team);
            let (sum, count) = parties.fold((0.0, 0), |(sum, count), ticket| {
                (sum + ticket.sum(attribute, party), count + ticket.players.len())
            });
            (count > 0).then(|| sum / count as f64)
        });
        spread(averages)
    }
}
pub(crate) fn in_team<'a>(
    members: &'a [&'a Ticket],
    teams: &'a [usize],
    team: usize,
) -> impl Iterator<Item = &'a Ticket> {
    members.iter().zip(teams).filter(move |(_, of)| **of == team).map(|(ticket, _)| *ticket)
}

/// How far the largest and the smallest are apart; 0 of none.
pub(crate) fn spread(numbers: impl Iterator<Item = f64>) -> f64 {
    let (min, max) =
        numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), n| (min.min(n), max.max(n)));
    if max < min { 0.0 } else { max - min }
}

/// How far the farthest is from the average of numbers that each count for so many players; 0 of none.
fn deviation(numbers: impl Iterator<Item = (f64, usize)>) -> f64 {
    let (mut low, mut high, mut sum, mut count) = (f64::INFINITY, f64::NEG_INFINITY, 0.0, 0.0);
    for (number, players) in numbers {
        (low, high) = (low.min(number), high.max(number));
        sum += number * players as f64;
        count += players as f64;
    }
    if count <= 0.0 {
        return 0.0;
    }
    let average = sum / count;
    // Numbers too large to be added up have no average that they could be near to.
    if !average.is_finite() {
        return f64::INFINITY;
    }
    // Half of the spread is never more, but for what was rounded off: searches rely on that.
    (high - average).max(average - low).max((high - low) / 2.0)
}

pub(crate) fn has_roles(team: &Team, inside: &[&Ticket]) -> bool {
    team.roles.iter().all(|role| {
        let texts = inside.iter().flat_map(|ticket| ticket.texts(role.attribute));
        texts.filter(|text| *text == role.is).count() >= role.min
    })
}

fn all_willing(members: &[&Ticket]) -> bool {
    let pairs = members
        .iter()
        .enumerate()
        .flat_map(|(at, one)| members[at + 1..].iter().map(move |other| (one, other)));
    pairs.into_iter().all(|(one, other)| one.accepts(other) && !one.shares_player(other))
}

/// How many tags everybody has.
pub(crate) fn common(members: &[&Ticket], attribute: usize) -> usize {
    let mut all = members.iter().flat_map(|ticket| ticket.tags(attribute));
    let Some(first) = all.next() else { return 0 };
    let rest: Vec<_> = all.collect();
    first.iter().filter(|tag| rest.iter().all(|tags| tags.contains(*tag))).count()
}

/// How many tags parties have that others of them have too.
pub(crate) fn shared(members: &[&Ticket], attribute: usize) -> usize {
    let mut seen = BTreeSet::new();
    let mut again = 0;
    for ticket in members {
        let own: BTreeSet<&String> = ticket.tags(attribute).flatten().collect();
        again += own.into_iter().filter(|tag| !seen.insert(*tag)).count();
    }
    again
}

#[cfg(test)]
mod tests {
    use muster_protocol::api::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{player, queue};
    use crate::{Opening, TicketError};
    use muster_protocol::api::Priority;

    /// A queue of two teams of one to four with one rule.
    fn with(rule: &str) -> Queue {
        queue(&format!(
            "name = \"n\"\nfleet = \"f\"\nrules = [{{ name = \"r\", attribute = \"skill\", {rule} }}]\n\
             teams = [{{ name = \"side\", count = 2, min = 1, max = 4 }}]\n\
             attributes = {{ skill = {{ kind = \"number\", default = 0 }} }}"
        ))
    }

    /// Parties of players with these numbers, each in a team, who came a second ago.
    fn allows(queue: &Queue, parties: &[(usize, &[f64])]) -> bool {
        let tickets: Vec<Ticket> = parties
            .iter()
            .enumerate()
            .map(|(key, (_, numbers))| party(queue, key as u128, numbers))
            .collect();
        let teams: Vec<usize> = parties.iter().map(|(team, _)| *team).collect();
        let of: Vec<&Ticket> = tickets.iter().collect();
        match queue.allows(&of, &teams, "eu", 1_000) {
            Ok(()) => true,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::Rule("r".to_owned()));
                false
            }
        }
    }

    fn party(queue: &Queue, key: u128, numbers: &[f64]) -> Ticket {
        let one = |(at, number): (usize, &f64)| {
            player(queue, format!("p{key}-{at}"), &[("skill", Value::Number(*number))])
        };
        Ticket::new(key, numbers.iter().enumerate().map(one).collect(), 0)
    }

    #[test]
    fn nobody_is_further_from_the_average_than_the_rule_says() {
        let rule = with("kind = \"deviation\", most = 10");
        assert!(allows(&rule, &[(0, &[0.0]), (1, &[20.0]), (0, &[10.0])]));
        // No further apart, but the average is 5: 15 from the one who is alone.
        assert!(!allows(&rule, &[(0, &[0.0]), (1, &[20.0]), (0, &[0.0]), (1, &[0.0])]));
        // A party counts as its average, once for each of its players.
        assert!(allows(&rule, &[(0, &[0.0, 20.0]), (1, &[20.0])]));
        assert!(allows(&rule, &[(0, &[0.0]), (1, &[20.0])]));
        assert!(!allows(&rule, &[(0, &[0.0, 0.0, 0.0]), (1, &[20.0])]));
        let rule = with("kind = \"deviation\", most = 10, party = \"max\"");
        assert!(allows(&rule, &[(0, &[0.0, 20.0]), (1, &[20.0])]));
        assert!(!allows(&rule, &[(0, &[0.0, 40.0]), (1, &[0.0, 1.0])]));
        let rule = with("kind = \"deviation\", most = 10, within = \"team\"");
        assert!(allows(&rule, &[(0, &[0.0]), (0, &[20.0]), (1, &[900.0])]));
        assert!(!allows(&rule, &[(0, &[0.0]), (0, &[21.0]), (1, &[900.0])]));
    }

    #[test]
    fn what_counts_of_a_party_counts_for_its_team() {
        let parties: [(usize, &[f64]); 3] = [(0, &[0.0, 30.0]), (1, &[15.0]), (1, &[15.0])];
        assert!(allows(&with("kind = \"gap\", most = 5"), &parties));
        assert!(!allows(&with("kind = \"gap\", most = 14, party = \"max\""), &parties));
        assert!(allows(&with("kind = \"gap\", most = 15, party = \"max\""), &parties));
        assert!(!allows(&with("kind = \"gap\", most = 14, party = \"min\""), &parties));
        // Once for each of its players: (30 + 30 + 0) / 3 against 20.
        let parties: [(usize, &[f64]); 3] = [(0, &[0.0, 30.0]), (0, &[0.0]), (1, &[20.0])];
        assert!(allows(&with("kind = \"gap\", most = 0, party = \"max\""), &parties));
    }

    #[test]
    fn a_party_is_held_against_itself_alone() {
        let rule =
            with("kind = \"spread\", most = 10, within = \"party\", expand = [{ after_s = 9, to = 40 }]");
        assert!(allows(&rule, &[(0, &[0.0, 10.0]), (1, &[900.0])]));
        assert!(!allows(&rule, &[(0, &[0.0, 11.0]), (1, &[5.0])]));
        let apart = party(&rule, 1, &[0.0, 30.0]);
        let other = party(&rule, 2, &[0.0]);
        assert!(rule.allows(&[&apart, &other], &[0, 1], "eu", 9_000).is_ok(), "it relaxes");
        // Those who play are the party they are; who joins them is held to the rule.
        let playing = vec![(party(&rule, 3, &[0.0, 39.0]), 0)];
        let opening =
            Opening { key: 1, region: "eu".into(), playing, since_ms: 0, priority: Priority::Normal };
        assert!(rule.allows_joining(&opening, &[&other], &[1], 1_000).is_ok());
        assert_eq!(rule.allows_joining(&opening, &[&apart], &[1], 1_000), Err(Refusal::Rule("r".to_owned())));
        assert_eq!(rule.admits_players(apart.players), Ok(()));
        let never = rule.admits_players(party(&rule, 4, &[0.0, 41.0]).players);
        assert!(matches!(&never, Err(TicketError::Never(why)) if why.contains("never allows more than 40")));
        let rule = with("kind = \"deviation\", most = 10, within = \"party\"");
        assert!(allows(&rule, &[(0, &[0.0, 20.0]), (1, &[900.0])]));
        assert!(!allows(&rule, &[(0, &[0.0, 0.0, 20.0]), (1, &[900.0])]));
    }

    #[test]
    fn numbers_too_large_to_be_added_up_are_near_to_nothing() {
        let rule = with("kind = \"deviation\", most = 10");
        assert!(!allows(&rule, &[(0, &[f64::MAX]), (1, &[f64::MAX])]));
        assert!(!allows(&rule, &[(0, &[f64::MAX]), (1, &[-f64::MAX])]));
    }

    proptest! {
        /// Searches give up those who are more than twice as far apart.
        #[test]
        fn nobody_is_further_from_another_than_twice_the_deviation(
            numbers in proptest::collection::vec((-1e6f64..1e6, 1usize..6), 1..8)
        ) {
            let apart = spread(numbers.iter().map(|(number, _)| *number));
            let deviation = deviation(numbers.iter().copied());
            prop_assert!(apart <= 2.0 * deviation, "{apart} of {deviation}");
            prop_assert!(deviation <= apart + 1e-6, "{apart} of {deviation}");
        }
    }
}
