//! What the edge serves: keys and routes as last heard, kept on disk, with the listeners that follow them.
//!
//! One task owns all of it. It hears of changes by messages and says what came of them; it needs no
//! orchestrator to go on. A port that was taken is tried again every two seconds.

use std::net::UdpSocket;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster_protocol::edge::{EdgeLimits, EdgeWelcome, RouteTable as WireTable, RoutesApplied};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::handover::{Before, Handed, HandoverError};
use crate::limits::{CurrentLimits, Limits};
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::routes::RouteTable;
use crate::saved::{self, Saved};
use crate::trust::Trust;

/// Updates that wait; the link waits when there are more.
const UPDATES: usize = 64;
/// How often routes whose listener could not be opened are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(2);

enum Update {
    Welcome(EdgeWelcome),
    Routes(WireTable),
    Limits(EdgeLimits),
    Freeze(oneshot::Sender<Standstill>),
}

/// The task's handle.
pub(crate) struct Serving {
    updates: mpsc::Sender<Update>,
    applied: watch::Receiver<RoutesApplied>,
    // Until it has been waited for.
    task: Option<JoinHandle<Listeners>>,
    // What the task has left.
    left: Option<Listeners>,
}

/// Nothing moves while the next edge takes over; dropped without [`Standstill::release`], everything goes on.
pub(crate) struct Standstill {
    /// What the next edge is to have.
    pub(crate) handed: Handed,
    end: oneshot::Sender<()>,
}

impl Standstill {
    /// The next edge serves: this one has let go.
    pub(crate) fn release(self) {
        // Fails only when the edge is shutting down.
        let _ = self.end.send(());
    }
}

/// What of it the link uses.
#[derive(Clone)]
pub(crate) struct ServingLink {
    updates: mpsc::Sender<Update>,
    applied: watch::Receiver<RoutesApplied>,
}

/// What serving begins with.
pub(crate) struct ServingSetup {
    pub(crate) state_dir: PathBuf,
    pub(crate) ports: RangeInclusive<u16>,
    pub(crate) listeners: Listeners,
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    pub(crate) limits: CurrentLimits,
    pub(crate) metrics: Metrics,
}

impl Serving {
    /// Serves what the disk remembers, on the sockets of the edge before if there is one, and from then on what updates
    /// say. Returns the beacon's socket of the edge before, too.
    ///
    /// # Errors
    /// The edge before handed nothing over, or was not asked to. It goes on.
    pub(crate) async fn start(
        setup: ServingSetup,
        before: Option<&mut Before>,
    ) -> Result<(Self, Option<UdpSocket>), HandoverError> {
        let (updates, inbox) = mpsc::channel(UPDATES);
        let (applied_sender, applied) = watch::channel(RoutesApplied::default());
        let mut state = State { setup, saved: Saved::default(), table: RouteTable::default() };
        let mut known = state.restore();
        let mut handed = Handed::default();
        if let Some(before) = before {
            // Only what the one before serves was kept.
            if let Some(failure) = state.table.rejected().next() {
                return Err(HandoverError::Unserved(failure.detail.clone()));
            }
            // Players wait from when it hands over until we serve, and not for us to find the agents.
            state.setup.listeners.dial(&state.table).await;
            handed = before.take().await?;
            // It may have heard something since.
            known = state.restore();
        }
        let Handed { udp, tcp, beacon, players } = handed;
        state.setup.listeners.begin(udp, tcp, players).await;
        if known {
            applied_sender.send_replace(state.follow().await);
            info!(routes = state.table.routes().len(), "serving the routes of the last run");
        }
        let task = Some(tokio::spawn(state.run(inbox, applied_sender)));
        Ok((Self { updates, applied, task, left: None }, beacon))
    }

    /// Stands still for the next edge; `None` if the edge is shutting down.
    pub(crate) async fn freeze(&self) -> Option<Standstill> {
        let (reply, standstill) = oneshot::channel();
        self.updates.send(Update::Freeze(reply)).await.ok()?;
        standstill.await.ok()
    }

    /// After [`Standstill::release`]: returns when nothing goes on here any more, or `longest` has passed. A flow may
    /// be `idle` for that long; `alone` is when the next edge is gone.
    pub(crate) async fn drained(
        &mut self,
        longest: Duration,
        idle: Duration,
        alone: impl Future<Output = ()>,
    ) {
        if let Some(task) = &mut self.task {
            let left = left_by(task).await;
            (self.task, self.left) = (None, left);
        }
        if let Some(listeners) = &mut self.left {
            listeners.drained(longest, idle, alone).await;
        }
    }

    /// The link's end of it.
    pub(crate) fn link(&self) -> ServingLink {
        ServingLink { updates: self.updates.clone(), applied: self.applied.clone() }
    }

    /// Closes every listener. All [`ServingLink`]s must be gone.
    pub(crate) async fn shutdown(self) {
        let Self { updates, task, left, .. } = self;
        drop(updates);
        let left = match task {
            Some(mut task) => left_by(&mut task).await,
            None => left,
        };
        if let Some(listeners) = left {
            listeners.shutdown().await;
        }
    }
}

/// Waits for the task's end.
async fn left_by(task: &mut JoinHandle<Listeners>) -> Option<Listeners> {
    task.await.inspect_err(|_| error!("serving had ended by a panic")).ok()
}

impl ServingLink {
    /// New keys.
    pub(crate) async fn welcome(&self, welcome: EdgeWelcome) {
        // Fails only when the edge is shutting down.
        let _ = self.updates.send(Update::Welcome(welcome)).await;
    }

    /// New routes.
    pub(crate) async fn routes(&self, routes: WireTable) {
        // Fails only when the edge is shutting down.
        let _ = self.updates.send(Update::Routes(routes)).await;
    }

    /// New limits.
    pub(crate) async fn limits(&self, limits: EdgeLimits) {
        // Fails only when the edge is shutting down.
        let _ = self.updates.send(Update::Limits(limits)).await;
    }

    /// What came of the newest routes, once it is other than when last asked; forever after the end.
    pub(crate) async fn applied(&mut self) -> RoutesApplied {
        if self.applied.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.applied.borrow_and_update().clone()
    }

    /// Passes over what came of routes of earlier links.
    pub(crate) fn forget_applied(&mut self) {
        self.applied.mark_unchanged();
    }
}

struct State {
    setup: ServingSetup,
    saved: Saved,
    table: RouteTable,
}

impl State {
    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Update>,
        applied: watch::Sender<RoutesApplied>,
    ) -> Listeners {
        let mut retry = tokio::time::interval(RETRY_EVERY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                update = inbox.recv() => match update {
                    Some(Update::Welcome(welcome)) => self.welcome(welcome),
                    Some(Update::Limits(limits)) => self.limits(&limits),
                    Some(Update::Routes(routes)) => {
                        self.table = self.table.apply(&routes, &self.setup.ports);
                        self.saved.routes = self.table.to_wire();
                        self.save();
                        applied.send_replace(self.follow().await);
                    }
                    Some(Update::Freeze(reply)) => {
                        if self.stand_still(reply).await {
                            break;
                        }
                    }
                    None => break,
                },
                _ = retry.tick() => {
                    let failing = self.setup.listeners.len() < self.table.routes().len();
                    if failing {
                        let now = self.follow().await;
                        applied.send_if_modified(|before| {
                            let changed = *before != now;
                            *before = now;
                            changed
                        });
                    }
                }
            }
        }
        self.setup.listeners
    }

    /// Hands everything over, and waits for how that ends. Says whether it has let go.
    async fn stand_still(&mut self, reply: oneshot::Sender<Standstill>) -> bool {
        let (end, ended) = oneshot::channel();
        let handed = self.setup.listeners.freeze().await;
        let released = reply.send(Standstill { handed, end }).is_ok() && ended.await.is_ok();
        if released {
            self.setup.listeners.release().await;
        } else {
            self.setup.listeners.resume().await;
        }
        released
    }

    /// Reads what the disk remembers; says whether there is anything.
    fn restore(&mut self) -> bool {
        match saved::load_limits(&self.setup.state_dir) {
            Ok(limits) => self.hold_to(&limits.unwrap_or_default()),
            Err(error) => warn!(%error, "kept limits are not used; the orchestrator will say them again"),
        }
        match Saved::load(&self.setup.state_dir) {
            Ok(None) => false,
            Ok(Some(saved)) => {
                match Trust::from_welcome(&saved.welcome) {
                    Ok(trust) => self.setup.trust.store(Arc::new(trust)),
                    Err(error) => warn!(%error, "kept keys are not used"),
                }
                self.table = self.table.apply(&saved.routes, &self.setup.ports);
                self.saved = saved;
                true
            }
            Err(error) => {
                warn!(%error, "kept routes are not used; the orchestrator will say them again");
                false
            }
        }
    }

    fn welcome(&mut self, welcome: EdgeWelcome) {
        match Trust::from_welcome(&welcome) {
            Ok(trust) => {
                self.setup.trust.store(Arc::new(trust));
                self.saved.welcome = welcome;
                self.save();
            }
            Err(error) => error!(%error, "the orchestrator's keys are not used; versions may differ"),
        }
    }

    fn limits(&mut self, limits: &EdgeLimits) {
        self.hold_to(limits);
        if let Err(error) = saved::save_limits(&self.setup.state_dir, limits) {
            warn!(%error, "limits are not kept on disk; after a restart the edge waits for the orchestrator");
        }
    }

    fn hold_to(&self, limits: &EdgeLimits) {
        match Limits::from_wire(limits) {
            Ok(limits) => self.setup.limits.replace(limits),
            Err(error) => error!(%error, "the orchestrator's limits are not used; versions may differ"),
        }
    }

    /// Brings the listeners to the table, and says what came of it.
    async fn follow(&mut self) -> RoutesApplied {
        let mut failures: Vec<_> = self.table.rejected().cloned().collect();
        failures.extend(self.setup.listeners.follow(&self.table).await);
        self.setup.metrics.routes.set(self.setup.listeners.len() as f64);
        self.setup.metrics.listener_failures.set(failures.len() as f64);
        RoutesApplied { revision: self.table.revision(), failures }
    }

    fn save(&self) {
        // Small and rare; serving goes on without it.
        if let Err(error) = self.saved.save(&self.setup.state_dir) {
            warn!(%error, "routes are not kept on disk; after a restart the edge waits for the orchestrator");
        }
    }
}
