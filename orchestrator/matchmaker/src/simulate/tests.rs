//! Simulations: that they are the same again, keep to what there is, and what recordings, populations and tables are.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::api::{Priority, RecordedTicket, Value};
use proptest::prelude::*;

use super::*;
use crate::testing::{DUELS, player, queue};

/// One against one, near in skill.
const ONES: &str = r#"
    name = "ones"
    fleet = "arena"
    players = 2
    [attributes]
    skill = { kind = "number", default = 1000 }
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 100
    expand = [{ after_s = 10, to = 300 }]
"#;

fn strings<const N: usize>(of: [&str; N]) -> Vec<String> {
    of.map(str::to_owned).to_vec()
}

fn scenario(servers: &[(&str, u32)], match_ms: u64) -> Scenario {
    let servers = servers.iter().map(|(region, servers)| ((*region).to_owned(), *servers)).collect();
    Scenario { servers, match_ms, tick_ms: 1, ends_ms: None }
}

fn options(tickets: usize) -> SyntheticOptions {
    let home = |region: &str, share| Home { region: region.into(), share, near_ms: 50, far_ms: 140 };
    SyntheticOptions {
        tickets,
        per_s: 2.0,
        begins_ms: 77,
        leaves_after_ms: Some(60_000),
        party_shares: vec![0.7, 0.3],
        deviations: BTreeMap::new(),
        values: [
            ("mode".to_owned(), strings(["ctf", "dm"])),
            ("maps".to_owned(), strings(["ice", "mud", "sand"])),
        ]
        .into(),
        homes: vec![home("eu", 2.0), home("us", 1.0)],
    }
}

/// Somebody alone, of a skill.
fn one(queue: &Queue, entered_ms: u64, skill: f64) -> Arrival {
    let name = format!("p{entered_ms}-{skill}");
    let ticket = Ticket::new(0, vec![player(queue, name, &[("skill", Value::Number(skill))])], entered_ms);
    Arrival { ticket, leaves_ms: None }
}

fn waits(arrivals: &[Arrival], replay: &Replay) -> Vec<Option<u64>> {
    let wait = |(arrival, outcome): (&Arrival, &Outcome)| match outcome {
        Outcome::Matched(at) => Some(replay.matches[*at].at_ms - arrival.ticket.entered_ms),
        _ => None,
    };
    arrivals.iter().zip(&replay.outcomes).map(wait).collect()
}

#[test]
fn the_same_seed_is_the_same_report_byte_for_byte() {
    let queue = queue(DUELS);
    let run = |seed| {
        let arrivals = synthetic(&queue, seed, &options(300)).expect("options");
        let replay = simulate(&queue, &arrivals, &scenario(&[("eu", 20), ("us", 20)], 60_000));
        (format!("{replay:?}"), replay.report)
    };
    let (first, report) = run(7);
    assert_eq!(first, run(7).0);
    assert_ne!(first, run(8).0);
    assert!(report.matched > 150 && report.left > 0, "it is about something: {report:?}");
    let arrivals = synthetic(&queue, 7, &options(300)).expect("options");
    let mut turned = arrivals.clone();
    turned.reverse();
    let scenario = scenario(&[("eu", 20), ("us", 20)], 60_000);
    let (one, other) = (simulate(&queue, &arrivals, &scenario), simulate(&queue, &turned, &scenario));
    assert_eq!(one.report.tickets, other.report.tickets);
    assert_eq!(one.matches.len(), other.matches.len(), "the arrivals' order is of no matter");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_replay_keeps_to_the_queue_and_to_what_there_is(
        seed in any::<u64>(),
        servers in 0u32..4,
        tick_ms in prop_oneof![Just(1u64), Just(700), Just(5_000)],
        ends_ms in prop::option::of(0u64..90_000),
    ) {
        let queue = queue(DUELS);
        let arrivals = synthetic(&queue, seed, &options(120)).expect("options");
        let match_ms = 20_000;
        let scenario =
            Scenario { tick_ms, ends_ms, ..scenario(&[("eu", servers), ("us", 1)], match_ms) };
        let replay = simulate(&queue, &arrivals, &scenario);
        let mut seen = BTreeSet::new();
        let mut changes: BTreeMap<&str, Vec<(u64, i64)>> = BTreeMap::new();
        for (number, played) in replay.matches.iter().enumerate() {
            let members: Vec<&Ticket> =
                played.members.iter().map(|(at, _)| &arrivals[*at].ticket).collect();
            let teams: Vec<usize> = played.members.iter().map(|(_, team)| *team).collect();
            prop_assert_eq!(queue.allows(&members, &teams, &played.region, played.at_ms), Ok(()));
            for (at, _) in &played.members {
                prop_assert!(seen.insert(*at), "{} is in two matches", at);
                prop_assert_eq!(replay.outcomes[*at], Outcome::Matched(number));
                prop_assert!(played.at_ms >= arrivals[*at].ticket.entered_ms);
                prop_assert!(arrivals[*at].leaves_ms.is_none_or(|leaves_ms| played.at_ms < leaves_ms));
            }
            let of_region = changes.entry(&played.region).or_default();
            of_region.extend([(played.at_ms, 1), (played.at_ms + match_ms, -1)]);
            prop_assert_eq!((played.at_ms - arrivals[0].ticket.entered_ms) % tick_ms, 0);
            prop_assert!(ends_ms.is_none_or(|ends_ms| played.at_ms <= ends_ms));
        }
        for (region, mut changes) in changes {
            changes.sort_unstable();
            let mut busy = 0;
            for (_, change) in changes {
                busy += change;
                prop_assert!(busy <= i64::from(scenario.servers[region]), "{} has no more", region);
            }
        }
        for (arrival, outcome) in arrivals.iter().zip(&replay.outcomes) {
            match outcome {
                Outcome::Left(left_ms) => prop_assert_eq!(Some(*left_ms), arrival.leaves_ms),
                Outcome::Unmatched => prop_assert!(ends_ms.is_some(), "everybody leaves in the end"),
                outcome => prop_assert!(matches!(outcome, Outcome::Matched(_))),
            }
        }
        let report = &replay.report;
        prop_assert_eq!(report.matched + report.left + report.unmatched, arrivals.len());
        prop_assert_eq!((report.matched, report.matches), (seen.len(), replay.matches.len()));
        prop_assert_eq!(report.sizes.values().sum::<usize>(), report.matches);
        prop_assert_eq!(report.regions.values().sum::<usize>(), report.matches);
    }

    /// Pairs that come far apart in time meet nobody else, so that each can only gain by a looser limit.
    #[test]
    fn who_is_asked_less_waits_no_longer(skills in prop::collection::vec(0.0f64..250.0, 1..20)) {
        let (strict, loose) = (queue(ONES), queue(&ONES.replace("most = 100", "most = 200")));
        let arrivals: Vec<Arrival> = (0u64..)
            .zip(&skills)
            .flat_map(|(pair, skill)| {
                [one(&strict, pair * 60_000, 1_000.0), one(&strict, pair * 60_000 + 1, 1_000.0 + skill)]
            })
            .collect();
        let scenario = scenario(&[("eu", 2)], 1_000);
        let (before, after) = (simulate(&strict, &arrivals, &scenario), simulate(&loose, &arrivals, &scenario));
        for (before, after) in waits(&arrivals, &before).into_iter().zip(waits(&arrivals, &after)) {
            prop_assert!(before.is_some() && after <= before, "{before:?} {after:?}");
        }
        let gains = skills.iter().any(|skill| *skill > 100.0 && *skill <= 200.0);
        let total = |replay: &Replay| waits(&arrivals, replay).into_iter().flatten().sum::<u64>();
        prop_assert_eq!(total(&after) < total(&before), gains);
    }
}

#[test]
fn time_goes_from_one_thing_that_is_due_to_the_next() {
    let queue = queue(ONES);
    let hour_ms = 3_600_000;
    let arrivals = [
        one(&queue, 0, 1_000.0),
        one(&queue, 0, 1_001.0),
        one(&queue, 1_000, 1_000.0),
        one(&queue, 2_000, 1_200.0),
        one(&queue, 3_000, 1_010.0),
    ];
    let replay = simulate(&queue, &arrivals, &scenario(&[("eu", 1)], hour_ms));
    // The first two get the server at once, and the third and the last once it is free; of all that time, nothing is
    // looked at but when they come, when the server is free, and when a limit relaxes for the one who is left.
    assert_eq!(
        waits(&arrivals, &replay),
        [Some(0), Some(0), Some(hour_ms - 1_000), None, Some(hour_ms - 3_000)]
    );
    assert_eq!(replay.outcomes[3], Outcome::Unmatched);
    assert!(replay.report.moments <= 8, "{} moments", replay.report.moments);
    assert!(!replay.report.is_cut_short);
    let alone = simulate(&queue, &arrivals[3..4], &scenario(&[("eu", 1)], 1));
    assert_eq!(
        (alone.report.moments, alone.report.longest_unmatched_ms),
        (2, 10_000),
        "it comes, a limit relaxes"
    );
    let early = Scenario { ends_ms: Some(hour_ms / 2), ..scenario(&[("eu", 1)], hour_ms) };
    let early = simulate(&queue, &arrivals, &early).report;
    assert_eq!((early.matched, early.unmatched, early.longest_unmatched_ms), (2, 3, hour_ms / 2 - 1_000));
}

#[test]
fn who_waits_for_a_full_region_looks_again_when_it_has_room() {
    let queue = queue(DUELS);
    let near_eu = [("eu".to_owned(), 20), ("us".to_owned(), 500)];
    let at = |entered_ms: u64| (0u32..4).map(move |number| (entered_ms, f64::from(number)));
    let arrivals: Vec<Arrival> = at(0)
        .chain(at(5_000))
        .map(|(entered_ms, skill)| {
            let arrival = one(&queue, entered_ms, 1_000.0 + skill);
            Arrival { ticket: Ticket { latencies_ms: near_eu.clone().into(), ..arrival.ticket }, ..arrival }
        })
        .collect();
    // The other region has room all the time, and is of no use to them.
    let replay = simulate(&queue, &arrivals, &scenario(&[("eu", 1), ("us", 1)], 123_456));
    let made: Vec<(u64, &str)> =
        replay.matches.iter().map(|played| (played.at_ms, played.region.as_str())).collect();
    assert_eq!(made, [(0, "eu"), (123_456, "eu")]);
    assert!(replay.report.moments < 20, "{} moments", replay.report.moments);
    let report = replay.report;
    assert_eq!((report.latency_ms.map(|of| of.max), report.sizes.get(&4)), (Some(20.0), Some(&2)));
    assert_eq!((report.spread.map(|of| of.max), report.gap.map(|of| of.max)), (Some(3.0), Some(0.0)));
}

#[test]
fn who_gives_up_is_gone_at_that_very_moment() {
    let queue = queue(ONES);
    let until = |arrival: Arrival, leaves_ms| Arrival { leaves_ms: Some(leaves_ms), ..arrival };
    let outcomes = |leaves_ms, tick_ms| {
        let arrivals = [until(one(&queue, 0, 1_000.0), leaves_ms), one(&queue, 4_000, 1_000.0)];
        simulate(&queue, &arrivals, &Scenario { tick_ms, ..scenario(&[("eu", 1)], 1) }).outcomes
    };
    assert_eq!(outcomes(4_000, 1), [Outcome::Left(4_000), Outcome::Unmatched]);
    assert_eq!(outcomes(4_001, 1), [Outcome::Matched(0), Outcome::Matched(0)]);
    // The other is noticed at 6 s only, and by then the first is gone.
    assert_eq!(outcomes(4_001, 3_000), [Outcome::Left(4_001), Outcome::Unmatched]);
}

#[test]
fn what_the_queue_does_not_admit_is_counted_and_left_out() {
    let queue = queue(ONES);
    let empty =
        Arrival { ticket: Ticket { players: Vec::new(), ..one(&queue, 0, 1.0).ticket }, leaves_ms: None };
    let arrivals = [empty, one(&queue, u64::MAX, 1_000.0), one(&queue, 5, 1_000.0), one(&queue, 9, 1_000.0)];
    let replay = simulate(&queue, &arrivals, &scenario(&[("eu", 1)], 0));
    let outcomes = [Outcome::Refused, Outcome::Refused, Outcome::Matched(0), Outcome::Matched(0)];
    assert_eq!(replay.outcomes, outcomes);
    assert_eq!((replay.report.refused, replay.report.tickets, replay.report.players), (2, 4, 3));
    let nowhere = simulate(&queue, &arrivals, &scenario(&[], 1));
    assert_eq!((nowhere.report.matches, nowhere.report.unmatched), (0, 2));
    assert_eq!(simulate(&queue, &[], &scenario(&[("eu", 1)], 1)).report, Report::default());
}

#[test]
fn a_distribution_is_of_the_values_there_are() {
    let of = Distribution::of_values((1..=200).rev().map(f64::from).collect()).expect("values");
    assert_eq!((of.count, of.min, of.p50, of.p90, of.p99, of.max), (200, 1.0, 100.0, 180.0, 198.0, 200.0));
    let two = Distribution::of_values(vec![2.0, 1.0]).expect("values");
    assert_eq!((two.p50, two.p90), (1.0, 2.0), "half are at most 1, and nine tenths of two are both");
    let single = Distribution::of_values(vec![4.0]).expect("a value");
    assert_eq!((single.min, single.p50, single.p99, single.max), (4.0, 4.0, 4.0, 4.0));
    assert_eq!(Distribution::of_values(Vec::new()), None);
}

#[test]
fn two_reports_stand_side_by_side() {
    let of = |values: [f64; 2]| Distribution::of_values(values.to_vec());
    let old = Report {
        tickets: 200,
        matched: 100,
        wait_ms: of([0.0, 20_000.0]),
        quality: of([0.5, 0.75]),
        sizes: [(8, 9)].into(),
        regions: [("eu".to_owned(), 9)].into(),
        ..Report::default()
    };
    let new = Report {
        matched: 150,
        wait_ms: of([0.0, 5_000.0]),
        quality: of([0.5, 0.7504]),
        sizes: [(10, 3)].into(),
        ..old.clone()
    };
    let table = compare(&old, &new);
    let lines: Vec<&str> = table.lines().collect();
    let find = |label: &str| *lines.iter().find(|line| line.starts_with(label)).expect(label);
    for (label, cells) in [
        ("tickets ", "200 200 ="),
        ("tickets matched", "100 150 +50 (+50.0 %)"),
        ("wait ms max", "20000 5000 -15000 (-75.0 %)"),
        ("quality max", "0.750 0.750 ="),
        ("team gap p50", "- - -"),
        ("matches of 8", "9 0 -9 (-100.0 %)"),
        ("matches of 10", "0 3 +3"),
        ("matches in eu", "9 9 ="),
    ] {
        let found = find(label).strip_prefix(label).expect("found by it").split_whitespace();
        assert_eq!(found.collect::<Vec<_>>().join(" "), cells, "{label}");
    }
    let ends: BTreeSet<usize> = lines.iter().map(|line| line.len()).collect();
    assert_eq!(ends.len(), 1, "every line ends where its change does:\n{table}");
    let header = find(" ");
    let column = header.find("new").expect("new") + 3;
    assert!(
        lines.iter().all(|line| !line[..column].ends_with(' ') && line[column..].starts_with(' ')),
        "{table}"
    );
}

#[test]
fn a_population_is_what_its_options_say() {
    let roles =
        DUELS.replace("max = 2", "max = 2\nroles = [{ attribute = \"mode\", is = \"tank\", min = 0 }]");
    let queue = queue(&roles);
    let mut options = SyntheticOptions { values: BTreeMap::new(), ..options(4_000) };
    let arrivals = synthetic(&queue, 3, &options).expect("options");
    assert_eq!(arrivals.len(), 4_000);
    let share = |count: usize, of: usize| count as f64 / of as f64;
    let parties = arrivals.iter().filter(|arrival| arrival.ticket.players.len() == 2).count();
    assert!((share(parties, 4_000) - 0.3).abs() < 0.03, "{parties} parties");
    let near_eu = arrivals.iter().filter(|arrival| arrival.ticket.latencies_ms["eu"] < 75).count();
    // A third lives elsewhere; of these, half of 140 ms and more is near by chance for few.
    assert!((share(near_eu, 4_000) - 0.68).abs() < 0.05, "{near_eu} near to eu");
    let lasts_ms = arrivals[3_999].ticket.entered_ms - arrivals[0].ticket.entered_ms;
    assert!((lasts_ms as f64 - 2_000_000.0).abs() < 20_000.0 && arrivals[0].ticket.entered_ms >= 77);
    let skill = queue.schema["skill"].0;
    let skills: Vec<f64> = arrivals.iter().flat_map(|arrival| arrival.ticket.numbers(skill)).collect();
    let mean = skills.iter().sum::<f64>() / skills.len() as f64;
    let variance = skills.iter().map(|skill| (skill - mean).powi(2)).sum::<f64>() / skills.len() as f64;
    assert!((mean - 1_000.0).abs() < 15.0 && (variance.sqrt() - 200.0).abs() < 15.0, "{mean} {variance}");
    let mode = queue.schema["mode"].0;
    let tanks = arrivals.iter().filter(|arrival| arrival.ticket.texts(mode).next() == Some("tank")).count();
    assert!((share(tanks, 4_000) - 0.5).abs() < 0.05, "roles' values and the default");
    assert!(
        arrivals.iter().all(|arrival| {
            let modes: BTreeSet<&str> = arrival.ticket.texts(mode).collect();
            modes.len() == 1 && queue.admits(&arrival.ticket).is_ok()
        }),
        "a party has one mode, which the queue wants to be the same"
    );
    options.leaves_after_ms = Some(5);
    options.values = [("maps".to_owned(), strings(["ice"]))].into();
    let arrivals = synthetic(&queue, 3, &options).expect("options");
    let maps = Value::Tags(["ice".to_owned()].into());
    assert!(arrivals.iter().all(|arrival| arrival.leaves_ms == Some(arrival.ticket.entered_ms + 5)));
    assert!(arrivals.iter().all(|arrival| arrival.ticket.players[0].attributes.contains(&maps)));
}

#[test]
fn options_that_mean_nothing_are_told() {
    let queue = queue(DUELS);
    let home = |share| Home { region: "eu".into(), share, near_ms: 1, far_ms: 1 };
    let values = |name: &str, of: Vec<String>| BTreeMap::from([(name.to_owned(), of)]);
    let good = options(10);
    for (options, says) in [
        (SyntheticOptions { tickets: MAX_SYNTHETIC + 1, ..good.clone() }, "tickets: at most"),
        (SyntheticOptions { per_s: 0.0, ..good.clone() }, "per_s: 0"),
        (SyntheticOptions { per_s: f64::NAN, ..good.clone() }, "per_s: NaN"),
        (SyntheticOptions { begins_ms: u64::MAX, ..good.clone() }, "per_s"),
        (SyntheticOptions { party_shares: vec![0.0], ..good.clone() }, "party_shares: shares"),
        (SyntheticOptions { party_shares: vec![1.0; 3], ..good.clone() }, "party_shares: a party of 3"),
        (SyntheticOptions { homes: vec![home(-1.0)], ..good.clone() }, "homes: shares"),
        (SyntheticOptions { deviations: [("mode".into(), 1.0)].into(), ..good.clone() }, "deviations: mode"),
        (
            SyntheticOptions { values: values("skill", strings(["x"])), ..good.clone() },
            "no texts or tags skill",
        ),
        (SyntheticOptions { values: values("mode", Vec::new()), ..good.clone() }, "mode has none"),
        (
            SyntheticOptions { values: values("mode", vec!["x".repeat(65)]), ..good.clone() },
            "at most 64 bytes",
        ),
    ] {
        let error = synthetic(&queue, 1, &options).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(synthetic(&queue, 1, &good).is_ok());
}

#[test]
fn a_recorded_line_is_an_arrival() {
    let queue = queue(DUELS);
    let line = r#"{"entered_ms":1000,"left_ms":9000,"players":[{"player":"ann","attributes":{"skill":1200}},
        {"player":"bob"}],"latencies_ms":{"eu":20},"priority":"high","filter":"skill > 3","blocks":["eve"]}"#;
    let recorded: RecordedTicket = serde_json::from_str(line).expect("a line");
    let again = serde_json::to_string(&recorded).expect("JSON");
    assert!(!again.contains('\n'), "one line");
    assert_eq!(serde_json::from_str::<RecordedTicket>(&again).expect("its own line"), recorded);
    let Arrival { ticket, leaves_ms } = queue.recorded(5, &recorded).expect("an arrival");
    assert_eq!((ticket.key, ticket.entered_ms, leaves_ms), (5, 1_000, Some(9_000)));
    assert_eq!((ticket.priority, ticket.latency("eu")), (Priority::High, 20));
    let skill = queue.schema["skill"].0;
    assert_eq!(
        ticket.numbers(skill).collect::<Vec<_>>(),
        [1_200.0, 1_000.0],
        "what is not said is the default"
    );
    assert!(ticket.filter.is_some() && ticket.blocks.contains("eve"));
    let least: RecordedTicket =
        serde_json::from_str(r#"{"entered_ms":1,"players":[{"player":"ann"}]}"#).expect("a line");
    assert!(queue.recorded(1, &least).is_ok());
    assert!(serde_json::from_str::<RecordedTicket>(r#"{"entered":1,"players":[]}"#).is_err());
}

#[test]
fn a_fault_of_a_line_is_told_with_its_field() {
    let queue = queue(DUELS);
    let long = format!(r#""players":[{{"player":"{}"}}]"#, "x".repeat(129));
    let blocks = format!(r#""players":[{{"player":"ann"}}],"blocks":{:?}"#, (0..257).collect::<Vec<_>>());
    let blocks = blocks.replace(", ", "\",\"").replace(":[0", ":[\"0").replace("256]", "256\"]");
    let regions: Vec<String> = (0..65).map(|region| format!("\"r{region}\":1")).collect();
    let regions = format!(r#""players":[],"latencies_ms":{{{}}}"#, regions.join(","));
    for (rest, says) in [
        (r#""players":[]"#, "players: a ticket needs at least one player"),
        (r#""players":[{"player":"ann"},{"player":"ann"}]"#, "players: player \"ann\" is in the party twice"),
        (r#""players":[{"player":"a"},{"player":"b"},{"player":"c"}]"#, "players: a party of 3"),
        (r#""players":[{"player":""}]"#, "players[0].player: a name has 1 to 128 bytes, not 0"),
        (long.as_str(), "players[0].player: a name has 1 to 128 bytes, not 129"),
        (
            r#""players":[{"player":"a"},{"player":"b","attributes":{"rank":1}}]"#,
            "players[1].attributes: this queue declares no attribute \"rank\"",
        ),
        (
            r#""players":[{"player":"a","attributes":{"skill":"x"}}]"#,
            "players[0].attributes: attribute \"skill\" must be a number, not a text",
        ),
        (
            r#""players":[{"player":"a"}],"filter":"rank > 1""#,
            "filter: at character 0: the queue declares no",
        ),
        (r#""players":[{"player":"a"}],"left_ms":6"#, "left_ms: 6 is before entered_ms, 7"),
        (r#""players":[{"player":"a"}],"left_ms":9007199254740993"#, "left_ms: 9007199254740993 is later"),
        (blocks.as_str(), "blocks: a block list has at most 256 names"),
        (regions.as_str(), "latencies_ms: at most 64 regions, not 65"),
    ] {
        let line = format!(r#"{{"entered_ms":7,{rest}}}"#);
        let recorded: RecordedTicket =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let error = queue.recorded(1, &recorded).expect_err(says).to_string();
        assert!(error.starts_with(says), "{error}");
    }
}
