//! The table in a simulated world: a Docker that fails and vanishes, processes that end when they like,
//! an orchestrator that changes its mind, an agent that restarts. Whatever happens in whatever order,
//! promises hold at every step, and when the trouble stops, what is wanted is what is.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::agent::{
    BuildRef, DesiredServers, ServerExit, ServerGoal, ServerPhase, ServerReport, ServerSpec,
};
use muster_protocol::id::{ServerId, id_from_bytes};
use proptest::prelude::*;

use super::*;
use crate::failure;

const SERVERS: u8 = 4;

fn server_id(index: u8) -> ServerId {
    id_from_bytes([index + 1; 16])
}

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    /// The orchestrator wants this of these servers, and nothing else.
    WantAll(Vec<(u8, ServerGoal)>),
    /// The orchestrator wants something else of one server.
    Want(u8, ServerGoal),
    /// A wish from the past arrives again.
    StaleWant(u8),
    /// The orchestrator has recorded one server's end.
    Forget(u8),
    /// Some effect under way comes to its end.
    Finish {
        which: usize,
        outcome: u8,
    },
    /// Some process ends.
    Exit {
        which: usize,
    },
    /// A server speaks.
    Sdk(u8, SdkCall),
    EngineDown,
    EngineUp,
    /// The agent ends without warning and starts again, from what it last kept.
    Restart,
    Wait(u16),
}

fn goal() -> impl Strategy<Value = ServerGoal> {
    prop_oneof![4 => Just(ServerGoal::Run), 1 => Just(ServerGoal::Drain), 2 => Just(ServerGoal::Stop)]
}

fn step() -> impl Strategy<Value = Step> {
    let server = 0..SERVERS;
    let call = prop_oneof![Just(SdkCall::Ready), Just(SdkCall::Health), Just(SdkCall::Used)];
    prop_oneof![
        2 => proptest::collection::vec((server.clone(), goal()), 0..4).prop_map(Step::WantAll),
        3 => (server.clone(), goal()).prop_map(|(server, goal)| Step::Want(server, goal)),
        1 => server.clone().prop_map(Step::StaleWant),
        1 => server.clone().prop_map(Step::Forget),
        12 => (any::<usize>(), any::<u8>()).prop_map(|(which, outcome)| Step::Finish { which, outcome }),
        1 => any::<usize>().prop_map(|which| Step::Exit { which }),
        2 => (server, call).prop_map(|(server, call)| Step::Sdk(server, call)),
        1 => Just(Step::EngineDown),
        2 => Just(Step::EngineUp),
        1 => Just(Step::Restart),
        2 => any::<u16>().prop_map(Step::Wait),
    ]
}

/// Everything outside the table.
#[derive(Default)]
struct World {
    table: Table,
    kept: Vec<(ServerSpec, ServerReport)>,
    now: u64,
    engine_up: bool,
    next_container: u64,
    generation: u64,
    /// What the orchestrator wants.
    wanted: BTreeMap<ServerId, ServerSpec>,
    first_specs: BTreeMap<ServerId, ServerSpec>,
    /// Containers by id: whose, made from what, and how they are.
    containers: BTreeMap<String, (ServerSpec, ObservedStatus)>,
    under_way: Vec<Effect>,
    open: BTreeSet<ServerId>,
    reports: BTreeMap<ServerId, ServerReport>,
}

impl World {
    fn spec(&mut self, server: ServerId, goal: ServerGoal) -> ServerSpec {
        self.generation += 1;
        let spec = ServerSpec {
            server_id: server.to_string(),
            generation: self.generation,
            goal: goal.into(),
            build: Some(BuildRef { reference: "a/b:1".into(), ..Default::default() }),
            ready_timeout_ms: 30_000,
            drain_deadline_ms: self.now + 10_000,
            health_timeout_ms: 20_000,
            ..Default::default()
        };
        self.first_specs.entry(server).or_insert_with(|| spec.clone());
        spec
    }

    fn tell(&mut self, input: Input) {
        for effect in self.table.apply(input, self.now) {
            self.check(&effect);
            match effect {
                Effect::Open(server, _) => {
                    self.open.insert(server);
                }
                Effect::Shut(server) => {
                    self.open.remove(&server);
                }
                Effect::Forget(server) => {
                    self.open.remove(&server);
                    self.reports.remove(&server);
                }
                Effect::Report(report) => {
                    self.reports.insert(report.server_id.parse().expect("an id"), *report);
                }
                Effect::CancelFetch(server) => {
                    self.under_way
                        .retain(|effect| !matches!(effect, Effect::FetchImage(of, _) if *of == server));
                }
                Effect::Show(..) | Effect::Refuse(_) => {}
                under_way => self.under_way.push(under_way),
            }
        }
        if let Some(kept) = self.table.take_snapshot() {
            self.kept = kept;
        }
    }

    /// What must hold of every effect.
    fn check(&self, effect: &Effect) {
        match effect {
            Effect::Launch(server, spec) => {
                assert_eq!(spec.goal(), ServerGoal::Run, "launched although nobody wants it to run");
                let others =
                    self.under_way.iter().filter(|e| matches!(e, Effect::Launch(of, _) if of == server));
                assert_eq!(others.count(), 0, "launched twice at once");
            }
            Effect::Report(report) => {
                let server: ServerId = report.server_id.parse().expect("an id");
                let Some(old) = self.reports.get(&server) else { return };
                assert!(report.generation >= old.generation, "an older wish was taken over");
                let (from, to) = (old.phase(), report.phase());
                let over = |phase| matches!(phase, ServerPhase::Exited | ServerPhase::Failed);
                assert!(!over(from) || from == to, "{from:?} is the end, and then {to:?}");
                let back = matches!(from, ServerPhase::Ready | ServerPhase::Stopping) && to < from;
                assert!(!back, "{from:?} became {to:?}");
                if over(to) {
                    assert_ne!(report.ended_at_ms, 0);
                    assert_eq!(to == ServerPhase::Failed, report.failure.is_some());
                    assert!(report.failure.is_some() || report.exit.is_some());
                }
            }
            Effect::Remove(container_id) => {
                if let Some((spec, ObservedStatus::Running { .. })) = self.containers.get(container_id) {
                    panic!("removed {} while it ran", spec.server_id);
                }
            }
            _ => {}
        }
    }

    fn happen(&mut self, step: Step) {
        match step {
            Step::WantAll(goals) => {
                let goals: BTreeMap<_, _> = goals.into_iter().collect();
                self.wanted =
                    goals.into_iter().map(|(s, g)| (server_id(s), self.spec(server_id(s), g))).collect();
                self.say_all();
            }
            Step::Want(server, goal) => {
                let server = server_id(server);
                let spec = self.spec(server, goal);
                self.wanted.insert(server, spec.clone());
                self.tell(Input::Desired(DesiredServers {
                    full: false,
                    servers: vec![spec],
                    forget: Vec::new(),
                }));
            }
            Step::StaleWant(server) => {
                // Of a server that is wanted: else it would be a wish like any other.
                let server = server_id(server);
                if let (Some(old), true) = (self.first_specs.get(&server), self.wanted.contains_key(&server))
                {
                    let servers = vec![old.clone()];
                    self.tell(Input::Desired(DesiredServers { full: false, servers, forget: Vec::new() }));
                }
            }
            Step::Forget(server) => {
                let server = server_id(server);
                let over =
                    self.reports.get(&server).is_some_and(|report| report.phase() >= ServerPhase::Exited);
                if over && self.wanted.remove(&server).is_some() {
                    let forget = vec![server.to_string()];
                    self.tell(Input::Desired(DesiredServers { full: false, servers: Vec::new(), forget }));
                }
            }
            Step::Finish { which, outcome } => {
                if !self.under_way.is_empty() {
                    let effect = self.under_way.remove(which % self.under_way.len());
                    self.finish(effect, outcome);
                }
            }
            Step::Exit { which } => {
                let running: Vec<_> = self
                    .containers
                    .iter()
                    .filter(|(_, (_, status))| matches!(status, ObservedStatus::Running { .. }))
                    .map(|(id, _)| id.clone())
                    .collect();
                if !running.is_empty() {
                    self.end(&running[which % running.len()].clone(), 1);
                }
            }
            Step::Sdk(server, call) => self.tell(Input::Sdk(server_id(server), call)),
            Step::EngineDown => {
                self.engine_up = false;
                self.tell(Input::EngineDown);
            }
            Step::EngineUp => self.look_around(),
            Step::Restart => self.restart(),
            Step::Wait(ms) => {
                self.now += u64::from(ms);
                self.tell(Input::Tick);
            }
        }
    }

    fn say_all(&mut self) {
        let servers = self.wanted.values().cloned().collect();
        self.tell(Input::Desired(DesiredServers { full: true, servers, forget: Vec::new() }));
    }

    fn look_around(&mut self) {
        self.engine_up = true;
        let observed = self
            .containers
            .iter()
            .map(|(id, (spec, status))| Observed {
                spec: spec.clone(),
                container: container(id),
                status: status.clone(),
            })
            .collect();
        self.now += 1;
        self.tell(Input::EngineUp { observed, as_of_ms: self.now });
    }

    fn restart(&mut self) {
        // What was under way ends with the agent; Docker may have come to any point with it.
        for effect in std::mem::take(&mut self.under_way) {
            if let Effect::Launch(_, spec) = effect {
                self.create(*spec, self.now.is_multiple_of(2));
            }
        }
        self.open.clear();
        self.reports.clear();
        let (table, effects) = Table::restore(self.kept.clone(), self.now);
        self.table = table;
        for effect in effects {
            if let Effect::Report(report) = effect {
                self.reports.insert(report.server_id.parse().expect("an id"), *report);
            }
        }
        self.engine_up = false;
    }

    /// Docker makes a container; one of the same name goes first, as the runtime sees to it.
    fn create(&mut self, spec: ServerSpec, start: bool) -> String {
        self.containers.retain(|_, (other, _)| other.server_id != spec.server_id);
        self.next_container += 1;
        let id = format!("container{}", self.next_container);
        let status =
            if start { ObservedStatus::Running { running_at_ms: self.now } } else { ObservedStatus::Created };
        self.containers.insert(id.clone(), (spec, status));
        id
    }

    fn end(&mut self, container_id: &str, code: i64) {
        let Some((spec, status)) = self.containers.get_mut(container_id) else { return };
        if !matches!(status, ObservedStatus::Running { .. }) {
            return;
        }
        let exit = Exit { exit: ServerExit { code, ..Default::default() }, at_ms: self.now.max(1) };
        *status = ObservedStatus::Exited(exit.clone());
        let server = spec.server_id.parse().expect("an id");
        if self.engine_up {
            self.tell(Input::Exited { server, container_id: container_id.to_owned(), exit });
        }
    }

    /// An effect ends: well, if `outcome` is 0, or the engine is down and it cannot.
    fn finish(&mut self, effect: Effect, outcome: u8) {
        match effect {
            Effect::FetchImage(server, _) => {
                let result = match outcome {
                    _ if !self.engine_up => Err(ImageError::EngineDown),
                    1 => Err(ImageError::Failed(failure::image_invalid("it is none"))),
                    _ => Ok(()),
                };
                self.tell(Input::Image(server, result));
            }
            Effect::Launch(server, spec) => {
                let result = match outcome {
                    _ if !self.engine_up => Err(LaunchError::EngineDown),
                    1 => Err(LaunchError::ImageGone),
                    2 => Err(LaunchError::Failed {
                        failure: failure::container_create_failed("no"),
                        container_id: None,
                    }),
                    3 => Err(LaunchError::Failed {
                        failure: failure::container_start_failed("no"),
                        container_id: Some(self.create(*spec, false)),
                    }),
                    _ => {
                        let id = self.create(*spec, true);
                        if outcome == 4 {
                            // Its end is heard of before Docker's answer.
                            self.end(&id, 1);
                        }
                        let status = self.containers[&id].1.clone();
                        Ok((container(&id), status))
                    }
                };
                self.tell(Input::Launched(server, result));
            }
            Effect::Probe(server, _) => {
                if self.open.contains(&server) {
                    self.tell(Input::PortsListen(server));
                }
            }
            Effect::Stop { server, container_id, .. } => {
                if self.engine_up && outcome != 1 {
                    self.end(&container_id, 0);
                } else {
                    self.tell(Input::StopFailed(server));
                }
            }
            Effect::Remove(id) => {
                if self.engine_up && outcome != 1 {
                    self.containers.remove(&id);
                }
            }
            other => panic!("{other:?} is not carried out"),
        }
    }

    /// The trouble stops: everything succeeds, and time goes by.
    fn calm_down(&mut self) {
        for _ in 0..8 {
            self.look_around();
            self.say_all();
            for _ in 0..200 {
                self.now += 1_000;
                self.tell(Input::Tick);
                if self.under_way.is_empty() {
                    continue;
                }
                let effect = self.under_way.remove(0);
                self.finish(effect, 0);
            }
        }
    }
}

fn container(id: &str) -> Container {
    Container { id: id.to_owned(), pid: None, ports: Vec::new() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_happens_the_world_becomes_what_is_wanted(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World { now: 1_000, ..World::default() };
        for step in steps {
            world.happen(step);
        }
        world.calm_down();
        prop_assert!(world.under_way.is_empty(), "never at rest: {:?}", world.under_way);
        let known: BTreeSet<_> = world.reports.keys().copied().collect();
        let wanted: BTreeSet<_> = world.wanted.keys().copied().collect();
        prop_assert_eq!(&known, &wanted, "what is known and what is wanted");
        let mut running = BTreeSet::new();
        for (spec, status) in world.containers.values() {
            let server: ServerId = spec.server_id.parse().expect("an id");
            prop_assert!(wanted.contains(&server), "a container nobody wants stays");
            if matches!(status, ObservedStatus::Running { .. }) {
                prop_assert!(running.insert(server), "two containers of one server run");
            }
        }
        for (server, spec) in &world.wanted {
            let report = &world.reports[server];
            prop_assert_eq!(report.generation, spec.generation);
            let over = matches!(report.phase(), ServerPhase::Exited | ServerPhase::Failed);
            let ready = report.phase() == ServerPhase::Ready;
            // Deadlines and health time-outs have long passed, so a draining server is over, too.
            prop_assert!(over || (ready && spec.goal() == ServerGoal::Run), "{:?}", report);
            prop_assert_eq!(ready, running.contains(server), "{:?}", report);
        }
        prop_assert_eq!(&world.open, &running, "routes stand for what runs");
    }
}

#[test]
fn a_node_takes_no_more_servers_than_its_bound() {
    let mut world = World { now: 1, ..World::default() };
    let servers: Vec<_> = (0..=MAX_SERVERS).map(|_| world.spec(ServerId::new(), ServerGoal::Run)).collect();
    let desired = DesiredServers { full: true, servers, forget: Vec::new() };
    let effects = world.table.apply(Input::Desired(desired), 1);
    let refused = effects.iter().filter(|effect| matches!(effect, Effect::Refuse(_))).count();
    assert_eq!(refused, 1);
}

#[test]
fn a_server_that_says_ready_before_docker_answers_is_ready() {
    let mut world = World { now: 1_000, ..World::default() };
    world.look_around();
    world.happen(Step::Want(0, ServerGoal::Run));
    world.happen(Step::Finish { which: 0, outcome: 0 });
    world.happen(Step::Sdk(0, SdkCall::Ready));
    assert_eq!(world.reports[&server_id(0)].phase(), ServerPhase::Starting);
    world.happen(Step::Finish { which: 0, outcome: 0 });
    let report = &world.reports[&server_id(0)];
    assert_eq!((report.phase(), report.uses_sdk), (ServerPhase::Ready, true));
    assert!(world.under_way.is_empty(), "nothing is left to find out: {:?}", world.under_way);
}

#[test]
fn a_claimed_server_is_ready_though_the_agent_was_killed_before_it_kept_that() {
    let server = server_id(0);
    let mut world = World::default();
    let spec = world.spec(server, ServerGoal::Run);
    let claimed = ServerSpec {
        generation: spec.generation + 1,
        allocation: Some(muster_protocol::agent::Allocation::default()),
        ..spec.clone()
    };
    let kept = ServerReport {
        server_id: server.to_string(),
        generation: spec.generation,
        phase: ServerPhase::Starting.into(),
        container_id: "c1".into(),
        uses_sdk: true,
        ..Default::default()
    };
    let (mut table, _) = Table::restore(vec![(spec.clone(), kept)], 0);
    let status = ObservedStatus::Running { running_at_ms: 0 };
    let observed = vec![Observed { spec, container: container("c1"), status }];
    table.apply(Input::EngineUp { observed, as_of_ms: 0 }, 0);
    let desired = DesiredServers { full: true, servers: vec![claimed], ..Default::default() };
    let effects = table.apply(Input::Desired(desired), 1_000);
    let is_ready =
        |effect: &Effect| matches!(effect, Effect::Report(report) if report.phase() == ServerPhase::Ready);
    assert!(effects.iter().any(is_ready), "{effects:?}");
    let later = table.apply(Input::Tick, 60_000);
    assert!(!later.iter().any(|effect| matches!(effect, Effect::Stop { .. })), "{later:?}");
}
