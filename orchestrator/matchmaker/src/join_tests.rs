//! Openings against new matches: which goes first, what must hold for those who join, and what a leader rather does.

use crate::testing::{player, queue};
use crate::{Formed, Offer, Opening, OpeningKey, Pool, Queue, Refusal, Ticket, TicketKey};
use muster_protocol::api::{Priority, Value};

const NOW_MS: u64 = 1_000_000;

/// Two a side, near in skill, with a tank each.
const SIDES: &str = r#"
    name = "sides"
    fleet = "arena"
    weights = { skill = 1, latency = 1, wait = 0 }
    [attributes]
    skill = { kind = "number", default = 100 }
    role = { kind = "text", default = "any" }
    [[teams]]
    name = "side"
    count = 2
    min = 2
    max = 2
    roles = [{ attribute = "role", is = "tank", min = 1 }]
    [[rules]]
    name = "near"
    kind = "spread"
    attribute = "skill"
    most = 10
    expand = [{ after_s = 10, to = 20 }, { after_s = 30, to = 100 }]
    [[rules]]
    name = "not laggy"
    kind = "latency"
    most = 100
"#;

const DUEL: &str = r#"
    name = "duel"
    fleet = "arena"
    players = 2
    weights = { skill = 1, latency = 0, wait = 0 }
    [attributes]
    skill = { kind = "number", default = 0 }
    [[rules]]
    name = "near"
    kind = "spread"
    attribute = "skill"
    most = 100
"#;

fn ticket(queue: &Queue, key: TicketKey, skill: f64) -> Ticket {
    let said = [("skill", Value::Number(skill))];
    Ticket::new(key, vec![player(queue, format!("p{key}"), &said)], NOW_MS)
}

fn tank(queue: &Queue, key: TicketKey, skill: f64) -> Ticket {
    let said = [("skill", Value::Number(skill)), ("role", Value::Text("tank".into()))];
    Ticket::new(key, vec![player(queue, format!("p{key}"), &said)], NOW_MS)
}

fn opening(key: OpeningKey, priority: Priority, playing: Vec<(Ticket, usize)>) -> Opening {
    Opening { key, region: "eu".into(), playing, since_ms: NOW_MS, priority }
}

fn offers(capacity: u32) -> [Offer; 1] {
    [Offer { region: "eu".into(), warm: capacity, capacity }]
}

fn keys(made: &Formed) -> Vec<TicketKey> {
    let mut keys: Vec<TicketKey> = made.members.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys
}

/// What is made of an opening of this priority with one of skill 50, and two who come with 0 and 40.
fn of_priority(priority: Priority) -> Vec<Formed> {
    let queue = queue(DUEL);
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(opening(7, priority, vec![(ticket(&queue, 70, 50.0), 0)])));
    for (key, skill) in [(1, 0.0), (2, 40.0)] {
        pool.insert(ticket(&queue, key, skill)).expect("admitted");
    }
    pool.form(NOW_MS, &offers(9), usize::MAX)
}

#[test]
fn the_priority_of_an_opening_says_whether_it_is_before_new_matches() {
    let high = of_priority(Priority::High);
    assert_eq!(high.iter().map(|made| (made.joins, keys(made))).collect::<Vec<_>>(), [(Some(7), vec![2])]);
    // The first of the two leads: with the other it is a better match (40 apart) than in the opening (50).
    let normal = of_priority(Priority::Normal);
    assert_eq!(normal.iter().map(|made| (made.joins, keys(made))).collect::<Vec<_>>(), [(None, vec![1, 2])]);
    let low = of_priority(Priority::Low);
    assert_eq!(low.iter().map(|made| (made.joins, keys(made))).collect::<Vec<_>>(), [(None, vec![1, 2])]);
}

#[test]
fn one_joins_rather_than_play_a_worse_match_and_a_low_opening_only_if_there_is_none() {
    let queue = queue(DUEL);
    for (priority, joined) in [(Priority::Normal, true), (Priority::Low, false)] {
        let mut pool = Pool::new(queue.clone());
        assert!(pool.open(opening(7, priority, vec![(ticket(&queue, 70, 10.0), 0)])));
        for (key, skill) in [(1, 0.0), (2, 90.0)] {
            pool.insert(ticket(&queue, key, skill)).expect("admitted");
        }
        let made = pool.form(NOW_MS, &offers(9), usize::MAX);
        assert_eq!(made.iter().any(|made| made.joins == Some(7)), joined, "{made:?}");
        assert_eq!(pool.openings(), usize::from(!joined), "one that is full is no opening");
        // Whom nothing else is left for joins it, however low.
        pool.insert(ticket(&queue, 3, 0.0)).expect("admitted");
        let made = pool.form(NOW_MS, &offers(9), usize::MAX);
        let expected = if joined { (None, vec![2, 3]) } else { (Some(7), vec![3]) };
        assert_eq!(made.iter().map(|made| (made.joins, keys(made))).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn an_opening_takes_those_who_wait_already_and_needs_no_room_for_a_match() {
    let queue = queue(DUEL);
    let mut pool = Pool::new(queue.clone());
    for (key, skill) in [(1, 30.0), (2, 200.0), (3, 90.0)] {
        pool.insert(ticket(&queue, key, skill)).expect("admitted");
    }
    assert_eq!(pool.form(NOW_MS, &offers(0), usize::MAX), [], "no room, no match");
    assert!(pool.open(opening(7, Priority::Low, vec![(ticket(&queue, 70, 100.0), 0)])));
    let made = pool.form(NOW_MS, &[], usize::MAX);
    assert_eq!(made, [], "its region is not offered");
    assert!(pool.next_due_ms().is_none_or(|due_ms| due_ms > NOW_MS), "and it waits for that");
    let made = pool.form(NOW_MS, &offers(0), usize::MAX);
    assert_eq!(made.iter().map(|made| (made.joins, keys(made))).collect::<Vec<_>>(), [(Some(7), vec![3])]);
    assert_eq!((made[0].region.as_str(), pool.openings(), pool.len()), ("eu", 0, 2));
}

#[test]
fn what_nobody_can_join_is_no_opening() {
    let queue = queue(DUEL);
    let mut pool = Pool::new(queue.clone());
    let two = vec![(ticket(&queue, 70, 0.0), 0), (ticket(&queue, 71, 0.0), 0)];
    assert!(!pool.open(opening(7, Priority::High, two)), "full");
    assert!(!pool.open(opening(7, Priority::High, Vec::new())), "nobody plays");
    assert!(!pool.open(opening(7, Priority::High, vec![(ticket(&queue, 70, 0.0), 1)])), "no such team");
    assert!(pool.open(opening(7, Priority::High, vec![(ticket(&queue, 70, 0.0), 0)])));
    assert!(pool.close(7).is_some() && pool.close(7).is_none());
    pool.insert(ticket(&queue, 1, 0.0)).expect("admitted");
    assert_eq!(pool.form(NOW_MS, &offers(9), usize::MAX), []);
}

#[test]
fn limits_relax_with_the_age_of_an_opening_and_those_who_play_may_be_further_apart_already() {
    let queue = queue(SIDES);
    let playing = vec![(tank(&queue, 70, 100.0), 0), (tank(&queue, 71, 115.0), 1)];
    let opening = opening(7, Priority::Normal, playing);
    let may = |skill: f64, after_ms: u64| {
        let newcomer = ticket(&queue, 1, skill);
        let newcomer = Ticket { entered_ms: NOW_MS + after_ms, ..newcomer };
        queue.allows_joining(&opening, &[&newcomer], &[0], NOW_MS + after_ms)
    };
    let near = || Refusal::Rule("near".into());
    // They are 15 apart, which one who comes now would not be allowed to make.
    assert_eq!((may(112.0, 0), may(116.0, 0)), (Ok(()), Err(near())));
    assert_eq!((may(120.0, 10_000), may(121.0, 10_000)), (Ok(()), Err(near())));
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(opening.clone()));
    pool.insert(Ticket { entered_ms: NOW_MS + 29_000, ..ticket(&queue, 1, 190.0) }).expect("admitted");
    assert_eq!(pool.form(NOW_MS + 29_000, &offers(9), usize::MAX), []);
    let due_ms = pool.next_due_ms().expect("the opening relaxes before the ticket does");
    assert_eq!((due_ms, pool.form(due_ms, &offers(9), usize::MAX).len()), (NOW_MS + 30_000, 1));
}

#[test]
fn seats_are_left_for_the_roles_that_a_team_misses() {
    let queue = queue(SIDES);
    let playing = vec![(ticket(&queue, 70, 100.0), 0), (tank(&queue, 71, 100.0), 1)];
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(opening(7, Priority::Normal, playing)));
    pool.insert(ticket(&queue, 1, 100.0)).expect("admitted");
    pool.insert(ticket(&queue, 2, 100.0)).expect("admitted");
    let made = pool.form(NOW_MS, &offers(9), usize::MAX);
    // One of them has the free seat beside the tank, the other one's last seat is a tank's.
    assert_eq!(made.iter().map(|made| (made.joins, made.members[0].1)).collect::<Vec<_>>(), [(Some(7), 1)]);
    pool.insert(tank(&queue, 3, 100.0)).expect("admitted");
    let made = pool.form(NOW_MS, &offers(9), usize::MAX);
    let joined: Vec<_> = made.iter().map(|made| (made.joins, made.members.clone())).collect();
    assert_eq!((joined, pool.openings()), (vec![(Some(7), vec![(3, 0)])], 0));
}

#[test]
fn a_party_is_together_and_nobody_joins_those_who_block_them_or_themselves() {
    let queue = queue(SIDES);
    let blocking = Ticket { blocks: ["p1".to_owned()].into(), ..tank(&queue, 70, 100.0) };
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(opening(7, Priority::Normal, vec![(blocking, 0)])));
    pool.insert(tank(&queue, 1, 100.0)).expect("admitted");
    let again = Ticket { key: 2, ..tank(&queue, 70, 100.0) };
    pool.insert(again).expect("admitted");
    assert_eq!(pool.form(NOW_MS, &offers(9), usize::MAX), []);
    let players = [tank(&queue, 3, 100.0), ticket(&queue, 4, 100.0)].map(|ticket| ticket.players[0].clone());
    pool.insert(Ticket::new(3, players.into(), NOW_MS)).expect("admitted");
    let made = pool.form(NOW_MS, &offers(9), usize::MAX);
    assert_eq!(made.iter().map(|made| made.members.clone()).collect::<Vec<_>>(), [vec![(3, 1)]]);
    assert_eq!(pool.openings(), 1, "there is a seat left");
}

#[test]
fn those_who_may_join_only_together_do() {
    let text = SIDES.replace("max = 2", "max = 4");
    let text = text.replace("fleet = \"arena\"", "fleet = \"arena\"\n    count_multiple = 2");
    let queue = queue(&text);
    let playing = [(70, 0), (71, 0), (72, 1), (73, 1)].map(|(key, team)| (tank(&queue, key, 100.0), team));
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(opening(7, Priority::Normal, playing.into())));
    pool.insert(ticket(&queue, 1, 100.0)).expect("admitted");
    assert_eq!(pool.form(NOW_MS, &offers(9), usize::MAX), [], "five is no number that the queue has");
    pool.insert(ticket(&queue, 2, 100.0)).expect("admitted");
    let made = pool.form(NOW_MS, &offers(9), usize::MAX);
    assert_eq!(made.iter().map(|made| (made.joins, keys(made))).collect::<Vec<_>>(), [(Some(7), vec![1, 2])]);
    assert_eq!(pool.openings(), 1);
}

/// A crowd around an opening: the seats are filled, and the same goes in, the same comes out.
#[test]
fn of_many_near_the_best_fill_the_seats() {
    let queue = queue(&SIDES.replace("max = 2", "max = 10"));
    let fill = || {
        let mut pool = Pool::new(queue.clone());
        for key in 1..=200u128 {
            // Without tanks they are no match by themselves.
            pool.insert(ticket(&queue, key, 100.0 + (key % 50) as f64)).expect("admitted");
        }
        assert_eq!(pool.form(NOW_MS, &offers(9), usize::MAX), []);
        let playing = vec![(tank(&queue, 970, 100.0), 0), (tank(&queue, 971, 100.0), 1)];
        assert!(pool.open(opening(7, Priority::Normal, playing)));
        let made = pool.form(NOW_MS, &offers(9), usize::MAX);
        assert_eq!((made.iter().map(|made| made.members.len()).sum::<usize>(), pool.openings()), (18, 0));
        made
    };
    let made = fill();
    assert!(made.iter().flat_map(keys).all(|key| key % 50 <= 10), "within the limit: {made:?}");
    assert_eq!(made, fill());
}

#[test]
fn of_openings_as_good_the_nearer_is_joined_and_a_far_one_is_no_better_than_a_near_match() {
    let queue = queue(&DUEL.replace("latency = 0", "latency = 1"));
    let newcomer = |key| Ticket {
        latencies_ms: [("eu".to_owned(), 80), ("us".to_owned(), 20)].into(),
        ..ticket(&queue, key, 0.0)
    };
    let offers = ["eu", "us"].map(|region| Offer { region: region.into(), warm: 9, capacity: 9 });
    let far = || opening(7, Priority::Normal, vec![(ticket(&queue, 70, 0.0), 0)]);
    let near =
        Opening { region: "us".into(), ..opening(8, Priority::Normal, vec![(ticket(&queue, 80, 0.0), 0)]) };
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(far()) && pool.open(near));
    pool.insert(newcomer(1)).expect("admitted");
    let made = pool.form(NOW_MS, &offers, usize::MAX);
    assert_eq!(made.iter().map(|made| made.joins).collect::<Vec<_>>(), [Some(8)]);
    let mut pool = Pool::new(queue.clone());
    assert!(pool.open(far()));
    for key in [1, 2] {
        pool.insert(newcomer(key)).expect("admitted");
    }
    let made = pool.form(NOW_MS, &offers, usize::MAX);
    let made: Vec<_> = made.iter().map(|made| (made.joins, made.region.as_str(), keys(made))).collect();
    assert_eq!(made, [(None, "us", vec![1, 2])]);
}
