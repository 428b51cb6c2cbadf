//! A replica of the orchestrator: the engine with every workflow, matchmaking, the sweep of links, and sessions
//! with machines, all of it the real code but for the wire under the sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_engine::{Clock, Engine, Options, TokioClock, WorkerId};
use muster_protocol::agent::DesiredServers;
use muster_protocol::edge::to_edge;
use muster_protocol::id::{EdgeId, NodeId};
use muster_store::Database;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::edge::EdgeSays;
use super::node::AgentSays;
use crate::links::{Registry, sweep_pass};
use crate::world::{LOSS_MS, REGION};
use crate::{agents, edges, lifecycle, matchmaking, workflows};

/// A link that says nothing for this long is closed.
const SILENCE: Duration = Duration::from_secs(6);
/// How often records and links are compared.
const SWEEP: Duration = Duration::from_secs(5);
/// Pause before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long what is over is kept: longer than a world lives, so that it can be judged.
pub(super) const RETENTION_MS: u64 = 24 * 3_600_000;

/// A clock that is sometimes set.
pub(super) struct SetClock {
    base: TokioClock,
    offset_ms: AtomicI64,
}

impl SetClock {
    pub(super) fn new(base: TokioClock) -> Self {
        Self { base, offset_ms: AtomicI64::new(0) }
    }

    /// Sets it this much off.
    pub(super) fn set_off(&self, ms: i64) {
        self.offset_ms.store(ms, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.base.now_ms().saturating_add_signed(self.offset_ms.load(Ordering::Relaxed))
    }
}

/// One process. Dropped, it ends where it is.
pub(super) struct Replica {
    pub(super) id: WorkerId,
    pub(super) clock: Arc<SetClock>,
    db: Database,
    links: Arc<Links>,
    engine: Mutex<Option<Engine>>,
    tasks: Mutex<JoinSet<()>>,
    stop: CancellationToken,
}

/// Session number and what closes the link, by machine.
#[derive(Default)]
struct Links {
    agents: Mutex<BTreeMap<NodeId, (u64, CancellationToken)>>,
    greeting: Mutex<BTreeMap<NodeId, usize>>,
    edges: Mutex<BTreeMap<EdgeId, (u64, CancellationToken)>>,
}

impl Registry for Links {
    fn knows_agent(&self, node: NodeId) -> bool {
        self.agents.lock().expect("whole").contains_key(&node)
            || self.greeting.lock().expect("whole").get(&node).is_some_and(|count| *count > 0)
    }

    fn knows_edge(&self, edge: EdgeId) -> bool {
        self.edges.lock().expect("whole").contains_key(&edge)
    }

    fn drop_agent(&self, node: NodeId, session: u64) {
        close(&self.agents, node, session);
    }

    fn drop_edge(&self, edge: EdgeId, session: u64) {
        close(&self.edges, edge, session);
    }
}

type Table<I> = Mutex<BTreeMap<I, (u64, CancellationToken)>>;

fn close<I: Ord>(table: &Table<I>, id: I, session: u64) {
    if let Some((_, closed)) = table.lock().expect("whole").get(&id).filter(|(found, _)| *found <= session) {
        closed.cancel();
    }
}

/// Enters a link, closing an older one; `None` if a newer one is there.
fn enter<I: Ord>(table: &Table<I>, id: I, session: u64) -> Option<CancellationToken> {
    let mut table = table.lock().expect("whole");
    if table.get(&id).is_some_and(|(found, _)| *found > session) {
        return None;
    }
    let closed = CancellationToken::new();
    if let Some((_, older)) = table.insert(id, (session, closed.clone())) {
        older.cancel();
    }
    Some(closed)
}

fn leave<I: Ord>(table: &Table<I>, id: &I, session: u64) {
    let mut table = table.lock().expect("whole");
    if table.get(id).is_some_and(|(found, _)| *found == session) {
        table.remove(id);
    }
}

impl Replica {
    /// Starts one as an orchestrator does.
    pub(super) async fn start(db: Database, id: WorkerId, base: TokioClock, seed: u64) -> Arc<Self> {
        let clock = Arc::new(SetClock::new(base));
        // What does not succeed is tried by the next start, or by the workflows' own timers.
        let _ = lifecycle::orchestrator_started(&db, false, clock.now_ms(), LOSS_MS).await;
        let _ = workflows::nudge_all(&db).await;
        let name = format!("replica {id:?}");
        let options = Options { name, alone: false, clock: clock.clone(), worker: id, seed, fenced: true };
        let engine = Engine::start(db.clone(), workflows::registry(RETENTION_MS), options);
        let (stop, links) = (CancellationToken::new(), Arc::new(Links::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(matchmaking::run(db.clone(), engine.shards(), clock.clone(), stop.clone()));
        tasks.spawn(sweep(db.clone(), id, links.clone(), clock.clone()));
        Arc::new(Self {
            id,
            clock,
            db,
            links,
            engine: Mutex::new(Some(engine)),
            tasks: Mutex::new(tasks),
            stop,
        })
    }

    /// Ends it where it is.
    pub(super) fn kill(&self) {
        self.tasks.lock().expect("whole").abort_all();
        drop(self.engine.lock().expect("whole").take());
    }

    /// Ends it as an operator does.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        let engine = self.engine.lock().expect("whole").take();
        if let Some(engine) = engine {
            engine.stop().await;
        }
        self.kill();
    }

    fn spawn(&self, session: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().expect("whole");
        while tasks.try_join_next().is_some() {}
        // One that is dead takes no more: dropped, the session's ends close.
        if self.engine.lock().expect("whole").is_some() {
            tasks.spawn(session);
        }
    }

    /// An agent dials.
    pub(super) fn take_agent(
        &self,
        node: NodeId,
        from: mpsc::Receiver<AgentSays>,
        to: mpsc::Sender<DesiredServers>,
    ) {
        let (db, id, links, clock) = (self.db.clone(), self.id, self.links.clone(), self.clock.clone());
        self.spawn(async move { serve_agent(&db, id, &links, &*clock, node, from, to).await });
    }

    /// An edge dials.
    pub(super) fn take_edge(
        &self,
        edge: EdgeId,
        from: mpsc::Receiver<EdgeSays>,
        to: mpsc::Sender<to_edge::Body>,
    ) {
        let (db, id, links, clock) = (self.db.clone(), self.id, self.links.clone(), self.clock.clone());
        self.spawn(async move { serve_edge(&db, id, &links, &*clock, edge, from, to).await });
    }
}

async fn sweep(db: Database, id: WorkerId, links: Arc<Links>, clock: Arc<SetClock>) {
    let mut missing = BTreeSet::new();
    loop {
        tokio::time::sleep(SWEEP).await;
        if let Ok(found) = sweep_pass(&db, id, &*links, &missing, (clock.now_ms(), LOSS_MS)).await {
            missing = found;
        }
    }
}

/// As `agents::session` does it.
async fn serve_agent(
    db: &Database,
    replica: WorkerId,
    links: &Links,
    clock: &dyn Clock,
    node: NodeId,
    mut from: mpsc::Receiver<AgentSays>,
    to: mpsc::Sender<DesiredServers>,
) {
    let Some(AgentSays::Hello(hello)) = from.recv().await else { return };
    *links.greeting.lock().expect("whole").entry(node).or_default() += 1;
    let session = lifecycle::node_connected(db, node, &hello, replica, clock.now_ms()).await;
    let entered = session.as_ref().ok().and_then(|session| enter(&links.agents, node, *session));
    *links.greeting.lock().expect("whole").entry(node).or_default() -= 1;
    let Ok(session) = session else { return };
    if let Some(closed) = entered {
        let inbox = agents::Inbox::default();
        tokio::select! {
            biased;
            () = closed.cancelled() => {}
            () = async {
                // A second hello cannot be told from a hello delivered twice here, where it is passed over.
                while let Ok(Some(said)) = tokio::time::timeout(SILENCE, from.recv()).await {
                    if let AgentSays::Report(report) = said {
                        inbox.push(report).expect("within its bound");
                    }
                }
            } => {}
            () = tell_agent(db, node, &to) => {}
            _ = agents::apply_reports(db, clock, (node, session), &inbox) => {}
        }
        leave(&links.agents, &node, session);
    }
    // What is not written now is written by the sweep.
    let _ = lifecycle::node_disconnected(db, node, session, clock.now_ms(), LOSS_MS).await;
}

async fn tell_agent(db: &Database, node: NodeId, to: &mpsc::Sender<DesiredServers>) {
    let mut told = agents::Told::default();
    loop {
        let Ok((desired, mut changed)) = agents::read_desired(db, node, told.known()).await else {
            tokio::time::sleep(STORE_PAUSE).await;
            continue;
        };
        match told.advance(desired) {
            agents::Next::ReadAgain => continue,
            agents::Next::Say(message) => {
                if to.send(message).await.is_err() {
                    return;
                }
            }
            agents::Next::Wait => {}
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}

/// As `edges::session` does it.
async fn serve_edge(
    db: &Database,
    replica: WorkerId,
    links: &Links,
    clock: &dyn Clock,
    edge: EdgeId,
    mut from: mpsc::Receiver<EdgeSays>,
    to: mpsc::Sender<to_edge::Body>,
) {
    let Some(EdgeSays::Hello(hello)) = from.recv().await else { return };
    let Ok(session) = lifecycle::edge_connected(db, edge, &hello, replica, clock.now_ms()).await else {
        return;
    };
    if let Some(closed) = enter(&links.edges, edge, session) {
        let told = Mutex::new(edges::Told::default());
        let (answers, answered) = mpsc::channel(edges::MAX_UNANSWERED);
        let (reports, reported) = watch::channel(None);
        tokio::select! {
            biased;
            () = closed.cancelled() => {}
            () = async {
                while let Ok(Some(said)) = tokio::time::timeout(SILENCE, from.recv()).await {
                    match said {
                        EdgeSays::Hello(_) => {}
                        EdgeSays::Applied(applied) => {
                            let answer = told.lock().expect("whole").answered(applied);
                            if answers.try_send(answer).is_err() {
                                return;
                            }
                        }
                        EdgeSays::Report(flows) => {
                            reports.send_replace(Some(flows));
                        }
                    }
                }
            } => {}
            () = tell_edge(db, &told, &to) => {}
            _ = edges::record_answers(db, clock, (edge, session), REGION, answered) => {}
            _ = edges::record_flows(db, edge, session, reported) => {}
        }
        leave(&links.edges, &edge, session);
    }
    // What is not written now is written by the sweep.
    let _ = lifecycle::edge_disconnected(db, edge, session, clock.now_ms()).await;
}

async fn tell_edge(db: &Database, told: &Mutex<edges::Told>, to: &mpsc::Sender<to_edge::Body>) {
    let mut limits_told = None;
    loop {
        let known = told.lock().expect("whole").known();
        let Ok((wanted, mut changed)) = edges::read_wanted(db, REGION, &known).await else {
            tokio::time::sleep(STORE_PAUSE).await;
            continue;
        };
        let (table, behind) = {
            let mut told = told.lock().expect("whole");
            (told.advance(wanted.revision, wanted.routed, wanted.routes), told.is_behind())
        };
        if behind {
            return;
        }
        if limits_told.as_ref() != Some(&wanted.limits) {
            if to.send(to_edge::Body::Limits(wanted.limits.clone())).await.is_err() {
                return;
            }
            limits_told = Some(wanted.limits);
        }
        if let Some(table) = table
            && to.send(to_edge::Body::Routes(table)).await.is_err()
        {
            return;
        }
        if changed.changed().await.is_err() {
            return;
        }
    }
}
