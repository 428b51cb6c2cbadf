//! Explanations: every kind of exclusion, the counts, what can never be, the best group, and that what they promise
//! happens.

use std::collections::BTreeSet;

use muster_protocol::api::Value;
use proptest::prelude::*;

use super::*;
use crate::filter::Filter;
use crate::simulate::{Home, SyntheticOptions, synthetic};
use crate::testing::{player, queue};
use crate::{Pool, Queue, Ticket};

const NOW_MS: u64 = 1_000_000;

/// Four players in two teams, with a rule of every kind that is about a pair.
const EVERYTHING: &str = r#"
    name = "duels"
    fleet = "arena"
    [attributes]
    skill = { kind = "number", default = 1000 }
    mode = { kind = "text", default = "ctf" }
    maps = { kind = "tags", default = ["ice", "mud"] }
    clan = { kind = "tags", default = [] }
    [[teams]]
    name = "side"
    count = 2
    min = 2
    max = 2
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 150
    expand = [{ after_s = 10, to = 300 }]
    [[rules]]
    name = "a map for all"
    kind = "common"
    attribute = "maps"
    at_least = 1
    [[rules]]
    name = "same mode"
    kind = "same"
    attribute = "mode"
    [[rules]]
    name = "clans meet outside"
    kind = "apart"
    attribute = "clan"
    [[rules]]
    name = "not laggy"
    kind = "latency"
    most = 80
    expand = [{ after_s = 20, to = 160 }]
"#;

/// One team, for sizes and roles.
const CREW: &str = r#"
    name = "crew"
    fleet = "arena"
    [attributes]
    role = { kind = "text", default = "pilot" }
    skill = { kind = "number", default = 0 }
    [[teams]]
    name = "crew"
    min = 3
    max = 4
    roles = [{ attribute = "role", is = "medic", min = 2 }]
    [[rules]]
    name = "crew near in skill"
    kind = "spread"
    attribute = "skill"
    most = 5
    within = "team"
"#;

fn offers() -> Vec<Offer> {
    ["eu", "us"].map(|region| Offer { region: region.into(), warm: 1, capacity: 9 }).to_vec()
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn tags(tags: &[&str]) -> Value {
    Value::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect())
}

/// A ticket of players who came just now, each saying so much.
fn party(queue: &Queue, key: TicketKey, players: &[&[(&str, Value)]]) -> Ticket {
    let players = players.iter().enumerate().map(|(at, said)| player(queue, format!("p{key}-{at}"), said));
    Ticket::new(key, players.collect(), NOW_MS)
}

fn alone(queue: &Queue, key: TicketKey, said: &[(&str, Value)]) -> Ticket {
    party(queue, key, &[said])
}

fn pool(queue: &Queue, tickets: impl IntoIterator<Item = Ticket>) -> Pool {
    let mut pool = Pool::new(queue.clone());
    for ticket in tickets {
        pool.insert(ticket).expect("admitted");
    }
    pool
}

fn explain(queue: &Queue, tickets: &[Ticket]) -> Explanation {
    pool(queue, tickets.iter().cloned()).explain(1, NOW_MS, &offers()).expect("it is there")
}

fn filter(queue: &Queue, text: &str) -> Filter {
    Filter::compile(text, queue.schema()).expect("a filter")
}

#[test]
fn each_thing_that_excludes_is_counted_as_what_it_is() {
    let queue = queue(EVERYTHING);
    let plain = |key| alone(&queue, key, &[]);
    let far = |key, ms: [u32; 2]| Ticket {
        latencies_ms: [("eu".to_owned(), ms[0]), ("us".to_owned(), ms[1])].into(),
        ..plain(key)
    };
    let clan = |key| alone(&queue, key, &[("clan", tags(&["wolves"]))]);
    let rule = |name: &str| Exclusion::Rule(name.to_owned());
    let picky = Some(filter(&queue, "not (skill == 1001)"));
    let odd = |key| alone(&queue, key, &[("skill", Value::Number(1_001.0))]);
    let blocking = |key, blocked: &str| Ticket { blocks: [blocked.to_owned()].into(), ..plain(key) };
    for (by, own, other) in [
        (Exclusion::OwnFilter, Ticket { filter: picky.clone(), ..plain(1) }, odd(2)),
        (Exclusion::TheirFilter, odd(1), Ticket { filter: picky.clone(), ..plain(2) }),
        (Exclusion::Block, blocking(1, "p2-0"), plain(2)),
        (Exclusion::Block, plain(1), blocking(2, "p1-0")),
        (Exclusion::SamePlayer, plain(1), Ticket { players: plain(1).players, ..plain(2) }),
        (rule("near in skill"), plain(1), alone(&queue, 2, &[("skill", Value::Number(1_151.0))])),
        (rule("a map for all"), plain(1), alone(&queue, 2, &[("maps", tags(&["sand"]))])),
        (rule("same mode"), plain(1), alone(&queue, 2, &[("mode", text("dm"))])),
        (rule("clans meet outside"), clan(1), clan(2)),
        (rule("not laggy"), far(1, [80, 81]), far(2, [81, 80])),
    ] {
        let found = explain(&queue, &[own, other, plain(3)]);
        assert_eq!(found.excluded, [Excluded { by: by.clone(), tickets: 1 }], "{by:?}");
        assert_eq!((found.looked_at, found.others, found.candidates), (2, 2, 1), "{by:?}");
    }
}

#[test]
fn parties_and_roles_that_do_not_fit_exclude() {
    let queue = queue(CREW);
    let medic: &[(&str, Value)] = &[("role", text("medic"))];
    let pilot: &[(&str, Value)] = &[];
    let far: &[(&str, Value)] = &[("role", text("medic")), ("skill", Value::Number(6.0))];
    let own = party(&queue, 1, &[pilot, medic]);
    for (by, other) in [
        (Exclusion::Sizes, party(&queue, 2, &[medic, medic, pilot])),
        (Exclusion::Roles, party(&queue, 2, &[pilot, pilot])),
        (Exclusion::Rule("crew near in skill".into()), alone(&queue, 2, far)),
    ] {
        let found = explain(&queue, &[own.clone(), other, alone(&queue, 3, medic)]);
        assert_eq!(found.excluded, [Excluded { by, tickets: 1 }]);
        assert_eq!(found.candidates, 1);
    }
}

#[test]
fn the_first_thing_that_excludes_is_the_one_that_counts() {
    let queue = queue(EVERYTHING);
    let own = Ticket { filter: Some(filter(&queue, "false")), ..alone(&queue, 1, &[]) };
    let far = alone(&queue, 2, &[("skill", Value::Number(9_000.0)), ("mode", text("dm"))]);
    let found = explain(&queue, &[own, far.clone()]);
    assert_eq!(found.excluded, [Excluded { by: Exclusion::OwnFilter, tickets: 1 }]);
    let found = explain(&queue, &[alone(&queue, 1, &[]), far]);
    assert_eq!(found.excluded, [Excluded { by: Exclusion::Rule("near in skill".into()), tickets: 1 }]);
}

#[test]
fn what_can_never_be_matched_is_told_so() {
    let everything = queue(EVERYTHING);
    let differs = party(&everything, 1, &[&[("mode", text("ctf"))], &[("mode", text("dm"))]]);
    let nothing = party(&everything, 1, &[&[("maps", tags(&["ice"]))], &[("maps", tags(&["mud"]))]]);
    let far = Ticket { latencies_ms: [("ap".to_owned(), 20)].into(), ..alone(&everything, 1, &[]) };
    let rule = |name: &str| name.to_owned();
    let never = |queue: &Queue, ticket: &Ticket| explain(queue, std::slice::from_ref(ticket)).never;
    let too_few =
        Never::TooFewInCommon { rule: rule("a map for all"), attribute: rule("maps"), has: 0, needs: 1.0 };
    let differing = Never::Differs { rule: rule("same mode"), attribute: rule("mode") };
    for (ticket, why) in [(differs, differing), (nothing, too_few), (far, Never::TooFar)] {
        let others: Vec<Ticket> = (2..6).map(|key| alone(&everything, key, &[])).collect();
        let found = explain(&everything, &[std::slice::from_ref(&ticket), &others].concat());
        assert_eq!(found.never, [why]);
        assert_eq!((found.candidates, found.best), (0, None), "it suits nobody, and plays nowhere");
        // Nor is it: the four others are a match, and it stays.
        let mut pool = pool(&everything, others.into_iter().chain([ticket]));
        assert_eq!(pool.form(NOW_MS + 3_600_000, &offers(), 9).len(), 1);
        assert!(pool.explain(1, NOW_MS, &offers()).is_some());
    }
    assert_eq!(never(&everything, &alone(&everything, 1, &[])), []);
    let crew = queue(CREW);
    assert_eq!(never(&crew, &party(&crew, 1, &[&[], &[], &[]])), [Never::Roles]);
    // 6 players are one team of 3 and 3 others, and 3 are one team alone: for 5 together there is no multiple of 3.
    let odd = CREW.replace("min = 3\n    max = 4", "min = 0\n    max = 5").replace("roles", "#");
    let odd = format!("count_multiple = 3\n{odd}\n[[teams]]\nname = \"guard\"\nmin = 3\nmax = 3");
    let odd = queue(&odd);
    assert_eq!(never(&odd, &party(&odd, 1, &[&[], &[], &[], &[], &[]])), [Never::Sizes]);
    assert_eq!(never(&odd, &party(&odd, 1, &[&[], &[], &[]])), []);
}

#[test]
fn a_limit_relaxes_when_it_is_said_to_and_the_match_is_made_then() {
    let queue = queue(EVERYTHING);
    let with = |key, skill: f64| alone(&queue, key, &[("skill", Value::Number(skill))]);
    let mut pool = pool(&queue, [with(1, 1_000.0), with(2, 1_050.0), with(3, 1_200.0), with(4, 1_210.0)]);
    let asked_ms = NOW_MS + 3_000;
    assert_eq!(pool.form(asked_ms, &offers(), 9), []);
    let found = pool.explain(1, asked_ms, &offers()).expect("there");
    let limit = &found.limits[0];
    assert_eq!((limit.rule.as_str(), limit.wait_ms, limit.now), ("near in skill", 3_000, 150.0));
    let next = limit.next.expect("it relaxes");
    assert_eq!((next.in_ms, next.to, found.candidates), (7_000, 300.0, 1));
    let relaxed_ms = asked_ms + next.in_ms;
    assert_eq!(pool.form(relaxed_ms - 1, &offers(), 9), []);
    let found = pool.explain(1, relaxed_ms, &offers()).expect("there");
    assert!(found.best.expect("a group").is_match() && found.candidates == 3, "all go together from then on");
    assert_eq!(pool.form(relaxed_ms, &offers(), 9).len(), 1);
    assert!(pool.is_empty());
}

#[test]
fn the_best_group_is_told_and_what_refuses_it() {
    let fair =
        format!("{EVERYTHING}\n[[rules]]\nname = \"fair\"\nkind = \"gap\"\nattribute = \"skill\"\nmost = 10");
    let fair = queue(&fair);
    let with = |key, skill: f64| alone(&fair, key, &[("skill", Value::Number(skill))]);
    let near: Vec<Ticket> = (1..=3).map(|key| with(key, 1_000.0)).collect();
    let found = explain(&fair, &near);
    let best = found.best.expect("a group");
    assert_eq!((best.players, best.is_whole, best.quality, best.refused), (3, false, None, None));
    assert_eq!((found.missing_for_smallest, found.missing_for_full, found.whole), (1, 1, None));

    let whole = explain(&fair, &[near.as_slice(), &[with(4, 1_100.0)]].concat());
    let best = whole.best.expect("a group");
    assert_eq!((best.players, best.is_whole, whole.missing_for_full), (4, true, 0));
    assert_eq!(best.refused, Some(Refused::Teams { rules: vec!["fair".into()] }));
    let enough = explain(&fair, &[near.as_slice(), &[with(4, 1_100.0), with(5, 1_001.0)]].concat());
    assert!(
        enough.best.expect("a group").is_match(),
        "a group that is allowed is found behind one that is not"
    );

    let mut full = offers();
    for offer in &mut full {
        offer.capacity = 0;
    }
    let pool = pool(&fair, near.into_iter().chain([with(4, 1_000.0)]));
    let best = pool.explain(1, NOW_MS, &full).and_then(|found| found.best).expect("a group");
    assert!(best.is_match() && !best.has_room);
}

#[test]
fn smaller_matches_wait_for_patience_to_end() {
    let patient = EVERYTHING.replace("min = 2", "min = 1").replace("count = 2", "count = 3");
    let queue = queue(&format!("fill_wait_s = 30\ncount_multiple = 2\n{patient}"));
    let five: Vec<Ticket> = (1..=5).map(|key| alone(&queue, key, &[])).collect();
    let mut pool = pool(&queue, five);
    let asked_ms = NOW_MS + 1_000;
    let found = pool.explain(1, asked_ms, &offers()).expect("there");
    assert_eq!((found.smallest, found.full, found.only_full_for_ms), (4, 6, Some(29_000)));
    assert_eq!((found.missing_for_smallest, found.missing_for_full), (0, 1));
    assert_eq!(found.best.map(|best| (best.players, best.is_whole)), Some((5, false)));
    let whole = found.whole.expect("four would do");
    assert_eq!((whole.players, whole.refused), (4, Some(Refused::By(Refusal::Size))));
    let ready_ms = asked_ms + 29_000;
    assert_eq!(pool.form(ready_ms - 1, &offers(), 9), []);
    let found = pool.explain(1, ready_ms, &offers()).expect("there");
    assert!(found.only_full_for_ms.is_none() && found.whole.expect("four").is_match());
    assert_eq!(pool.form(ready_ms, &offers(), 9).len(), 1);
}

#[test]
fn regions_say_what_is_near_now_and_ever() {
    let queue = queue(EVERYTHING);
    let latencies = [("eu", 100), ("us", 500), ("sa", 60)].map(|(region, ms)| (region.to_owned(), ms));
    let ticket = Ticket { latencies_ms: latencies.into(), ..alone(&queue, 1, &[]) };
    let offers = ["eu", "us", "sa", "ap"].map(|region| Offer {
        region: region.into(),
        warm: 0,
        capacity: u32::from(region != "sa"),
    });
    let found = pool(&queue, [ticket]).explain(1, NOW_MS, &offers).expect("there");
    let says =
        |region: &RegionNow| (region.latency_ms, region.is_near_now, region.is_near_ever, region.has_room);
    assert_eq!(
        found.regions.iter().map(says).collect::<Vec<_>>(),
        [
            (Some(100), false, true, true),
            (Some(500), false, false, true),
            (Some(60), true, true, false),
            (None, false, false, true),
        ]
    );
    assert!(found.limits.iter().all(|limit| limit.is_met_alone));
}

#[test]
fn what_it_looks_at_is_bounded_and_the_nearest() {
    let queue = queue(EVERYTHING);
    let with = |key: TicketKey| alone(&queue, key, &[("skill", Value::Number(key as f64))]);
    let found = explain(&queue, &(1..=400).map(with).collect::<Vec<_>>());
    assert_eq!((found.looked_at, found.others), (MAX_LOOKED_AT, 399));
    // From 2 to 151 are at most 150 away, and from there on they are not.
    assert_eq!((found.candidates, found.excluded[0].tickets), (150, MAX_LOOKED_AT - 150));
    // In the middle, it sees as far to either side: the limit leaves out the last three of each.
    let pool =
        pool(&queue, (1..=400).map(|key| alone(&queue, key, &[("skill", Value::Number(key as f64 * 1.2))])));
    let found = pool.explain(200, NOW_MS, &offers()).expect("there");
    assert_eq!((found.looked_at, found.candidates, found.excluded[0].tickets), (MAX_LOOKED_AT, 250, 6));
    assert_eq!(pool.explain(401, NOW_MS, &offers()), None);
}

#[test]
fn it_reads_as_plain_sentences() {
    let queue = queue(EVERYTHING);
    let latencies = |ms: [u32; 2]| [("eu".to_owned(), ms[0]), ("us".to_owned(), ms[1])].into();
    let own = Ticket { latencies_ms: latencies([40, 120]), ..alone(&queue, 1, &[]) };
    let far = alone(&queue, 2, &[("skill", Value::Number(1_400.0))]);
    let dm = alone(&queue, 3, &[("mode", text("dm"))]);
    let pool = pool(&queue, [own, far, dm, alone(&queue, 4, &[])]);
    let found = pool.explain(1, NOW_MS + 4_500, &offers()).expect("there");
    assert_eq!(
        found.to_string(),
        "Searching for 4.5 s, alone.\n\
         Of 3 other tickets searching, 1 is excluded by rule \"near in skill\", 1 is excluded by rule \"same mode\", \
         1 is left to play with.\n\
         Gathered so far are 2 of 4 players in eu; 2 more are needed.\n\
         Rule \"near in skill\" asks for skill at most 150 apart now, and in 5.5 s, skill at most 300 apart.\n\
         Rule \"a map for all\" asks for at least 1 of maps in common now, for good.\n\
         Rule \"not laggy\" asks for a round trip of at most 80 ms now, and in 15.5 s, a round trip of at most 160 ms.\n\
         Region eu is 40 ms away: near enough.\n\
         Region us is 120 ms away: too far now (at most 80 ms), but not for good."
    );
    let crew = self::queue(CREW);
    let words = explain(&crew, &[party(&crew, 1, &[&[], &[], &[]])]).words();
    assert_eq!(
        words[1],
        "It can never be matched: wherever the party fits, the players of a role no longer do."
    );
    assert_eq!(words[2], "Nobody else is searching.");
}

/// A random pool of who came within the last 40 s.
fn crowd(queue: &Queue, seed: u64, tickets: usize, party_shares: &[f64]) -> Vec<Ticket> {
    let home = |region: &str| Home { region: region.into(), share: 1.0, near_ms: 60, far_ms: 160 };
    let values = [
        ("mode", vec!["ctf", "ctf", "dm"]),
        ("maps", vec!["ice", "mud", "sand"]),
        ("clan", vec!["a", "b", "c", "d", "e", "f"]),
    ];
    let values = values.map(|(name, of)| (name.to_owned(), of.into_iter().map(str::to_owned).collect()));
    let options = SyntheticOptions {
        tickets,
        per_s: (tickets as f64 / 40.0).max(1.0),
        begins_ms: NOW_MS - 40_000,
        party_shares: party_shares.to_vec(),
        homes: vec![home("eu"), home("us")],
        values: values.into(),
        ..SyntheticOptions::default()
    };
    let arrivals = synthetic(queue, seed, &options).expect("options");
    let tickets = arrivals.into_iter().map(|arrival| arrival.ticket).enumerate();
    tickets
        .map(|(at, ticket)| Ticket {
            filter: (at % 5 == 0).then(|| filter(queue, "abs(skill - mine.skill) < 200")),
            blocks: if at % 7 == 0 { [format!("p{}-0", at / 2)].into() } else { BTreeSet::new() },
            ..ticket
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn everybody_looked_at_is_counted_once(seed in any::<u64>(), tickets in 1usize..60) {
        let queue = queue(EVERYTHING);
        let crowd = crowd(&queue, seed, tickets, &[0.7, 0.3]);
        let pool = pool(&queue, crowd.clone());
        for own in &crowd {
            let found = pool.explain(own.key, NOW_MS, &offers()).expect("there");
            let excluded: usize = found.excluded.iter().map(|excluded| excluded.tickets).sum();
            prop_assert_eq!(excluded + found.candidates, found.looked_at);
            prop_assert_eq!(found.looked_at, tickets - 1);
            for group in found.best.iter().chain(&found.whole) {
                let members: Vec<&Ticket> =
                    group.tickets.iter().map(|key| &crowd[*key as usize - 1]).collect();
                let players: usize = members.iter().map(|ticket| ticket.players.len()).sum();
                prop_assert!(group.tickets.contains(&own.key) && players == group.players);
                let sides = (0u32..1 << members.len())
                    .map(|sides| (0..members.len()).map(|at| (sides >> at & 1) as usize).collect::<Vec<_>>());
                let is_allowed =
                    sides.into_iter().any(|teams| queue.allows(&members, &teams, &group.region, NOW_MS).is_ok());
                prop_assert_eq!(group.is_match(), is_allowed, "{:?}", group);
            }
        }
    }

    /// Where a match is two tickets, a candidate is whom a match could be made with: that is asked of the queue.
    #[test]
    fn candidates_are_those_the_queue_allows(seed in any::<u64>(), tickets in 2usize..30) {
        let queue = queue(&EVERYTHING.replace("min = 2\n    max = 2", "min = 1\n    max = 1"));
        let crowd = crowd(&queue, seed, tickets, &[]);
        let mut pool = pool(&queue, crowd.clone());
        let mut any_allowed = false;
        for own in &crowd {
            let allowed = crowd.iter().filter(|other| {
                other.key != own.key
                    && offers().iter().any(|offer| {
                        queue.allows(&[own, other], &[0, 1], &offer.region, NOW_MS).is_ok()
                    })
            });
            let allowed = allowed.count();
            any_allowed |= allowed > 0;
            let found = pool.explain(own.key, NOW_MS, &offers()).expect("there");
            prop_assert_eq!(found.candidates, allowed);
            prop_assert_eq!(found.best.is_some_and(|best| best.is_match()), allowed > 0);
        }
        // Forming tries some groups of many, and so may miss one; what it makes was allowed.
        prop_assert!(any_allowed || pool.form(NOW_MS, &offers(), usize::MAX).is_empty());
    }
}
