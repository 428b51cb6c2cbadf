//! A node: the agent's own table (`muster_agent::reconcile`), a Docker that is played, and the link.
//!
//! Containers live on while the agent is dead; what the agent kept last is what it knows when it is back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_agent::reconcile::{
    Container, Effect, Exit, Input, LaunchError, Observed, ObservedStatus, SdkCall, Table,
};
use muster_engine::WorkerId;
use muster_protocol::agent::{
    AgentHello, DesiredServers, NodeCapacity, ServerExit, ServerFailure, ServerReport, ServerSpec,
};
use muster_protocol::id::{NodeId, ServerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Stage;
use super::network::Machine;

/// How often time-outs are looked at and state is kept.
const TICK: Duration = Duration::from_millis(500);
/// How often the agent says that it is there, in ticks.
const BEAT: u32 = 4;
/// How long a link that nothing passes on is kept.
const SILENCE: Duration = Duration::from_secs(4);

/// What an agent says.
#[derive(Clone, Debug)]
pub(super) enum AgentSays {
    Hello(AgentHello),
    Report(ServerReport),
    Beat,
}

/// A machine that runs containers.
pub(super) struct Node {
    pub(super) id: NodeId,
    stage: Arc<Stage>,
    docker: Mutex<Docker>,
}

#[derive(Default)]
struct Docker {
    containers: BTreeMap<String, Observed>,
    made: u64,
    /// The agent's state file.
    kept: Vec<(ServerSpec, ServerReport)>,
    /// The agent that is told of ends, if one runs.
    agent: Option<mpsc::Sender<Input>>,
}

/// A link that stands.
struct Link {
    replica: WorkerId,
    to: mpsc::Sender<AgentSays>,
    from: mpsc::Receiver<DesiredServers>,
    silent_since: Option<Instant>,
}

impl Node {
    pub(super) fn new(id: NodeId, stage: Arc<Stage>) -> Arc<Self> {
        Arc::new(Self { id, stage, docker: Mutex::default() })
    }

    /// Servers whose containers run.
    pub(super) fn running(&self) -> Vec<ServerId> {
        let docker = self.docker.lock().expect("whole");
        let running = |found: &&Observed| matches!(found.status, ObservedStatus::Running { .. });
        docker
            .containers
            .values()
            .filter(running)
            .filter_map(|found| found.spec.server_id.parse().ok())
            .collect()
    }

    /// The server's process says something by the SDK, until an agent has taken it and kept it, or the process is over.
    pub(super) async fn say(&self, server: ServerId, call: SdkCall) {
        let agent = || self.docker.lock().expect("whole").agent.clone();
        while self.running().contains(&server) {
            let told = agent();
            if let Some(told) = &told {
                // Refused only once the agent is gone.
                let _ = told.send(Input::Sdk(server, call.clone())).await;
            }
            tokio::time::sleep(2 * TICK).await;
            if told.zip(agent()).is_some_and(|(told, now)| told.same_channel(&now) && !now.is_closed()) {
                return;
            }
        }
    }

    /// The server's process ends by itself.
    pub(super) fn end(&self, server: ServerId, code: i64) {
        let found = {
            let docker = self.docker.lock().expect("whole");
            docker
                .containers
                .values()
                .find(|found| {
                    found.spec.server_id == server.to_string()
                        && matches!(found.status, ObservedStatus::Running { .. })
                })
                .map(|found| found.container.id.clone())
        };
        if let Some(container) = found {
            self.exit(server, &container, code);
        }
    }

    fn exit(&self, server: ServerId, container: &str, code: i64) {
        let mut docker = self.docker.lock().expect("whole");
        let Some(found) = docker.containers.get_mut(container) else { return };
        if matches!(found.status, ObservedStatus::Exited(_)) {
            return;
        }
        let exit = Exit { exit: ServerExit { code, ..Default::default() }, at_ms: self.stage.now_ms() };
        found.status = ObservedStatus::Exited(exit.clone());
        self.stage.over(server);
        if let Some(agent) = &docker.agent {
            let container_id = container.to_owned();
            // A full inbox is what the agent's looking around makes up for.
            let _ = agent.try_send(Input::Exited { server, container_id, exit });
        }
    }

    /// The agent's process, until it is dropped.
    pub(super) async fn agent(self: Arc<Self>) {
        let (inputs, mut inbox) = mpsc::channel(8_192);
        let (kept, observed) = {
            let mut docker = self.docker.lock().expect("whole");
            docker.agent = Some(inputs.clone());
            (docker.kept.clone(), docker.containers.values().cloned().collect())
        };
        let (table, effects) = Table::restore(kept, self.stage.now_ms());
        let mut agent = Agent {
            node: self.clone(),
            table,
            inputs: inputs.clone(),
            reports: BTreeMap::new(),
            unsent: BTreeSet::new(),
            actions: JoinSet::new(),
        };
        agent.carry_out(effects);
        agent.take(Input::EngineUp { observed, as_of_ms: self.stage.now_ms() });
        let mut link: Option<Link> = None;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for beat in 0u32.. {
            tokio::select! {
                biased;
                Some(input) = inbox.recv() => agent.take(input),
                wanted = hear(&mut link) => match wanted {
                    Some(wanted) => agent.take(Input::Desired(self.stage.planted.said(wanted))),
                    None => link = None,
                },
                _ = ticks.tick() => {
                    agent.take(Input::Tick);
                    if let Some(kept) = agent.table.take_snapshot() {
                        self.docker.lock().expect("whole").kept = kept;
                    }
                    if self.lost(link.as_mut()) {
                        link = None;
                    }
                    if link.is_none() {
                        link = agent.dial();
                    }
                    if beat.is_multiple_of(BEAT) && let Some(up) = &link && up.to.try_send(AgentSays::Beat).is_err() {
                        link = None;
                    }
                }
            }
            if !agent.say(link.as_ref()) {
                link = None;
            }
        }
    }

    /// Whether a link has been silent for too long.
    fn lost(&self, link: Option<&mut Link>) -> bool {
        let Some(link) = link else { return false };
        if !self.stage.network.is_cut(Machine::Node(self.id), link.replica) {
            link.silent_since = None;
            return false;
        }
        link.silent_since.get_or_insert_with(Instant::now).elapsed() > SILENCE
    }
}

async fn hear(link: &mut Option<Link>) -> Option<DesiredServers> {
    match link {
        Some(link) => link.from.recv().await,
        None => std::future::pending().await,
    }
}

/// One life of an agent.
struct Agent {
    node: Arc<Node>,
    table: Table,
    inputs: mpsc::Sender<Input>,
    reports: BTreeMap<ServerId, ServerReport>,
    unsent: BTreeSet<ServerId>,
    actions: JoinSet<()>,
}

impl Agent {
    fn take(&mut self, input: Input) {
        let effects = self.table.apply(input, self.node.stage.now_ms());
        self.carry_out(effects);
    }

    /// Dials a replica, and says hello.
    fn dial(&mut self) -> Option<Link> {
        let machine = Machine::Node(self.node.id);
        let stage = self.node.stage.clone();
        let replica = stage.any_replica()?;
        if stage.network.is_cut(machine, replica.id) {
            return None;
        }
        let (to, theirs) = stage.network.wire(machine, replica.id);
        let (back, from) = stage.network.wire(machine, replica.id);
        let hello = AgentHello {
            tunnel_addresses: vec!["10.0.0.1:7500".into()],
            capacity: Some(NodeCapacity { cpu_millis: 16_000, memory_bytes: 16 << 30 }),
            servers: self.reports.values().cloned().collect(),
            ..Default::default()
        };
        self.unsent.clear();
        to.try_send(AgentSays::Hello(hello)).ok()?;
        replica.take_agent(self.node.id, theirs, back);
        Some(Link { replica: replica.id, to, from, silent_since: None })
    }

    /// Says what has not been said. Returns whether the link takes it.
    fn say(&mut self, link: Option<&Link>) -> bool {
        let Some(link) = link else { return true };
        while let Some(server) = self.unsent.pop_first() {
            if let Some(report) = self.reports.get(&server)
                && link.to.try_send(AgentSays::Report(report.clone())).is_err()
            {
                self.unsent.insert(server);
                return false;
            }
        }
        true
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        while self.actions.try_join_next().is_some() {}
        for effect in effects {
            match effect {
                Effect::FetchImage(server, _) => {
                    self.later(10..400, move |_| Some(Input::Image(server, Ok(()))));
                }
                Effect::Launch(server, spec) => self.launch(server, *spec),
                Effect::Probe(server, _) => self.later(20..300, move |_| Some(Input::PortsListen(server))),
                Effect::Stop { server, container_id, .. } => {
                    self.node.stage.stopped(server, "its agent stops it");
                    self.later(50..3_000, move |node| {
                        node.exit(server, &container_id, 143);
                        None
                    });
                }
                Effect::Remove(container_id) => self.remove(&container_id),
                Effect::Report(report) => {
                    if let Ok(server) = report.server_id.parse() {
                        self.reports.insert(server, *report);
                        self.unsent.insert(server);
                    }
                }
                Effect::Forget(server) => {
                    self.reports.remove(&server);
                    self.unsent.remove(&server);
                }
                Effect::Refuse(server) => {
                    self.node.stage.broken(format!("{server} refused by an agent that has room"));
                }
                Effect::CancelFetch(_) | Effect::Open(..) | Effect::Shut(_) | Effect::Show(..) => {}
            }
        }
    }

    /// Does something some milliseconds from now, unless the agent dies before.
    fn later(
        &mut self,
        millis: std::ops::Range<u64>,
        act: impl FnOnce(&Node) -> Option<Input> + Send + 'static,
    ) {
        let (node, inputs) = (self.node.clone(), self.inputs.clone());
        let pause = node.stage.chance.millis(millis);
        self.actions.spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(input) = act(&node) {
                // Refused only once the agent is gone.
                let _ = inputs.send(input).await;
            }
        });
    }

    fn launch(&mut self, server: ServerId, spec: ServerSpec) {
        let (node, inputs) = (self.node.clone(), self.inputs.clone());
        let (made, started) = (node.stage.chance.millis(20..600), node.stage.chance.millis(20..300));
        let fails = node.stage.chance.happens(0.02);
        self.actions.spawn(async move {
            tokio::time::sleep(made).await;
            let result = if fails {
                let failure = ServerFailure { code: "container_create_failed".into(), ..Default::default() };
                Err(LaunchError::Failed { failure, container_id: None })
            } else {
                let container = node.create(spec);
                tokio::time::sleep(started).await;
                let status = ObservedStatus::Running { running_at_ms: node.stage.now_ms() };
                if let Some(found) = node.docker.lock().expect("whole").containers.get_mut(&container.id) {
                    found.status = status.clone();
                }
                Ok((container, status))
            };
            // Refused only once the agent is gone.
            let _ = inputs.send(Input::Launched(server, result)).await;
        });
    }

    fn remove(&mut self, container: &str) {
        let removed = self.node.docker.lock().expect("whole").containers.remove(container);
        if let Some(found) = removed
            && matches!(found.status, ObservedStatus::Running { .. })
        {
            self.node.stage.broken(format!("the running container of {} is removed", found.spec.server_id));
        }
    }
}

impl Node {
    fn create(&self, spec: ServerSpec) -> Container {
        let mut docker = self.docker.lock().expect("whole");
        docker.made += 1;
        let id = format!("c{}", docker.made);
        let ports = spec.ports.iter().map(|_| ([10, 0, 0, 2], 7_000).into()).collect();
        let container = Container { id: id.clone(), pid: None, ports };
        let found = Observed { spec, container: container.clone(), status: ObservedStatus::Created };
        docker.containers.insert(id, found);
        container
    }
}
