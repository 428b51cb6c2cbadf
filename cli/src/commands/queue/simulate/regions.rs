//! Where a population is replayed: in the regions of the queue and its fleet. A ticket may name any region, also one that
//! nobody serves; it is no place to play for that.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use muster_matchmaker::simulate::Arrival;
use muster_protocol::api::QueueSpec;

use crate::output;

/// Servers in a region of which nothing is said: as many as there are matches.
const PLENTY: u32 = u32::MAX;
/// The region of a population that names none.
const ANYWHERE: &str = "anywhere";
/// Most regions that a warning names.
const MAX_NAMED: usize = 8;

/// Where a queue's matches are played, and what may mislead whoever reads the report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Regions {
    /// Servers by region.
    pub(super) servers: BTreeMap<String, u32>,
    /// In words.
    pub(super) warnings: Vec<String>,
}

/// The regions of `queue`: those that `servers` names, if any, otherwise those of the queue, or of its fleet, if that is known.
///
/// # Errors
/// None of `servers` is in a region of the queue.
pub(super) fn regions(
    queue: &QueueSpec,
    servers: &BTreeMap<String, u32>,
    fleet: Option<&BTreeSet<String>>,
    arrivals: &[Arrival],
) -> anyhow::Result<Regions> {
    let mut warnings = Vec::new();
    let of_queue: BTreeSet<String> = queue.regions.iter().cloned().collect();
    let is_of_queue = |region: &String| of_queue.is_empty() || of_queue.contains(region);
    let found: BTreeMap<String, u32> = if !servers.is_empty() {
        let (of, beyond): (BTreeMap<_, _>, BTreeMap<_, _>) =
            servers.clone().into_iter().partition(|(region, _)| is_of_queue(region));
        ensure!(
            !of.is_empty(),
            "--servers names no region of queue {}; its regions are {}",
            queue.name,
            named(&of_queue)
        );
        if !beyond.is_empty() {
            let beyond = named(beyond.keys());
            warnings.push(format!("queue {} is not in {beyond}; servers there are left out", queue.name));
        }
        of
    } else if !of_queue.is_empty() {
        of_queue.into_iter().map(|region| (region, PLENTY)).collect()
    } else if let Some(fleet) = fleet {
        fleet.iter().map(|region| (region.clone(), PLENTY)).collect()
    } else {
        let said: BTreeSet<&String> = named_by(arrivals).collect();
        if said.is_empty() {
            return Ok(Regions { servers: BTreeMap::from([(ANYWHERE.to_owned(), PLENTY)]), warnings });
        }
        warnings.push(format!(
            "which regions fleet {} has is not known, so there are servers in each that a ticket names: {}; give --servers \
             REGION=COUNT for those it has",
            queue.fleet,
            named(&said)
        ));
        said.into_iter().map(|region| (region.clone(), PLENTY)).collect()
    };
    warnings.extend(strangers(&found, arrivals));
    Ok(Regions { servers: found, warnings })
}

fn named_by(arrivals: &[Arrival]) -> impl Iterator<Item = &String> {
    arrivals.iter().flat_map(|arrival| arrival.ticket.latencies_ms.keys())
}

/// What there is to say of tickets that name regions in which nothing is played.
fn strangers(servers: &BTreeMap<String, u32>, arrivals: &[Arrival]) -> Option<String> {
    let is_strange = |region: &&String| !servers.contains_key(*region);
    let regions: BTreeSet<&String> = named_by(arrivals).filter(is_strange).collect();
    let names = |arrival: &&Arrival| arrival.ticket.latencies_ms.keys().any(|region| is_strange(&region));
    let only = |arrival: &&Arrival| arrival.ticket.latencies_ms.keys().all(|region| is_strange(&region));
    let (tickets, lost) =
        (arrivals.iter().filter(names).count(), arrivals.iter().filter(names).filter(only).count());
    (tickets > 0).then(|| {
        format!(
            "{tickets} tickets name regions in which nothing is played ({}); what they say of these counts for nothing, and \
             {lost} of them name no other, so that they are far from everywhere",
            named(&regions)
        )
    })
}

/// The first of `regions`, and how many more there are.
fn named<'a>(regions: impl IntoIterator<Item = &'a (impl AsRef<str> + 'a + ?Sized)>) -> String {
    let all: Vec<&str> = regions.into_iter().map(AsRef::as_ref).collect();
    let text = output::list(all.iter().take(MAX_NAMED));
    match all.len().checked_sub(MAX_NAMED) {
        None | Some(0) => text,
        Some(more) => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use muster_matchmaker::Queue;
    use muster_protocol::api::{PartyMember, RecordedTicket};

    use super::*;

    fn arrivals(latencies: &[&[&str]]) -> Vec<Arrival> {
        let queue = Queue::compile(&queue(&[])).expect("a queue");
        let arrival = |(key, regions): (usize, &&[&str])| {
            let players = vec![PartyMember { player: format!("p{key}"), ..PartyMember::default() }];
            let latencies_ms = regions.iter().map(|region| ((*region).to_owned(), 20)).collect();
            let line = RecordedTicket { players, latencies_ms, ..RecordedTicket::default() };
            queue.recorded(key as u128, &line).expect("a ticket")
        };
        latencies.iter().enumerate().map(arrival).collect()
    }

    fn queue(regions: &[&str]) -> QueueSpec {
        let regions = regions.iter().map(|region| (*region).to_owned()).collect();
        QueueSpec { regions, ..QueueSpec::simple("duel", "arena", 2) }
    }

    fn names(regions: &Regions) -> Vec<&str> {
        regions.servers.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_region_that_only_tickets_know_is_no_place_to_play() {
        let arrivals = arrivals(&[&["eu", "mars"], &["mars"], &["eu"], &[]]);
        let (none, fleet) = (BTreeMap::new(), BTreeSet::from(["eu".to_owned(), "us".to_owned()]));
        for (queue, fleet, expected) in
            [(queue(&["eu"]), None, &["eu"][..]), (queue(&[]), Some(&fleet), &["eu", "us"])]
        {
            let found = regions(&queue, &none, fleet, &arrivals).expect("regions");
            assert_eq!(names(&found), expected);
            let [warning] = found.warnings.as_slice() else { panic!("{:?}", found.warnings) };
            assert!(
                warning.starts_with("2 tickets name regions in which nothing is played (mars)"),
                "{warning}"
            );
            assert!(warning.contains("1 of them name no other"), "{warning}");
        }
    }

    #[test]
    fn where_nothing_is_known_the_tickets_are_believed_and_that_is_said() {
        let none = BTreeMap::new();
        let found = regions(&queue(&[]), &none, None, &arrivals(&[&["eu", "mars"]])).expect("regions");
        assert_eq!(names(&found), ["eu", "mars"]);
        assert!(
            found.warnings[0].contains("fleet arena") && found.warnings[0].contains("--servers"),
            "{found:?}"
        );
        let found = regions(&queue(&[]), &none, None, &arrivals(&[&[]])).expect("regions");
        assert_eq!((names(&found), found.warnings.len()), (vec![ANYWHERE], 0));
    }

    #[test]
    fn servers_are_taken_as_given_within_the_queues_regions() {
        let servers = BTreeMap::from([("eu".to_owned(), 3), ("us".to_owned(), 4)]);
        let found = regions(&queue(&["eu"]), &servers, None, &arrivals(&[&["eu"]])).expect("regions");
        assert_eq!(found.servers, BTreeMap::from([("eu".to_owned(), 3)]));
        assert_eq!(found.warnings, ["queue duel is not in us; servers there are left out"]);
        let error = regions(&queue(&["ap"]), &servers, None, &[]).expect_err("nowhere").to_string();
        assert!(error.contains("its regions are ap"), "{error}");
    }

    #[test]
    fn a_warning_is_bounded() {
        let many: Vec<String> = (0..30).map(|n| format!("r{n:02}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found = regions(&queue(&["eu"]), &BTreeMap::new(), None, &arrivals(&[&many])).expect("regions");
        assert!(found.warnings[0].contains("r07 and 22 more"), "{}", found.warnings[0]);
    }
}
