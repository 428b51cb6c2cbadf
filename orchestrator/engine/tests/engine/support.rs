//! What the tests share: a machine that keeps accounts, workers, and waiting for conditions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_engine::{
    Address, Context, Engine, Event, Failure, Kind, Machine, Options, Registry, RetryPolicy, SendError,
    TokioClock, WorkerId, inspect,
};
use muster_store::{CommitFaults, Database, StoreError, Transaction};

/// Longest that a test waits for anything, in the time of its runtime.
const DEADLINE: Duration = Duration::from_mins(20);

/// What an account can be told.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Order {
    /// What to do: `credit`, `send`, `remember`, `fail`, `panic`, `ask`, `set`, `cancel-timer`, `finish`, `slow`.
    #[prost(string, tag = "1")]
    pub(crate) what: String,
    /// How much.
    #[prost(int64, tag = "2")]
    pub(crate) amount: i64,
    /// Key of the other account, or name of a timer.
    #[prost(string, tag = "3")]
    pub(crate) other: String,
}

/// An account.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Balance {
    /// What is in it.
    #[prost(int64, tag = "1")]
    pub(crate) amount: i64,
    /// Amounts in the order in which `remember` came, and timers as they fired.
    #[prost(string, repeated, tag = "2")]
    pub(crate) memory: Vec<String>,
}

/// An account that is told to send money to others, to fail, to wait.
#[derive(Default)]
pub(crate) struct Account {
    /// While this is not 0, `fail` fails and it goes down by one.
    pub(crate) failures_left: Arc<AtomicU64>,
}

impl Kind for Account {
    const KIND: &'static str = "account";
    const RETRY: RetryPolicy =
        RetryPolicy { attempts: 4, first: Duration::from_millis(100), max: Duration::from_secs(1) };
    type Input = i64;
    type Signal = Order;
}

/// Row whose length nudged accounts remember.
pub(crate) const TRUTH: &[u8] = b"truth";

/// Row that counts what was handled, without the workflow's own say: added to blindly, so that only the
/// fence keeps a late commit from adding twice.
pub(crate) const HANDLED: &[u8] = b"handled";

impl Machine for Account {
    type State = Balance;

    async fn on(&self, cx: &mut Context<'_>, state: &mut Balance, event: Event<Self>) -> Result<(), Failure> {
        match event {
            Event::Started(input) => state.amount += input,
            Event::Timer(name) => state.memory.push(name),
            Event::Nudged => {
                let seen = cx.tx().get(TRUTH).await?.map_or(0, |row| row.len());
                state.memory.push(format!("saw {seen}"));
                if self.failures_left.load(Ordering::SeqCst) > 0 {
                    self.failures_left.fetch_sub(1, Ordering::SeqCst);
                    return Err(Failure::Because("told to fail".into()));
                }
            }
            Event::Cancel => cx.finish(&())?,
            Event::ChildEnded { child, outcome } => {
                state.memory.push(format!("{} {outcome:?}", child.key()));
            }
            Event::Signal(order, reply) => {
                cx.tx().atomic_add(HANDLED, 1);
                match &*order.what {
                    "credit" => state.amount += order.amount,
                    "send" => {
                        state.amount -= order.amount;
                        let to = Self::address(cx.address().namespace(), &order.other)?;
                        let credit = Order { what: "credit".into(), ..order };
                        cx.signal::<Self>(&to, &credit).await?;
                    }
                    "remember" => state.memory.push(order.amount.to_string()),
                    "fail" => {
                        let left = &self.failures_left;
                        if left.load(Ordering::SeqCst) > 0 {
                            left.fetch_sub(1, Ordering::SeqCst);
                            return Err(Failure::Because("told to fail".into()));
                        }
                        state.memory.push("did not fail".into());
                    }
                    "panic" => panic!("told to panic"),
                    "slow" => tokio::time::sleep(Duration::from_mins(1)).await,
                    "too large" => state.memory.push("x".repeat(order.amount as usize)),
                    "set" => cx.set_timer(&order.other, cx.now_ms() + order.amount as u64)?,
                    "cancel-timer" => cx.cancel_timer(&order.other),
                    "finish" => cx.finish(&state.amount)?,
                    "child" => {
                        let child = Self::address(cx.address().namespace(), &order.other)?;
                        cx.start_child::<Self>(&child, &order.amount).await?;
                        cx.signal::<Self>(&child, &Order { what: "finish".into(), ..Order::default() })
                            .await?;
                    }
                    "ask" => cx.reply(&reply.expect("it was a question"), &state.amount)?,
                    other => return Err(Failure::Final(format!("what is {other}?"))),
                }
            }
        }
        Ok(())
    }
}

/// The account with `key`.
pub(crate) fn account(key: &str) -> Address {
    Account::address("bank", key).expect("valid")
}

/// An order.
pub(crate) fn order(what: &str, amount: i64, other: &str) -> Order {
    Order { what: what.into(), amount, other: other.into() }
}

/// A worker that knows accounts.
pub(crate) fn worker(db: &Database, number: u8) -> Engine {
    worker_with(db, number, Registry::new().with_machine(Account::default()))
}

/// A worker that knows `registry`.
pub(crate) fn worker_with(db: &Database, number: u8, registry: Registry) -> Engine {
    Engine::start(db.clone(), registry, options(number))
}

/// Options of worker `number`, on tokio's time.
pub(crate) fn options(number: u8) -> Options {
    Options {
        name: format!("worker {number}"),
        clock: Arc::new(TokioClock::new(1_000_000)),
        worker: WorkerId::from_bytes([number; 16]),
        ..Options::default()
    }
}

/// Runs `body` in a transaction.
pub(crate) async fn tell<F>(db: &Database, body: F)
where
    F: Fn(&mut Transaction),
{
    db.run("tell", async |mut tx: Transaction| {
        body(&mut tx);
        Ok::<_, StoreError>(())
    })
    .await
    .expect("committed");
}

/// Runs `body`, which sends, in a transaction.
pub(crate) async fn post<F>(db: &Database, body: F) -> Result<(), SendError>
where
    F: AsyncFn(&mut Transaction) -> Result<(), SendError>,
{
    db.run("post", async |mut tx: Transaction| body(&mut tx).await).await
}

/// Sends an order to the account `key`, which is made if it is not there.
pub(crate) async fn send(db: &Database, key: &str, order: &Order) {
    post(db, async |tx| muster_engine::signal_or_start::<Account>(tx, &account(key), order).await)
        .await
        .expect("room");
}

/// The workflow at `address`.
pub(crate) async fn look(db: &Database, address: &Address) -> Option<inspect::Workflow> {
    db.read("look", async |mut tx| inspect::show(&mut tx, address).await).await.expect("read")
}

/// State of the account `key`.
pub(crate) async fn balance(db: &Database, key: &str) -> Option<Balance> {
    let workflow = look(db, &account(key)).await?;
    Some(prost::Message::decode(workflow.record.state).expect("a balance"))
}

/// Waits until `condition` holds, with a deadline.
pub(crate) async fn until<F, Fut>(what: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "never came about: {what}");
}

/// The number in row `key`.
pub(crate) async fn number(db: &Database, key: &[u8]) -> i64 {
    let row = db.read("number", async |mut tx| tx.get(key).await).await.expect("read");
    row.map_or(0, |row| i64::from_le_bytes(row.as_ref().try_into().expect("eight bytes")))
}

/// Everything a cluster does on a bad day.
pub(crate) fn bad_day() -> CommitFaults {
    CommitFaults {
        conflict: 0.05,
        too_old: 0.02,
        unknown_lost: 0.03,
        unknown_done: 0.03,
        unknown_late: 0.03,
        stall: 0.03,
        delay: Duration::from_millis(4_500),
        ..CommitFaults::default()
    }
}
