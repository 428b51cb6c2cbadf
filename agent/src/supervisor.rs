//! Carries out what `reconcile` decides: one task that owns the table, feeds it, and sets its effects
//! going. Effects run beside it, bounded per kind, and come back as inputs.

mod actions;
mod engine_watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_protocol::agent::{DesiredServers, ServerPhase, ServerReport};
use muster_protocol::id::ServerId;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::now_ms;
use crate::images::Images;
use crate::link::Reports;
use crate::metrics;
use crate::reconcile::{Effect, Input, Table};
use crate::routes::Routes;
use crate::sdk::Registry;
use crate::state_file::StateDir;

use actions::Running;
pub(crate) use engine_watch::{EngineStatus, EngineWatch};

/// Inputs that may wait: a burst of every server's ends and SDK calls. Who sends more waits.
pub(crate) const MAX_INPUTS: usize = 8_192;
/// Containers created and started at once. Docker does little of it in parallel, and each takes CPU
/// from the games that run.
const MAX_LAUNCHES: usize = 4;
/// Containers being stopped or removed at once; a stop mostly waits.
const MAX_STOPS: usize = 64;
/// How often time-outs are looked at and state is written.
const TICK: Duration = Duration::from_millis(100);
/// How often images are cleaned up.
const CLEAN_EVERY: Duration = Duration::from_mins(1);

/// What the supervisor works with.
pub(crate) struct Parts {
    pub(crate) state: StateDir,
    pub(crate) routes: Arc<Routes>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) images: Arc<Images>,
    pub(crate) engine: watch::Receiver<EngineStatus>,
    /// How many live containers there are, for the link to tell.
    pub(crate) containers: watch::Sender<u32>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// The task that owns the table.
pub(crate) struct Supervisor {
    parts: Parts,
    table: Table,
    running: Running,
    fetches: HashMap<ServerId, CancellationToken>,
    probes: HashMap<ServerId, CancellationToken>,
    last_reports: HashMap<ServerId, ServerReport>,
    phases: Vec<&'static str>,
    saving: Option<JoinHandle<std::io::Result<()>>>,
    cleaned: Instant,
    wind_down: WindDown,
    cancel: CancellationToken,
}

/// Asks the supervisor to stop every server, and tells when none is left.
#[derive(Clone, Default)]
pub(crate) struct WindDown {
    /// Cancelled by who asks.
    pub(crate) begin: CancellationToken,
    /// Cancelled once no container is left, those being started when it began included.
    pub(crate) done: CancellationToken,
}

impl Supervisor {
    /// A supervisor that knows what the last run of the agent knew. Ends with `cancel`; what it has
    /// under way is counted by `tasks`.
    pub(crate) fn new(
        parts: Parts,
        tasks: TaskTracker,
        wind_down: WindDown,
        cancel: CancellationToken,
    ) -> Self {
        let (table, effects) = Table::restore(parts.state.load_servers(), now_ms());
        let running = Running {
            launches: Arc::new(Semaphore::new(MAX_LAUNCHES)),
            stops: Arc::new(Semaphore::new(MAX_STOPS)),
            stopping: Arc::new(Mutex::default()),
            tasks,
            cancel: cancel.clone(),
            engine: parts.engine.clone(),
            images: Arc::clone(&parts.images),
            inputs: parts.inputs.clone(),
        };
        let mut supervisor = Self {
            parts,
            table,
            running,
            fetches: HashMap::new(),
            probes: HashMap::new(),
            last_reports: HashMap::new(),
            phases: Vec::new(),
            saving: None,
            cleaned: Instant::now(),
            wind_down,
            cancel,
        };
        for effect in effects {
            supervisor.carry_out(effect);
        }
        supervisor
    }

    /// Runs until cancelled; then keeps the state once more.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Input>) {
        let (cancel, wind_down) = (self.cancel.clone(), self.wind_down.clone());
        let mut winding_down = false;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let input = tokio::select! {
                () = cancel.cancelled() => break,
                () = wind_down.begin.cancelled(), if !winding_down => {
                    winding_down = true;
                    Input::Desired(DesiredServers { full: true, ..DesiredServers::default() })
                }
                Some(input) = inbox.recv() => input,
                _ = ticks.tick() => {
                    self.housekeeping().await;
                    Input::Tick
                }
            };
            for effect in self.table.apply(input, now_ms()) {
                self.carry_out(effect);
            }
            if winding_down && self.table.count().1 == 0 {
                wind_down.done.cancel();
            }
        }
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        if let Some(snapshot) = self.table.take_snapshot()
            && let Err(error) = self.parts.state.save_servers(snapshot)
        {
            tracing::warn!(%error, "the last state could not be kept");
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::FetchImage(server, build) => {
                let cancel = self.cancel.child_token();
                self.fetches.insert(server, cancel.clone());
                self.running.fetch_image(server, build, cancel);
            }
            Effect::CancelFetch(server) => {
                if let Some(fetch) = self.fetches.remove(&server) {
                    fetch.cancel();
                }
            }
            Effect::Launch(server, spec) => {
                self.fetches.remove(&server);
                let token = actions::new_token();
                // Before the process runs: its first call may come before Docker's answer.
                self.parts.registry.admit(server, &token);
                self.running.launch(server, spec, token);
            }
            Effect::Probe(server, probe) => {
                let cancel = self.cancel.child_token();
                if let Some(old) = self.probes.insert(server, cancel.clone()) {
                    old.cancel();
                }
                self.running.probe(server, probe, cancel);
            }
            Effect::Open(server, ports) => self.parts.routes.open(server, ports),
            Effect::Shut(server) => self.shut(server),
            Effect::Stop { server, container_id, grace_ms } => {
                self.running.stop(server, container_id, grace_ms);
            }
            Effect::Remove(container_id) => self.running.remove(container_id),
            Effect::Report(report) => self.report(*report),
            Effect::Show(server, view) => self.parts.registry.show(server, *view),
            Effect::Forget(server) => {
                self.shut(server);
                self.last_reports.remove(&server);
                self.parts.registry.forget(&server);
                self.parts.reports.forget(&server);
            }
            Effect::Refuse(server) => {
                tracing::error!(%server, "refused: this node already keeps track of as many servers as it may");
            }
        }
    }

    fn shut(&mut self, server: ServerId) {
        self.parts.routes.shut(&server);
        if let Some(probe) = self.probes.remove(&server) {
            probe.cancel();
        }
    }

    fn report(&mut self, report: ServerReport) {
        let Ok(server) = report.server_id.parse::<ServerId>() else { return };
        let old = self.last_reports.insert(server, report.clone());
        if old.as_ref().map(ServerReport::phase) != Some(report.phase()) {
            log(&report);
            if report.phase() == ServerPhase::Ready {
                if let Some(probe) = self.probes.remove(&server) {
                    probe.cancel();
                }
                for (phase, from, to) in [
                    ("pulling", report.pulling_at_ms, report.starting_at_ms),
                    ("container_start", report.starting_at_ms, report.running_at_ms),
                    ("becoming_ready", report.running_at_ms, report.ready_at_ms),
                ] {
                    metrics::phase(phase, to.saturating_sub(from));
                }
            }
        }
        self.parts.reports.put(server, report);
    }

    async fn housekeeping(&mut self) {
        let (phases, containers) = self.table.count();
        self.parts.containers.send_if_modified(|known| std::mem::replace(known, containers) != containers);
        for gone in self.phases.iter().filter(|phase| !phases.contains_key(*phase)) {
            metrics::servers(gone, 0);
        }
        for (&phase, &count) in &phases {
            metrics::servers(phase, count);
        }
        self.phases = phases.into_keys().collect();
        self.save().await;
        if self.cleaned.elapsed() >= CLEAN_EVERY {
            self.cleaned = Instant::now();
            self.running.clean_images(self.table.builds().cloned().collect());
        }
    }

    /// Writes state beside the loop; never two writes at once, and never one per change.
    async fn save(&mut self) {
        match &self.saving {
            Some(saving) if !saving.is_finished() => return,
            _ => {}
        }
        if let Some(saving) = self.saving.take()
            && let Ok(Err(error)) = saving.await
        {
            tracing::error!(%error, "state could not be written; free disk space in the state directory");
            self.table.mark_changed();
        }
        if let Some(snapshot) = self.table.take_snapshot() {
            let state = self.parts.state.clone();
            self.saving = Some(tokio::task::spawn_blocking(move || state.save_servers(snapshot)));
        }
    }
}

fn log(report: &ServerReport) {
    let (server, phase) = (&report.server_id, report.phase().as_str_name());
    if let Some(failure) = &report.failure {
        tracing::warn!(server, phase, code = failure.code, detail = failure.detail, "server");
    } else {
        tracing::info!(server, phase, container = report.container_id, "server");
    }
}
