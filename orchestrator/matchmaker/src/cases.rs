//! The cases of docs/matchmaking.md: the queues shown there do what is said of them there.

use std::collections::{BTreeMap, BTreeSet};

use crate::filter::Filter;
use crate::testing::queue;
use crate::{Formed, Offer, Player, Pool, Queue, Ticket, TicketKey};
use muster_protocol::api::Value;

const DOCUMENT: &str = include_str!("../../../docs/matchmaking.md");
const RANK_DUEL: &str = include_str!("../../../docs/examples/queues/rank-duel.toml");
const REGION_AND_MODE: &str = include_str!("../../../docs/examples/queues/region-and-mode.toml");
const FIVE_A_SIDE: &str = include_str!("../../../docs/examples/queues/five-a-side.toml");
const ONE_AGAINST_FOUR: &str = include_str!("../../../docs/examples/queues/one-against-four.toml");

/// When the first tickets come, Unix milliseconds.
const BEGIN_MS: u64 = 1_000_000;

/// A queue in which tickets wait, and the time that has passed since [`BEGIN_MS`].
struct Case {
    queue: Queue,
    pool: Pool,
    last: TicketKey,
    now_s: u64,
}

/// What a ticket says; what is left out is as the queue's defaults have it.
#[derive(Clone, Copy, Default)]
struct Says<'a> {
    numbers: &'a [(&'a str, f64)],
    texts: &'a [(&'a str, &'a str)],
    latency_ms: u32,
    filter: Option<&'a str>,
    /// 0 for one alone.
    party: usize,
}

impl Case {
    fn new(text: &str) -> Self {
        let queue = queue(text);
        Self { pool: Pool::new(queue.clone()), queue, last: 0, now_s: 0 }
    }

    /// A ticket comes; its key.
    fn comes(&mut self, says: Says) -> TicketKey {
        self.last += 1;
        let numbers = says.numbers.iter().map(|(name, number)| ((*name).to_owned(), Value::Number(*number)));
        let texts =
            says.texts.iter().map(|(name, text)| ((*name).to_owned(), Value::Text((*text).to_owned())));
        let said: BTreeMap<String, Value> = numbers.chain(texts).collect();
        let players = (0..says.party.max(1)).map(|number| Player {
            name: format!("p{}-{number}", self.last),
            attributes: self.queue.attributes(&said).expect("declared"),
        });
        let ticket = Ticket {
            latencies_ms: [("eu".to_owned(), says.latency_ms)].into(),
            filter: says.filter.map(|text| Filter::compile(text, self.queue.schema()).expect("a filter")),
            ..Ticket::new(self.last, players.collect(), BEGIN_MS + self.now_s * 1_000)
        };
        self.pool.insert(ticket).expect("admitted");
        self.last
    }

    /// The matches made by `now_s`, at every moment at which something was due until then.
    fn by(&mut self, now_s: u64) -> Vec<Formed> {
        let offers = [Offer { region: "eu".to_owned(), warm: 1, capacity: 100 }];
        let (mut formed, until_ms) = (Vec::new(), BEGIN_MS + now_s * 1_000);
        while let Some(due_ms) = self.pool.next_due_ms().filter(|due_ms| *due_ms <= until_ms) {
            formed.extend(self.pool.form(due_ms, &offers, usize::MAX));
        }
        self.now_s = now_s;
        formed
    }

    fn team_of(&self, made: &Formed, key: TicketKey) -> &str {
        let member = made.members.iter().find(|(member, _)| *member == key);
        member.map_or("none", |(_, team)| self.queue.team_name(*team))
    }
}

fn keys(made: &Formed) -> BTreeSet<TicketKey> {
    made.members.iter().map(|(key, _)| *key).collect()
}

#[test]
fn the_document_shows_the_queues_as_they_are() {
    for text in [RANK_DUEL, REGION_AND_MODE, FIVE_A_SIDE, ONE_AGAINST_FOUR] {
        assert!(DOCUMENT.contains(&format!("```toml\n{text}```")), "{text}");
    }
}

#[test]
fn a_rank_range_is_asked_both_ways() {
    let mut case = Case::new(RANK_DUEL);
    let mut ranked = |rank: f64, filter: &str| {
        case.comes(Says { numbers: &[("rank", rank)], filter: Some(filter), ..Says::default() })
    };
    let seven = ranked(7.0, "rank >= 5 and rank <= 10");
    let twelve = ranked(12.0, "rank >= 5 and rank <= 15");
    assert!(case.by(60).is_empty(), "12 takes 7, but 7 does not take 12");
    let near = Some("abs(rank - mine.rank) <= 2");
    let five = case.comes(Says { numbers: &[("rank", 5.0)], filter: near, ..Says::default() });
    let made = case.by(60);
    assert_eq!(made.iter().map(keys).collect::<Vec<_>>(), [BTreeSet::from([seven, five])]);
    assert_eq!(case.pool.len(), 1, "{twelve} still waits");
    assert!(case.by(3_600).is_empty(), "and nothing ever relaxes for it");
}

#[test]
fn eight_start_at_once_and_four_after_a_while() {
    let mut case = Case::new(REGION_AND_MODE);
    fn says<'a>(texts: &'a [(&'a str, &'a str)]) -> Says<'a> {
        Says { texts, filter: Some("mode in [\"ctf\", \"dm\"]"), ..Says::default() }
    }
    let europe = [("region", "europe"), ("mode", "ctf")];
    let full: BTreeSet<TicketKey> = (0..8).map(|_| case.comes(says(&[("mode", "dm")]))).collect();
    assert_eq!(case.by(0).iter().map(keys).collect::<Vec<_>>(), [full]);

    let few: BTreeSet<TicketKey> = (0..5)
        .map(|_| case.comes(Says { texts: &europe, filter: Some("mode != \"race\""), ..Says::default() }))
        .collect();
    let elsewhere = case.comes(says(&[("region", "asia")]));
    let racer = case.comes(says(&[("mode", "race")]));
    assert!(case.by(14).is_empty(), "only full matches before 15 s");
    assert_eq!(case.by(15).iter().map(keys).collect::<Vec<_>>(), [few]);
    assert!(case.by(3_600).is_empty() && case.pool.len() == 2, "{elsewhere} and {racer} are taken by nobody");
}

/// The players of one side: a tank, a healer and three others, of about this skill.
fn side(case: &mut Case, skill: f64, latency_ms: u32) -> Vec<TicketKey> {
    let roles = ["tank", "healer", "damage", "damage", "damage"];
    let comes = |(at, role): (usize, &str)| {
        let numbers = [("skill", skill + at as f64)];
        case.comes(Says { numbers: &numbers, texts: &[("role", role)], latency_ms, ..Says::default() })
    };
    roles.into_iter().enumerate().map(comes).collect()
}

#[test]
fn five_a_side_have_their_roles_and_are_fair() {
    let mut case = Case::new(FIVE_A_SIDE);
    let mut all = side(&mut case, 1_500.0, 20);
    all.extend(side(&mut case, 1_560.0, 20));
    let made = case.by(0);
    assert_eq!(made.iter().map(|made| made.members.len()).collect::<Vec<_>>(), [10]);
    for specialist in [0, 1] {
        let teams = [all[specialist], all[specialist + 5]].map(|key| case.team_of(&made[0], key).to_owned());
        assert_ne!(teams[0], teams[1], "each side has a tank and a healer");
    }
    let average = |name: &str| {
        let skills = all.iter().enumerate().filter(|(_, key)| case.team_of(&made[0], **key) == name);
        skills.map(|(at, _)| if at < 5 { 1_500 + at } else { 1_555 + at }).sum::<usize>() as f64 / 5.0
    };
    // All of one sort on one side would be 60 apart.
    assert!((average("side 1") - average("side 2")).abs() <= 50.0);
}

#[test]
fn five_a_side_relax_with_the_wait_of_the_oldest() {
    let mut case = Case::new(FIVE_A_SIDE);
    side(&mut case, 1_500.0, 20);
    side(&mut case, 1_650.0, 20);
    assert!(case.by(9).is_empty(), "154 apart");
    assert_eq!(case.by(10).len(), 1);

    let mut far = Case::new(FIVE_A_SIDE);
    side(&mut far, 1_500.0, 20);
    side(&mut far, 1_520.0, 120);
    assert!(far.by(19).is_empty(), "120 ms away");
    assert_eq!(far.by(20).len(), 1);

    let mut never = Case::new(FIVE_A_SIDE);
    side(&mut never, 1_500.0, 20);
    side(&mut never, 1_500.0, 151);
    side(&mut never, 1_950.0, 20);
    assert!(never.by(3_600).is_empty(), "151 ms, or 450 in skill, are too much after any wait");
}

#[test]
fn five_a_side_need_a_healer_each() {
    let mut case = Case::new(FIVE_A_SIDE);
    side(&mut case, 1_500.0, 20);
    for role in ["tank", "damage", "damage", "damage", "damage"] {
        case.comes(Says { texts: &[("role", role)], latency_ms: 20, ..Says::default() });
    }
    assert!(case.by(600).is_empty(), "one healer for two sides");
    let healer = case.comes(Says { texts: &[("role", "healer")], latency_ms: 20, ..Says::default() });
    let made = case.by(600);
    assert!(made.len() == 1 && keys(&made[0]).contains(&healer), "the eleventh completes a match at once");
}

#[test]
fn five_a_side_keep_a_party_together() {
    let mut case = Case::new(FIVE_A_SIDE);
    side(&mut case, 1_500.0, 20);
    let party = case.comes(Says { latency_ms: 20, party: 3, ..Says::default() });
    let tank = case.comes(Says { texts: &[("role", "tank")], latency_ms: 20, ..Says::default() });
    let healer = case.comes(Says { texts: &[("role", "healer")], latency_ms: 20, ..Says::default() });
    let made = case.by(0);
    assert_eq!(made.len(), 1);
    assert!([party, tank, healer].iter().all(|key| keys(&made[0]).contains(key)));
}

#[test]
fn one_hunts_four_who_flee() {
    let mut case = Case::new(ONE_AGAINST_FOUR);
    let flees = Says { numbers: &[("skill", 1_000.0)], ..Says::default() };
    let prey: Vec<TicketKey> = (0..5).map(|_| case.comes(flees)).collect();
    assert!(case.by(100).is_empty(), "nobody hunts");
    let hunts = [("hunts", "yes"), ("flees", "no")];
    let hunter = case.comes(Says { numbers: &[("skill", 1_080.0)], texts: &hunts, ..Says::default() });
    let made = case.by(100);
    assert_eq!(made.len(), 1);
    assert_eq!(case.team_of(&made[0], hunter), "hunter");
    assert_eq!(prey.iter().filter(|key| case.team_of(&made[0], **key) == "prey").count(), 4);
}

#[test]
fn a_strong_hunter_waits_until_the_limit_relaxes() {
    let mut case = Case::new(ONE_AGAINST_FOUR);
    let hunts = [("hunts", "yes"), ("flees", "no")];
    case.comes(Says { numbers: &[("skill", 1_250.0)], texts: &hunts, ..Says::default() });
    (0..4).for_each(|_| {
        case.comes(Says::default());
    });
    assert!(case.by(19).is_empty(), "250 apart");
    assert_eq!(case.by(20).len(), 1);

    let mut alike = Case::new(ONE_AGAINST_FOUR);
    (0..4).for_each(|_| {
        alike.comes(Says { texts: &hunts, ..Says::default() });
    });
    let either = [("hunts", "yes"), ("flees", "yes")];
    (0..3).for_each(|_| {
        alike.comes(Says { texts: &either, ..Says::default() });
    });
    assert!(alike.by(600).is_empty(), "three of seven would flee");
    alike.comes(Says { texts: &either, ..Says::default() });
    assert_eq!(alike.by(600).len(), 1, "four who do either, and one who only hunts");
}
