//! Where queues are cut, and that tickets led in parts are matched as if they were led in one.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::testing::{DUELS, player, queue};
use crate::{Offer, TicketKey};
use muster_protocol::api::Value;

const NOW_MS: u64 = 1_000_000;

/// A census of so many tickets by region, their numbers all different.
fn census(regions: &[(&'static str, usize)]) -> Census<'static> {
    let numbers = |count: usize| (0..count).map(|number| Near(number as f64)).collect();
    Census { regions: regions.iter().map(|(region, count)| (*region, numbers(*count))).collect() }
}

fn loads(census: &Census<'_>, parts: &Parts) -> Vec<usize> {
    let mut loads = vec![0; parts.count()];
    for (region, numbers) in &census.regions {
        for number in numbers {
            loads[parts.at(Home { region, number: number.0 })] += 1;
        }
    }
    loads
}

fn named(parts: &Parts) -> Vec<(Vec<&str>, usize)> {
    let groups = parts.groups().iter();
    groups.map(|group| (group.regions.iter().map(String::as_str).collect(), group.cuts.len() + 1)).collect()
}

#[test]
fn small_regions_are_led_together_and_large_ones_in_bands() {
    let census = census(&[("eu", 50), ("us", 26), ("sa", 12), ("af", 7), ("au", 5)]);
    let parts = census.cut(4);
    assert_eq!(named(&parts), [(vec!["sa", "af", "au"], 1), (vec!["eu"], 2), (vec!["us"], 1)]);
    assert_eq!(loads(&census, &parts), [24, 25, 25, 26]);
    assert_eq!(parts.at(Home { region: "mars", number: 9.0 }), 0, "from elsewhere");
    let bands: Vec<_> = parts.iter().map(|part| (part.from, part.to)).collect();
    assert_eq!(bands, [(None, None), (None, Some(25.0)), (Some(25.0), None), (None, None)]);
    assert_eq!(census.cut(1).count(), 1);
    assert_eq!(census.cut(99).count(), MAX_PARTS);
}

#[test]
fn those_alike_are_not_cut_apart() {
    let alike = |number: f64, count| vec![Near(number); count];
    let mut numbers = alike(1_000.0, 80);
    numbers.extend(alike(1_200.0, 20));
    let census = Census { regions: [("eu", numbers)].into() };
    let parts = census.cut(4);
    assert_eq!(loads(&census, &parts), [80, 20]);
    assert_eq!(Census { regions: [("eu", alike(0.0, 50))].into() }.cut(4).count(), 1);
    assert_eq!(Census::default().cut(4).count(), 1);
}

#[test]
fn a_queue_grows_at_once_and_shrinks_late() {
    assert_eq!((wanted(0, 1), wanted(PART_TICKETS, 1), wanted(PART_TICKETS + 1, 1)), (1, 1, 2));
    assert_eq!(wanted(PART_TICKETS * 99, 3), MAX_PARTS);
    // Once two, half of what one is enough for keeps them.
    assert_eq!((wanted(PART_TICKETS / 2, 2), wanted(PART_TICKETS / 2 - 1, 2)), (2, 1));
    assert_eq!(wanted(0, 16), 1);
}

#[test]
fn parts_are_changed_only_where_that_is_worth_it() {
    let even = census(&[("eu", 40_000), ("us", 40_000)]);
    let whole = Parts::default();
    let two = even.better(&whole, 2).expect("one is too large");
    assert_eq!(loads(&even, &two), [40_000, 40_000]);
    assert_eq!(even.better(&two, 2), None, "no other two are evener");
    let uneven = census(&[("eu", 70_000), ("us", 2_000)]);
    let evener = uneven.better(&two, 2).expect("one part leads nearly all");
    assert!(loads(&uneven, &evener).iter().all(|load| *load < 40_000));
    let small = census(&[("eu", 900), ("us", 2)]);
    assert_eq!(small.better(&two, 2), None, "a part of so few is no burden");
    assert_eq!(small.better(&two, 1).map(|parts| parts.count()), Some(1));
    assert_eq!(census(&[]).better(&two, 3), None, "nobody is there to be told apart");
}

#[test]
fn whatever_was_written_every_part_has_its_number() {
    let wild = Group { regions: vec!["eu".into()], cuts: vec![5.0, f64::NAN, 1.0, 5.0] };
    let parts = Parts::new(vec![wild; 40]);
    assert_eq!((parts.count(), parts.iter().count()), (MAX_PARTS, MAX_PARTS));
    let bands = Parts::new(vec![Group { regions: Vec::new(), cuts: (0..99).map(f64::from).collect() }]);
    assert_eq!(bands.count(), MAX_PARTS);
    for number in [f64::NEG_INFINITY, -1.0, 0.0, 98.0, f64::INFINITY] {
        assert!(bands.at(Home { region: "us", number }) < MAX_PARTS);
    }
}

proptest! {
    #[test]
    fn no_part_is_twice_its_share(counts in prop::collection::vec(1usize..400, 1..30), count in 1usize..=MAX_PARTS) {
        let names: Vec<String> = (0..counts.len()).map(|region| format!("r{region}")).collect();
        let numbers = |count: usize| (0..count).map(|number| Near(number as f64)).collect::<Vec<_>>();
        let regions = names.iter().zip(&counts).map(|(name, count)| (name.as_str(), numbers(*count)));
        let census = Census { regions: regions.collect() };
        let total: usize = counts.iter().sum();
        let parts = census.cut(count);
        let loads = loads(&census, &parts);
        prop_assert_eq!(loads.iter().sum::<usize>(), total);
        prop_assert!(parts.count() <= count);
        prop_assert!(loads.iter().all(|load| *load <= 2 * total.div_ceil(count) + 1), "{:?}", loads);
    }
}

/// The pools of a queue's parts, each with every ticket, and what is committed of what they form.
struct Sharded {
    queue: Queue,
    parts: Parts,
    pools: Vec<Pool>,
    searching: BTreeMap<TicketKey, Ticket>,
    stale: usize,
}

fn offers() -> Vec<Offer> {
    ["eu", "us"].map(|region| Offer { region: region.into(), warm: 1, capacity: 1_000 }).to_vec()
}

impl Sharded {
    fn new(queue: &Queue, parts: Parts) -> Self {
        let mut sharded = Self {
            queue: queue.clone(),
            parts: Parts::default(),
            pools: Vec::new(),
            searching: BTreeMap::new(),
            stale: 0,
        };
        sharded.change(parts);
        sharded
    }

    /// The table of parts changes: pools that stay lead by the new one, others come or go.
    fn change(&mut self, parts: Parts) {
        self.pools.truncate(parts.count());
        self.parts = parts;
        while self.pools.len() < self.parts.count() {
            let mut pool = Pool::new(self.queue.clone());
            for ticket in self.searching.values() {
                pool.insert(ticket.clone()).expect("admitted");
            }
            self.pools.push(pool);
        }
        for (part, pool) in self.pools.iter_mut().enumerate() {
            pool.lead(self.parts.clone(), part);
        }
    }

    fn insert(&mut self, ticket: Ticket) {
        for pool in &mut self.pools {
            pool.insert(ticket.clone()).expect("admitted");
        }
        self.searching.insert(ticket.key, ticket);
    }

    /// Every part forms at the same time, and what is formed is committed in some order. Returns whether anything was
    /// formed.
    fn round(&mut self, random: &mut StdRng) -> bool {
        let mut formed = Vec::new();
        for (part, pool) in self.pools.iter_mut().enumerate() {
            formed.extend(pool.form(NOW_MS, &offers(), 3).into_iter().map(|made| (part, made)));
        }
        let is_any = !formed.is_empty();
        let mut matched = BTreeSet::new();
        while !formed.is_empty() {
            let (part, made) = formed.swap_remove(random.random_range(0..formed.len()));
            let keys = made.members.iter().map(|(key, _)| *key);
            if keys.clone().all(|key| self.searching.contains_key(&key)) {
                matched.extend(keys.inspect(|key| drop(self.searching.remove(key))));
                continue;
            }
            self.stale += 1;
            for key in keys {
                if let Some(ticket) = self.searching.get(&key) {
                    self.pools[part].put_back(ticket.clone()).expect("admitted");
                }
            }
        }
        for pool in &mut self.pools {
            for key in &matched {
                pool.remove(*key);
            }
        }
        is_any
    }

    /// Matches that one pool of those who are left would form.
    fn left(&self) -> usize {
        let mut whole = Pool::new(self.queue.clone());
        for ticket in self.searching.values() {
            whole.insert(ticket.clone()).expect("admitted");
        }
        whole.form(NOW_MS, &offers(), usize::MAX).len()
    }
}

fn ticket(queue: &Queue, key: TicketKey, random: &mut StdRng) -> Ticket {
    let skill = Value::Number(f64::from(random.random_range(1_000..1_250)));
    let players = (0..random.random_range(1..3))
        .map(|number| player(queue, format!("p{key}-{number}"), &[("skill", skill.clone())]));
    let latencies = [("eu", random.random_range(10..100)), ("us", random.random_range(10..100))];
    Ticket {
        latencies_ms: latencies.map(|(region, ms)| (region.to_owned(), ms)).into(),
        ..Ticket::new(key, players.collect(), NOW_MS - random.random_range(0..9_000))
    }
}

fn parts(random: &mut StdRng) -> Parts {
    let mut group = |regions: &[&str]| Group {
        regions: regions.iter().map(|region| (*region).to_owned()).collect(),
        cuts: (0..random.random_range(0..3)).map(|_| f64::from(random.random_range(1_000..1_250))).collect(),
    };
    Parts::new(vec![group(&["eu"]), group(&["us"])])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_is_left_who_would_be_matched_in_one_pool(seed in any::<u64>()) {
        let random = &mut StdRng::seed_from_u64(seed);
        let queue = queue(DUELS);
        let mut sharded = Sharded::new(&queue, parts(random));
        let mut key = 0;
        for _ in 0..random.random_range(1..6) {
            // Few enough that every group of them is looked at.
            while sharded.searching.len() < 11 && random.random_bool(0.9) {
                key += 1;
                sharded.insert(ticket(&queue, key, random));
            }
            if random.random_bool(0.3) {
                let changed = parts(random);
                sharded.change(changed);
            }
            sharded.round(random);
        }
        while sharded.round(random) {}
        prop_assert_eq!(sharded.left(), 0);
        for ticket in sharded.searching.values() {
            let part = sharded.parts.of(&queue, ticket);
            prop_assert!(part < sharded.parts.count());
        }
    }
}

#[test]
fn parts_do_form_the_same_matches_and_one_is_stale() {
    let queue = queue(DUELS);
    let mut stale = 0;
    for seed in 0..20 {
        let random = &mut StdRng::seed_from_u64(seed);
        let mut sharded = Sharded::new(&queue, parts(random));
        for key in 1..=11 {
            sharded.insert(ticket(&queue, key, random));
        }
        while sharded.round(random) {}
        stale += sharded.stale;
    }
    assert!(stale > 0, "borders were never crossed, so the races were not tried");
}
