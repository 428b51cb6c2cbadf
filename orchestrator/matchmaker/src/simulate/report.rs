//! A simulation in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Arrival, Outcome, Played};
use crate::queue::Queue;
use crate::rules::spread;
use crate::ticket::Ticket;

/// What a simulation came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Tickets of the population.
    pub tickets: usize,
    /// Players of the population.
    pub players: usize,
    /// Tickets that were matched.
    pub matched: usize,
    /// Players of these.
    pub matched_players: usize,
    /// Tickets that left unmatched.
    pub left: usize,
    /// Tickets that were unmatched at the end.
    pub unmatched: usize,
    /// Tickets that the queue does not admit.
    pub refused: usize,
    /// Matches made.
    pub matches: usize,
    /// Of the matched tickets: the wait, in milliseconds.
    pub wait_ms: Option<Distribution>,
    /// Of the matches: the quality, from 0 to 1.
    pub quality: Option<Distribution>,
    /// Of the matches: how far apart its tickets are in the number that matters most to the queue; `None` also where
    /// no rule is about numbers.
    pub spread: Option<Distribution>,
    /// Of the matches: how far apart the teams' averages are, of the attribute of the first rule about a gap, or else
    /// of that number; `None` also for one team.
    pub gap: Option<Distribution>,
    /// Of the matches: the worst round trip, in milliseconds, of those that a ticket named.
    pub latency_ms: Option<Distribution>,
    /// Matches by how many players they have.
    pub sizes: BTreeMap<usize, usize>,
    /// Matches by region.
    pub regions: BTreeMap<String, usize>,
    /// The longest a ticket searched without a match until it left or all ended, in milliseconds.
    pub longest_unmatched_ms: u64,
    /// Moments at which something was due.
    pub moments: usize,
    /// Whether it was ended before its time, having had too many moments.
    pub is_cut_short: bool,
}

/// How a number is distributed. A percentile is the smallest value that so many of all do not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distribution {
    /// Of how many values; at least 1.
    pub count: usize,
    /// The smallest.
    pub min: f64,
    /// Of 50 %.
    pub p50: f64,
    /// Of 90 %.
    pub p90: f64,
    /// Of 99 %.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Distribution {
    /// Of values in any order; `None` of none.
    pub fn of_values(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let percentile = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        let (p50, p90, p99) = (percentile(50), percentile(90), percentile(99));
        Some(Self { count: values.len(), min, p50, p90, p99, max })
    }
}

/// Counts what became of `arrivals` by `ended_ms`.
pub(super) fn report(
    queue: &Queue,
    arrivals: &[Arrival],
    matches: &[Played],
    outcomes: &[Outcome],
    ended_ms: u64,
) -> Report {
    let mut report = Report { tickets: arrivals.len(), matches: matches.len(), ..Report::default() };
    let mut waits = Vec::new();
    for (arrival, outcome) in arrivals.iter().zip(outcomes) {
        let (players, entered_ms) = (arrival.ticket.players.len(), arrival.ticket.entered_ms);
        report.players += players;
        let unmatched_until_ms = match outcome {
            Outcome::Matched(at) => {
                report.matched += 1;
                report.matched_players += players;
                waits.push(matches[*at].at_ms.saturating_sub(entered_ms) as f64);
                continue;
            }
            Outcome::Left(left_ms) => {
                report.left += 1;
                *left_ms
            }
            Outcome::Unmatched => {
                report.unmatched += 1;
                ended_ms
            }
            Outcome::Refused => {
                report.refused += 1;
                continue;
            }
        };
        let searched_ms = unmatched_until_ms.saturating_sub(entered_ms);
        report.longest_unmatched_ms = report.longest_unmatched_ms.max(searched_ms);
    }
    let primary = queue.primary();
    let gap_of = queue.balanced().filter(|_| queue.teams.len() > 1);
    let (mut spreads, mut gaps, mut latencies) = (Vec::new(), Vec::new(), Vec::new());
    for played in matches {
        let tickets: Vec<&Ticket> = played.members.iter().map(|(at, _)| &arrivals[*at].ticket).collect();
        let teams: Vec<usize> = played.members.iter().map(|(_, team)| *team).collect();
        spreads.extend(
            primary.map(|(attribute, party)| {
                spread(tickets.iter().map(|ticket| ticket.number(attribute, party)))
            }),
        );
        gaps.extend(gap_of.map(|number| queue.gap(number, &tickets, &teams)));
        let named = tickets.iter().filter_map(|ticket| ticket.latencies_ms.get(&played.region));
        latencies.extend(named.max().map(|ms| f64::from(*ms)));
        let players = tickets.iter().map(|ticket| ticket.players.len()).sum();
        *report.sizes.entry(players).or_default() += 1;
        *report.regions.entry(played.region.clone()).or_default() += 1;
    }
    report.wait_ms = Distribution::of_values(waits);
    report.quality = Distribution::of_values(matches.iter().map(|played| played.quality).collect());
    report.spread = Distribution::of_values(spreads);
    report.gap = Distribution::of_values(gaps);
    report.latency_ms = Distribution::of_values(latencies);
    report
}
