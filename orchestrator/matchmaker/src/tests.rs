//! What every match must be, over random pools; and how near what is formed comes to the best there is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::filter::Filter;
use crate::testing::{DUELS, player, queue};
use crate::{Formed, Offer, Player, Pool, Queue, Ticket, TicketKey};
use muster_protocol::api::{Priority, Value};

fn offers() -> Vec<Offer> {
    ["eu", "us"].map(|region| Offer { region: region.into(), warm: 1, capacity: 1_000 }).to_vec()
}

/// A random ticket that came within the last 40 s.
fn ticket(queue: &Queue, key: TicketKey, now_ms: u64, random: &mut StdRng) -> Ticket {
    let players = if random.random_bool(0.3) { 2 } else { 1 };
    let skill = f64::from(random.random_range(800..1_600));
    let mode = if random.random_bool(0.8) { "ctf" } else { "dm" };
    let players = (0..players).map(|number| {
        let maps: BTreeSet<String> = ["ice", "mud", "sand"]
            .iter()
            .filter(|_| random.random_bool(0.7))
            .map(|map| (*map).to_owned())
            .collect();
        let said = BTreeMap::from([
            ("skill".to_owned(), Value::Number(skill + f64::from(number) * 20.0)),
            ("mode".to_owned(), Value::Text(mode.to_owned())),
            ("maps".to_owned(), Value::Tags(maps)),
        ]);
        let name = format!("p{key}-{number}");
        Player { name, attributes: queue.attributes(&said).expect("declared") }
    });
    let players = players.collect();
    let latencies = [("eu", random.random_range(10..200)), ("us", random.random_range(10..200))];
    let picky = "maps == maps and abs(theirs.skill - mine.skill) <= 250";
    Ticket {
        key,
        players,
        latencies_ms: latencies.map(|(region, ms)| (region.to_owned(), ms)).into(),
        entered_ms: now_ms - random.random_range(0..40_000),
        priority: if random.random_bool(0.1) { Priority::High } else { Priority::Normal },
        filter: random.random_bool(0.2).then(|| Filter::compile(picky, queue.schema()).expect("a filter")),
        blocks: if random.random_bool(0.1) { [format!("p{}-0", key / 2)].into() } else { BTreeSet::new() },
    }
}

fn tickets(queue: &Queue, count: u128, now_ms: u64, seed: u64) -> Vec<Ticket> {
    let mut random = StdRng::seed_from_u64(seed);
    (1..=count).map(|key| ticket(queue, key, now_ms, &mut random)).collect()
}

fn formed(queue: &Queue, tickets: &[Ticket], now_ms: u64) -> Vec<Formed> {
    let mut pool = Pool::new(queue.clone());
    for ticket in tickets {
        pool.insert(ticket.clone()).expect("admitted");
    }
    let formed = pool.form(now_ms, &offers(), usize::MAX);
    let matched: usize = formed.iter().map(|made| made.members.len()).sum();
    assert_eq!(pool.len(), tickets.len() - matched, "those matched leave, the others stay");
    formed
}

const NOW_MS: u64 = 1_000_000;

#[test]
fn a_player_who_asked_twice_is_not_in_a_match_twice() {
    let queue = queue("name = \"duel\"\nfleet = \"arena\"\nplayers = 2");
    let of = |key: TicketKey, name: &str| {
        Ticket::new(key, vec![player(&queue, name, &[])], NOW_MS - 100 + key as u64)
    };
    let mut pool = Pool::new(queue.clone());
    for (key, name) in [(1, "ann"), (2, "ann"), (3, "ann")] {
        pool.insert(of(key, name)).expect("admitted");
    }
    assert_eq!(pool.form(NOW_MS, &offers(), 9), []);
    pool.insert(of(4, "bob")).expect("admitted");
    let made = pool.form(NOW_MS, &offers(), 9);
    let members: Vec<TicketKey> =
        made.iter().flat_map(|made| made.members.iter().map(|(key, _)| *key)).collect();
    assert!(made.len() == 1 && members.contains(&4), "{made:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_match_is_allowed_and_nobody_is_in_two(seed in any::<u64>(), count in 0u128..80) {
        let queue = queue(DUELS);
        let tickets = tickets(&queue, count, NOW_MS, seed);
        let mut seen = BTreeSet::new();
        let matches = formed(&queue, &tickets, NOW_MS);
        for made in &matches {
            let members: Vec<&Ticket> =
                made.members.iter().map(|(key, _)| &tickets[*key as usize - 1]).collect();
            let teams: Vec<usize> = made.members.iter().map(|(_, team)| *team).collect();
            prop_assert_eq!(queue.allows(&members, &teams, &made.region, NOW_MS), Ok(()));
            for (key, _) in &made.members {
                prop_assert!(seen.insert(*key), "{} is in two matches", key);
            }
        }
        prop_assert_eq!(formed(&queue, &tickets, NOW_MS), matches, "the same goes in, the same comes out");
    }

    #[test]
    fn a_ticket_that_left_is_in_no_match(seed in any::<u64>()) {
        let queue = queue(DUELS);
        let tickets = tickets(&queue, 40, NOW_MS, seed);
        let mut pool = Pool::new(queue);
        for ticket in &tickets {
            pool.insert(ticket.clone()).expect("admitted");
            pool.insert(ticket.clone()).expect("twice is once");
        }
        for key in (1..=40).step_by(2) {
            prop_assert!(pool.remove(key).is_some() && pool.remove(key).is_none());
        }
        prop_assert_eq!(pool.len(), 20);
        for made in pool.form(NOW_MS, &offers(), usize::MAX) {
            prop_assert!(made.members.iter().all(|(key, _)| key % 2 == 0));
        }
    }
}

/// The quality of the best match there is among `tickets`, by looking at all of them.
fn best_of_all(queue: &Queue, tickets: &[Ticket]) -> Option<f64> {
    let mut best: Option<f64> = None;
    for chosen in 1u32..1 << tickets.len() {
        let members: Vec<&Ticket> = tickets
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen >> at & 1 == 1)
            .map(|(_, ticket)| ticket)
            .collect();
        if members.iter().map(|ticket| ticket.players.len()).sum::<usize>() != 4 {
            continue;
        }
        for sides in 0u32..1 << members.len() {
            let teams: Vec<usize> = (0..members.len()).map(|at| (sides >> at & 1) as usize).collect();
            for offer in offers() {
                if queue.allows(&members, &teams, &offer.region, NOW_MS).is_ok() {
                    let quality = queue.quality(&members, &offer.region, NOW_MS);
                    best = Some(best.map_or(quality, |best: f64| best.max(quality)));
                }
            }
        }
    }
    best
}

/// How the best match formed compares to the best there is, on average over small pools; `with` changes their tickets.
fn share_of_best(with: impl Fn(&mut Ticket)) -> f64 {
    let queue = queue(DUELS);
    let (mut ours, mut best, mut there) = (0.0, 0.0, 0);
    for seed in 0..300 {
        let mut tickets = tickets(&queue, 4 + u128::from(seed % 9), NOW_MS, seed);
        tickets.iter_mut().for_each(&with);
        let made =
            formed(&queue, &tickets, NOW_MS).into_iter().map(|made| made.quality).max_by(f64::total_cmp);
        let possible = best_of_all(&queue, &tickets);
        assert_eq!(made.is_some(), possible.is_some(), "seed {seed}: a match is formed where there is one");
        there += u32::from(made.is_some());
        ours += made.unwrap_or_default();
        best += possible.unwrap_or_default();
    }
    assert!(there > 100, "{there} pools had a match");
    println!("{there} pools with a match, at {:.4} of the best quality", ours / best);
    ours / best
}

#[test]
fn what_is_formed_is_nearly_the_best_there_is() {
    assert!(share_of_best(|ticket| ticket.priority = Priority::Normal) >= 0.99);
    // One of high priority has its best match, though others could have a better one.
    assert!(share_of_best(|_| ()) >= 0.975);
}

/// Four who have said the same code, however skilled.
const FOURS: &str = r#"
    name = "fours"
    fleet = "arena"
    players = 4
    [attributes]
    skill = { kind = "number", default = 0 }
    code = { kind = "text", default = "" }
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 10000
    [[rules]]
    name = "same code"
    kind = "same"
    attribute = "code"
"#;

fn of_four(queue: &Queue, key: TicketKey, said: &[(&str, Value)], filter: Option<&str>) -> Ticket {
    Ticket {
        filter: filter.map(|text| Filter::compile(text, queue.schema()).expect("a filter")),
        ..Ticket::new(key, vec![player(queue, format!("p{key}"), said)], NOW_MS)
    }
}

#[test]
fn of_all_that_are_due_those_of_high_priority_are_served_first() {
    let queue = queue(FOURS);
    let mut pool = Pool::new(queue.clone());
    for key in 1..=8 {
        let code = if key <= 4 { "one" } else { "other" };
        let mut ticket = of_four(&queue, key, &[("code", Value::Text(code.into()))], None);
        // Those of high priority come last.
        ticket.entered_ms += key as u64;
        ticket.priority = if key > 4 { Priority::High } else { Priority::Normal };
        pool.insert(ticket).expect("admitted");
    }
    let offers = |capacity| [Offer { region: "eu".into(), warm: 1, capacity }];
    assert!(pool.form(NOW_MS + 100, &offers(0), usize::MAX).is_empty(), "nobody has room");
    let made = pool.form(NOW_MS + 200, &offers(1), usize::MAX);
    assert!(made.len() == 1 && made[0].members.iter().all(|(key, _)| *key > 4), "{made:?}");
    assert_eq!(pool.form(NOW_MS + 300, &offers(1), usize::MAX).len(), 1, "then the others");
}

/// The region of four who are so far from "eu" and "us", where there is so much room.
fn region_of_four(rules: &str, latencies: [(&str, u32); 2], capacities: [(&str, u32); 2]) -> String {
    let queue = queue(rules);
    let mut pool = Pool::new(queue.clone());
    for key in 1..=4 {
        let latencies_ms = latencies.map(|(region, ms)| (region.to_owned(), ms)).into();
        pool.insert(Ticket { latencies_ms, ..of_four(&queue, key, &[], None) }).expect("admitted");
    }
    let offers = capacities.map(|(region, capacity)| Offer { region: region.into(), warm: 1, capacity });
    let mut made = pool.form(NOW_MS, &offers, usize::MAX);
    assert_eq!(made.len(), 1);
    made.remove(0).region
}

#[test]
fn of_regions_as_good_the_nearer_is_chosen_then_the_one_with_more_room() {
    let here = [("eu", 80), ("us", 30)];
    assert_eq!(region_of_four(FOURS, here, [("eu", 9), ("us", 1)]), "us", "latency is part of quality");
    // By weights that say nothing of latency both are as good.
    let deaf = format!("weights = {{ skill = 1.0, latency = 0.0, wait = 0.0 }}\n{FOURS}");
    assert_eq!(region_of_four(&deaf, here, [("eu", 9), ("us", 1)]), "us");
    let both = [("eu", 50), ("us", 50)];
    assert_eq!(region_of_four(FOURS, both, [("eu", 1), ("us", 9)]), "us");
    assert_eq!(region_of_four(FOURS, both, [("eu", 9), ("us", 1)]), "eu");
}

#[test]
fn those_far_apart_find_each_other_behind_many_who_take_nobody() {
    let queue = queue(FOURS);
    let mut pool = Pool::new(queue.clone());
    for key in 0..3_000 {
        let is_open = key % 1_000 == 500 || key == 0;
        let skill = ("skill", Value::Number(key as f64));
        let filter = (!is_open).then_some("false");
        pool.insert(of_four(&queue, key, &[skill], filter)).expect("admitted");
    }
    let mut made = pool.form(NOW_MS, &offers(), usize::MAX);
    assert!(made.is_empty(), "so far nobody looks at first");
    while let Some(due_ms) = pool.next_due_ms().filter(|due_ms| *due_ms <= NOW_MS + 60_000) {
        made.extend(pool.form(due_ms, &offers(), usize::MAX));
    }
    let keys: BTreeSet<TicketKey> = made.iter().flat_map(|made| &made.members).map(|(key, _)| *key).collect();
    assert_eq!(keys, BTreeSet::from([0, 500, 1_500, 2_500]));
}

#[test]
fn texts_that_nobody_has_any_more_are_forgotten() {
    let queue = queue(FOURS);
    let mut pool = Pool::new(queue.clone());
    for key in 0..1_000 {
        let code = ("code", Value::Text(format!("room {key}")));
        pool.insert(of_four(&queue, key, &[code], None)).expect("admitted");
        assert_eq!(pool.buckets.len(), 1);
        pool.remove(key).expect("it is there");
    }
}
