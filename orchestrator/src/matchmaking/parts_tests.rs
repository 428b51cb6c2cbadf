//! A queue in parts: matchmakers that race across a border, parts that grow and shrink, an owner that is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_engine::limits::SHARDS;
use muster_engine::{Engine, Options, ShardIndex, TokioClock, WorkerId};
use muster_matchmaker::parts::{Group, Parts};
use muster_protocol::api::{QueueSpec, TicketRequest, Value};
use muster_protocol::id::{MatchId, TicketId};
use muster_store::Database;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Matchmaker, Pass, parting};
use crate::check;
use crate::keyspace;
use crate::records::{Id, QueueMode, QueuePartsRecord, QueueRecord, QueueVersionRecord, TicketState};
use crate::state::{StateError, kv, matches, parts as part_records, queues, workflows};
use crate::testing::eventually;
use crate::world::{FLEET, NAMESPACE, QUEUE, RETENTION_MS, World};

/// Pairs near in rank, more loosely after 5 s, in so many parts.
fn spec(parts: u32) -> QueueSpec {
    let text = format!(
        r#"
        name = {QUEUE:?}
        fleet = {FLEET:?}
        players = 2
        ticket_ttl_s = 600
        parts = {parts}
        attributes = {{ rank = {{ kind = "number", default = 0 }} }}
        [[rules]]
        name = "near in rank"
        kind = "spread"
        attribute = "rank"
        most = 10
        expand = [{{ after_s = 5, to = 1000 }}]
        "#
    );
    toml::from_str(&text).expect("a queue")
}

async fn world(parts: u32, (warm, max): (u32, u32)) -> World {
    let world = World::with_region().await;
    world.apply_fleet("sha256:one", &[("eu", warm, max)]).await;
    world.apply_queue_spec(&spec(parts)).await;
    world.settle().await;
    world
}

fn matchmaker(world: &World, part: usize) -> Matchmaker {
    Matchmaker::of_part(world.db.clone(), NAMESPACE.into(), QUEUE.into(), part)
}

async fn pass(world: &World, matchmaker: &mut Matchmaker) -> Pass {
    matchmaker.pass(world.now_ms()).await.expect("a pass").expect("a part").0
}

async fn ticket(world: &World, number: u64, rank: f64) -> TicketId {
    let attributes = [("rank".to_owned(), Value::Number(rank))].into();
    world.ticket_of(&TicketRequest { attributes, ..TicketRequest::new(QUEUE, format!("p{number}")) }).await
}

async fn parts(world: &World) -> Parts {
    let read = world.db.read("parts", async |mut tx| part_records::peek(&mut tx, NAMESPACE, QUEUE).await);
    read.await.expect("read")
}

async fn set_mode(world: &World, mode: QueueMode) {
    let set = world.db.run("mode", async |mut tx| queues::set_mode(&mut tx, NAMESPACE, QUEUE, mode).await);
    set.await.expect("written").expect("a queue");
}

/// Cuts the queue at these ranks, whoever waits.
async fn cut(world: &World, cuts: &[f64]) {
    let wanted = Parts::new(vec![Group { regions: Vec::new(), cuts: cuts.to_vec() }]);
    let changed = world.db.run("cut", async |mut tx| {
        let record = queues::load(&mut tx, NAMESPACE, QUEUE).await?.expect("a queue");
        let now = part_records::peek(&mut tx, NAMESPACE, QUEUE).await?;
        part_records::change(&mut tx, &record, &now, &wanted).await
    });
    assert!(changed.await.expect("written"));
}

/// How many of `tickets` search, after it was seen that nobody is in two matches or sits where they should not.
async fn searching(world: &World, tickets: &[TicketId]) -> usize {
    let (mut searching, mut matched): (usize, BTreeMap<MatchId, BTreeSet<TicketId>>) = (0, BTreeMap::new());
    for ticket in tickets {
        let record = world.see(*ticket).await.record;
        match record.match_id() {
            Some(of) => drop(matched.entry(of).or_default().insert(*ticket)),
            None => searching += usize::from(record.state() == TicketState::Searching),
        }
    }
    for (of, members) in matched {
        let record = world.db.read("match", async |mut tx| matches::peek(&mut tx, of).await).await;
        let seats = record.expect("read").expect("there").seats;
        let seated: BTreeSet<TicketId> =
            seats.iter().map(|seat| seat.ticket.map(Id::typed).expect("a ticket")).collect();
        assert_eq!((seated, seats.len()), (members, 2));
    }
    let report = check::check(&world.db).await.expect("read");
    assert_eq!(report.findings, []);
    searching
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_that_race_across_their_border_match_nobody_twice() {
    let world = world(2, (6, 60)).await;
    set_mode(&world, QueueMode::Paused).await;
    let mut tickets = Vec::new();
    for number in 0..60 {
        // Near to each other in pairs, and all of them soon: every match may be one across the border.
        tickets.push(ticket(&world, number, (number * 7 % 60) as f64).await);
    }
    pass(&world, &mut matchmaker(&world, 0)).await;
    assert_eq!(parts(&world).await.count(), 2, "so many were asked for, and there are tickets to tell apart");
    set_mode(&world, QueueMode::Open).await;
    world.pass_time(6_000);
    let racers: Vec<_> = [0, 1, 0, 1]
        .into_iter()
        .map(|part| {
            let (mut matchmaker, now_ms) = (matchmaker(&world, part), world.now_ms());
            tokio::spawn(async move {
                while matchmaker.pass(now_ms).await?.expect("a part").0.stale > 0 {}
                Ok::<_, StateError>(())
            })
        })
        .collect();
    for racer in racers {
        racer.await.expect("no panic").expect("passes");
    }
    assert_eq!(searching(&world, &tickets).await, 0);
}

#[tokio::test]
async fn what_one_part_matches_another_hears_of() {
    let world = world(2, (9, 9)).await;
    cut(&world, &[100.0]).await;
    let [mut low, mut high] = [matchmaker(&world, 0), matchmaker(&world, 1)];
    let alone = ticket(&world, 1, 95.0).await;
    assert_eq!((pass(&world, &mut low).await, pass(&world, &mut high).await), Default::default());
    world.pass_time(3_000);
    // Of two across the border the later leads, with whichever part it belongs to.
    let over = ticket(&world, 2, 105.0).await;
    assert_eq!(pass(&world, &mut low).await, Pass::default(), "who comes is led by the other part");
    assert_eq!(pass(&world, &mut high).await, Pass { assigned: 1, ..Pass::default() });
    let near = ticket(&world, 3, 95.0).await;
    assert_eq!(pass(&world, &mut low).await, Pass::default(), "nobody is left, and that was told");
    let status =
        world.db.read("status", async |mut tx| queues::status(&mut tx, NAMESPACE, QUEUE).await).await;
    let status = status.expect("read");
    assert_eq!(
        (status.waits, status.wait_p90_ms),
        (2, 3_000),
        "the first part tells of matches of all parts"
    );
    assert_eq!(searching(&world, &[alone, over, near]).await, 1);

    // Of a queue that is one part nobody needs to hear it.
    world.apply_queue_spec(&spec(1)).await;
    world.pass_time(parting::EVERY_MS);
    let news = async || {
        let range = keyspace::ticket_news(NAMESPACE, QUEUE);
        let read = world.db.read("news", async |mut tx| kv::scan_keys(&mut tx, &range, 100).await);
        read.await.expect("read").len()
    };
    pass(&world, &mut low).await;
    assert_eq!(parts(&world).await.count(), 1);
    assert!(high.pass(world.now_ms()).await.expect("a pass").is_none(), "the part is no more");
    let before = news().await;
    let last = ticket(&world, 4, 95.0).await;
    assert_eq!(pass(&world, &mut low).await.assigned, 1);
    assert_eq!((news().await, searching(&world, &[near, last]).await), (before + 1, 0));
}

#[tokio::test]
async fn who_is_led_by_another_part_after_a_change_is_led_at_once() {
    let world = world(2, (9, 40)).await;
    cut(&world, &[100.0]).await;
    let mut matchmakers: Vec<Matchmaker> = (0..3).map(|part| matchmaker(&world, part)).collect();
    let mut tickets = Vec::new();
    let changes: [&[f64]; 5] = [&[100.0], &[20.0, 60.0], &[], &[10.0], &[50.0, 55.0]];
    for (round, cuts) in changes.into_iter().enumerate() {
        cut(&world, &[500.0 + round as f64]).await;
        cut(&world, cuts).await;
        for number in 0..7 {
            let number = round as u64 * 7 + number;
            tickets.push(ticket(&world, number, (number * 13 % 97) as f64).await);
        }
        for (part, matchmaker) in matchmakers.iter_mut().enumerate() {
            let found = matchmaker.pass(world.now_ms()).await.expect("a pass");
            assert_eq!(found.is_some(), part <= cuts.len(), "part {part} of {cuts:?}");
        }
        world.settle().await;
    }
    // Whoever is left is matched once everything has relaxed, so nobody was forgotten.
    world.pass_time(6_000);
    for matchmaker in &mut matchmakers {
        pass(&world, matchmaker).await;
    }
    assert_eq!(searching(&world, &tickets).await, 1, "of 35");
}

#[tokio::test]
async fn a_change_that_was_thought_of_before_another_is_not_made() {
    let world = world(2, (1, 1)).await;
    cut(&world, &[100.0]).await;
    let read = world.db.read("queue", async |mut tx| queues::peek(&mut tx, NAMESPACE, QUEUE).await);
    let record = read.await.expect("read").expect("a queue");
    let late = async |record: &QueueRecord, from: &Parts| {
        let changed = world
            .db
            .run("late", async |mut tx| part_records::change(&mut tx, record, from, &Parts::default()).await);
        changed.await.expect("written")
    };
    assert!(!late(&record, &Parts::default()).await, "it was one part long ago");
    world.apply_queue_spec(&QueueSpec { ticket_ttl_s: 30, ..spec(2) }).await;
    assert!(!late(&record, &parts(&world).await).await, "it is another queue");
    let deleted = world.db.run("delete", async |mut tx| queues::delete(&mut tx, NAMESPACE, QUEUE).await);
    assert!(deleted.await.expect("written"));
    assert!(!late(&record, &Parts::default()).await, "there is no queue");
    assert_eq!(check::check(&world.db).await.expect("read").findings, []);

    // What must not be there is found.
    let orphan = world.db.run("orphan", async |mut tx| {
        let row = QueuePartsRecord::from(&Parts::default());
        kv::save(&mut tx, &keyspace::queue_parts(NAMESPACE, QUEUE), &row);
        let row = QueueVersionRecord { version: 2, ..QueueVersionRecord::default() };
        kv::save(&mut tx, &keyspace::queue_version(NAMESPACE, QUEUE, 3), &row);
        Ok::<_, StateError>(())
    });
    orphan.await.expect("written");
    let found = check::check(&world.db).await.expect("read").findings;
    for (what, times) in [("a queue that is not there", 2), ("it is version 2", 1)] {
        let told = found.iter().filter(|finding| finding.what.contains(what)).count();
        assert_eq!(told, times, "{found:?}");
    }
}

/// A replica's engine and matchmakers.
struct Replica {
    engine: Engine,
    matchmakers: JoinHandle<()>,
}

impl Replica {
    fn start(db: &Database, number: u8, clock: TokioClock) -> Self {
        let options = Options {
            name: format!("replica {number}"),
            clock: Arc::new(clock),
            worker: WorkerId::from_bytes([number; 16]),
            seed: u64::from(number),
            ..Options::default()
        };
        let engine = Engine::start(db.clone(), crate::workflows::registry(RETENTION_MS), options);
        let clock = Arc::new(clock);
        let matchmakers =
            tokio::spawn(super::run(db.clone(), engine.shards(), clock, CancellationToken::new()));
        Self { engine, matchmakers }
    }

    fn has(&self, shard: ShardIndex) -> bool {
        self.engine.shards().borrow().contains(&shard)
    }
}

/// The time is simulated: leases end when nobody has anything else to do.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_killed_leaves_its_part_to_another() {
    let clock = TokioClock::new(1_000_000);
    let mut world = World::over(Database::memory(1));
    world.add_node("eu").await;
    world.add_edge("eu", (7_000, 7_999)).await;
    world.apply_fleet("sha256:one", &[("eu", 9, 9)]).await;
    world.apply_queue_spec(&spec(2)).await;
    world.settle().await;
    cut(&world, &[100.0]).await;
    let mut replicas: Vec<Replica> = (1..=2).map(|number| Replica::start(&world.db, number, clock)).collect();
    let homes = [0, 1].map(|part| workflows::queue_part(NAMESPACE, QUEUE, part).shard());
    eventually("both replicas", async || {
        let held: Vec<usize> = replicas.iter().map(|replica| replica.engine.shards_held()).collect();
        let is_shared = held.iter().all(|held| *held > 0);
        (is_shared && held.iter().sum::<usize>() == usize::from(SHARDS)).then_some(())
    })
    .await;
    let both = async |number: u64, rank: f64| {
        let pair = [ticket(&world, number, rank).await, ticket(&world, number + 1, rank).await];
        for ticket in pair {
            let is_matched = async || world.see(ticket).await.record.match_id().is_some();
            eventually("the match", async || is_matched().await.then_some(())).await;
        }
        assert_eq!(searching(&world, &pair).await, 0);
    };
    both(1, 50.0).await;
    both(3, 150.0).await;
    let owner = replicas.iter().position(|replica| replica.has(homes[1])).expect("one has it");
    let killed = replicas.swap_remove(owner);
    killed.matchmakers.abort();
    drop(killed.engine);
    // Its own tickets, and those of the part that may have been on the other.
    both(5, 150.0).await;
    both(7, 50.0).await;
    assert!(replicas[0].has(homes[0]) && replicas[0].has(homes[1]));
}
