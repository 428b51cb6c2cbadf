//! The world of one simulation: workers over a store, a load on them, and what must be true at the end.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foundationdb_tuple::pack;
use futures_util::FutureExt;
use muster_engine::{
    Address, Clock, Control, Engine, Kind, Options, Registry, Status, StepContext, StepError, StepPolicy,
    Steps, TokioClock, check, control, inspect, nudge,
};
use muster_store::{Bytes, CommitFaults, Database, StoreError, Transaction};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use crate::support::{
    Account, HANDLED, TRUTH, account, bad_day, balance, number, options, order, post, send, tell,
};

/// How long a world lives under faults, in simulated time.
const LIFE: Duration = Duration::from_mins(10);
/// How long it then has to come to rest.
const REST: Duration = Duration::from_mins(30);
/// Workers at a time.
const WORKERS: usize = 3;
/// Accounts that send each other money.
const ACCOUNTS: u64 = 10;
/// A record that nobody can read.
const GARBAGE: &[u8] = b"\xff\xff";
/// Row that jobs add to, each once.
const JOBS: &[u8] = b"jobs";

/// What came of a world.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Promises that did not hold.
    pub(crate) broken: Vec<String>,
    /// Transitions made.
    pub(crate) transitions: u64,
    /// Workers killed.
    pub(crate) kills: u64,
    /// Of everything the store held in the end.
    pub(crate) digest: u64,
}

/// A clock that is sometimes set.
struct SetClock {
    base: TokioClock,
    offset_ms: AtomicI64,
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.base.now_ms().saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

/// A job that does something outside, rests, and books.
struct Job {
    outside: Arc<Mutex<Vec<String>>>,
}

impl Kind for Job {
    const KIND: &'static str = "job";
    const RETENTION: Duration = Duration::from_hours(24);
    type Input = u64;
    type Signal = u64;
}

impl Steps for Job {
    type Output = u64;

    async fn run(&self, cx: StepContext, input: u64) -> Result<u64, StepError> {
        let note = async |what: &str, key: &str| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.outside.lock().expect("whole").push(format!("{what} {key}"));
        };
        for part in 0..3 {
            cx.step("act", StepPolicy::DEFAULT, |key| {
                let note = &note;
                async move {
                    note("act", key.as_str()).await;
                    Ok(())
                }
            })
            .await?;
            let _: () = cx
                .transact("count", |cx| {
                    async move {
                        cx.tx().atomic_add(JOBS, 1);
                        Ok(())
                    }
                    .boxed()
                })
                .await?;
            cx.sleep("rest", Duration::from_secs(20 * part + 5)).await?;
        }
        Ok(input)
    }
}

/// A world under way.
pub(crate) struct World {
    db: Database,
    random: StdRng,
    clock: Arc<SetClock>,
    outside: Arc<Mutex<Vec<String>>>,
    workers: Vec<Engine>,
    next_worker: u8,
    fenced: bool,
    kills: u64,
    sent: i64,
    /// Names of timers set, by account: each must fire once.
    timers: BTreeMap<u64, Vec<String>>,
    truth: usize,
    jobs: u64,
    /// A workflow whose record nobody can read now, its key, and what it said.
    damaged: Option<(Address, Vec<u8>, Bytes)>,
    broken: Vec<String>,
}

impl World {
    /// Lives one life and says what came of it.
    pub(crate) async fn live(seed: u64, fenced: bool) -> Ended {
        let clock = SetClock { base: TokioClock::new(1_000_000_000), offset_ms: AtomicI64::new(0) };
        let mut world = Self {
            db: Database::memory(seed),
            random: StdRng::seed_from_u64(seed),
            clock: Arc::new(clock),
            outside: Arc::default(),
            workers: Vec::new(),
            next_worker: 1,
            fenced,
            kills: 0,
            sent: 0,
            timers: BTreeMap::new(),
            truth: 0,
            jobs: 0,
            damaged: None,
            broken: Vec::new(),
        };
        world.begin().await;
        let end = Instant::now() + LIFE;
        while Instant::now() < end {
            world.happen().await;
            let pause = world.random.random_range(0..1_500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        world.come_to_rest().await;
        world.judge().await
    }

    async fn begin(&mut self) {
        for key in 0..ACCOUNTS {
            let address = account(&key.to_string());
            post(&self.db, async |tx| muster_engine::start::<Account>(tx, &address, &0).await)
                .await
                .expect("room");
        }
        for _ in 0..WORKERS {
            self.hire();
        }
        self.db.set_commit_faults(bad_day());
    }

    fn hire(&mut self) {
        let number = self.next_worker;
        self.next_worker = self.next_worker.wrapping_add(1).max(1);
        let account = Account { failures_left: Arc::new(AtomicU64::new(0)) };
        let registry =
            Registry::new().with_machine(account).with_steps(Job { outside: self.outside.clone() });
        let (clock, seed) = (self.clock.clone(), self.random.random());
        let options = Options { clock, seed, fenced: self.fenced, ..options(number) };
        self.workers.push(Engine::start(self.db.clone(), registry, options));
    }

    /// One thing that happens.
    async fn happen(&mut self) {
        let (key, other) = (self.random.random_range(0..ACCOUNTS), self.random.random_range(0..ACCOUNTS));
        match self.random.random_range(0..100) {
            0..55 => {
                let amount = self.random.random_range(1..100);
                send(&self.db, &key.to_string(), &order("send", amount, &other.to_string())).await;
                // A send and a credit.
                self.sent += 2;
            }
            55..70 => {
                let names = self.timers.entry(key).or_default();
                let (name, after) = (format!("t{}", names.len()), self.random.random_range(0..60_000));
                names.push(name.clone());
                send(&self.db, &key.to_string(), &order("set", after, &name)).await;
                self.sent += 1;
            }
            70..80 => {
                self.truth += 1;
                let (truth, address) = (self.truth, account("0"));
                tell(&self.db, |tx: &mut Transaction| {
                    tx.set(TRUTH, &vec![0; truth]);
                    nudge(tx, &address);
                })
                .await;
            }
            80..84 => {
                self.jobs += 1;
                let (job, input) = (job(self.jobs), self.jobs);
                post(&self.db, async |tx| muster_engine::start::<Job>(tx, &job, &input).await)
                    .await
                    .expect("room");
            }
            84..90 => {
                // As kill -9 would.
                let at = self.random.random_range(0..self.workers.len());
                drop(self.workers.swap_remove(at));
                self.kills += 1;
                self.hire();
            }
            90..93 => {
                let at = self.random.random_range(0..self.workers.len());
                let leaving = self.workers.swap_remove(at);
                self.hire();
                leaving.stop().await;
            }
            93..94 => self.damage_or_mend().await,
            94..96 => {
                let jump = self.random.random_range(-20_000..20_000);
                self.clock.offset_ms.fetch_add(jump, Ordering::Relaxed);
            }
            _ => {
                let calm = self.random.random_bool(0.5);
                self.db.set_commit_faults(if calm { CommitFaults::default() } else { bad_day() });
            }
        }
    }

    /// Has a record be one that nobody can read; or has it be readable again, and says retry.
    async fn damage_or_mend(&mut self) {
        if let Some((address, key, record)) = self.damaged.take() {
            self.db
                .run("mend", async |mut tx: Transaction| {
                    // A worker that had it in memory all the while has written it meanwhile.
                    if tx.get(&key).await?.is_some_and(|row| row == GARBAGE) {
                        tx.set(&key, &record);
                    }
                    control(&mut tx, &address, Control::Retry);
                    Ok::<_, StoreError>(())
                })
                .await
                .expect("committed");
            return;
        }
        let jobs = self.jobs.max(1);
        let address = if self.random.random_bool(0.5) {
            account(&self.random.random_range(0..ACCOUNTS).to_string())
        } else {
            job(self.random.random_range(1..=jobs))
        };
        let shard = u16::from(address.shard());
        let key = pack(&(100u16, 1u16, shard, address.namespace(), address.kind(), address.key()));
        let record = self
            .db
            .run("damage", async |mut tx: Transaction| {
                let record = tx.get(&key).await?;
                if record.is_some() {
                    tx.set(&key, GARBAGE);
                }
                Ok::<_, StoreError>(record)
            })
            .await
            .expect("committed");
        self.damaged = record.map(|record| (address, key, record));
    }

    /// Without faults, everything that was begun ends.
    async fn come_to_rest(&mut self) {
        self.db.set_commit_faults(CommitFaults::default());
        if self.damaged.is_some() {
            self.damage_or_mend().await;
        }
        let end = Instant::now() + REST;
        loop {
            if self.is_at_rest().await {
                // Longer than any stalled commit could still take.
                tokio::time::sleep(Duration::from_secs(30)).await;
                return;
            }
            if Instant::now() >= end {
                self.broken.push(format!("not at rest after {} min", REST.as_secs() / 60));
                return;
            }
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    }

    async fn is_at_rest(&self) -> bool {
        if number(&self.db, HANDLED).await < self.sent {
            return false;
        }
        let (workflows, _) =
            inspect::list(&self.db, "bank", &inspect::Filter::default(), None, 1_000).await.expect("read");
        let quiet = workflows.iter().all(|workflow| workflow.record.timers.is_empty());
        let (jobs, _) =
            inspect::list(&self.db, "jobs", &inspect::Filter::default(), None, 1_000).await.expect("read");
        let done = jobs.iter().filter(|job| job.record.status() == Status::Finished).count();
        quiet && done as u64 == self.jobs
    }

    /// Holds the promises against what is there.
    async fn judge(mut self) -> Ended {
        let handled = number(&self.db, HANDLED).await;
        self.expect(
            "signals are handled once each",
            handled == self.sent,
            format!("{handled} of {}", self.sent),
        );
        let mut sum = 0;
        let mut transitions = 0;
        for key in 0..ACCOUNTS {
            let Some(found) = balance(&self.db, &key.to_string()).await else {
                self.broken.push(format!("account {key} is gone"));
                continue;
            };
            sum += found.amount;
            for name in self.timers.get(&key).cloned().unwrap_or_default() {
                let fired = found.memory.iter().filter(|memory| **memory == name).count();
                self.expect("a timer fires once", fired == 1, format!("{name} of {key} fired {fired} times"));
            }
            if key == 0 && self.truth > 0 {
                let last = found.memory.iter().rfind(|memory| memory.starts_with("saw")).cloned();
                let expected = Some(format!("saw {}", self.truth));
                self.expect("the last look sees the last change", last == expected, format!("{last:?}"));
            }
        }
        self.expect("no money is lost or made", sum == 0, sum.to_string());
        let counted = number(&self.db, JOBS).await;
        self.expect(
            "a transaction of a step happens once",
            counted == 3 * self.jobs as i64,
            counted.to_string(),
        );
        self.judge_outside();
        let (mut rows, mut digest) = (check::Check::default(), DefaultHasher::new());
        let all = self.db.read("all", async |mut tx| tx.get_range(b"", b"\xfe", 100_000, false).await).await;
        for (key, value) in all.expect("read") {
            if check::is_row(&key) {
                rows.note(&key, &value);
            }
            digest.write(&key);
            digest.write(&value);
        }
        for (key, what) in rows.findings() {
            self.broken.push(format!("row {key:?}: {what}"));
        }
        for namespace in ["bank", "jobs"] {
            let found = inspect::list(&self.db, namespace, &inspect::Filter::default(), None, 1_000).await;
            transitions +=
                found.expect("read").0.iter().map(|workflow| workflow.record.revision).sum::<u64>();
        }
        Ended { broken: self.broken, transitions, kills: self.kills, digest: digest.finish() }
    }

    /// What happens to the outside happens at least once, in order, by the same key each time.
    fn judge_outside(&mut self) {
        let seen = self.outside.lock().expect("whole").clone();
        for number in 1..=self.jobs {
            let steps = [1, 4, 7].map(|step| format!("act {}#1.{step}", job(number)));
            let mut firsts = Vec::new();
            for step in &steps {
                firsts.push(seen.iter().position(|what| what == step));
            }
            let good = firsts.iter().all(Option::is_some) && firsts.is_sorted();
            self.expect("steps happen, in order", good, format!("job {number}: {firsts:?}"));
        }
    }

    fn expect(&mut self, promise: &str, holds: bool, instead: String) {
        if !holds {
            self.broken.push(format!("{promise}: {instead}"));
        }
    }
}

fn job(number: u64) -> Address {
    Job::address("jobs", &number.to_string()).expect("valid")
}
