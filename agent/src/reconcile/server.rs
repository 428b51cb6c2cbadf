//! One server's state machine: facts are taken in, then [`Server::steer`] moves towards the goal.
//!
//! A server has one container in its life. It is never started a second time: what ended is reported
//! and kept until the orchestrator has recorded it.

mod account;
mod adopt;
mod lobby;
mod seats;

use muster_protocol::agent::{
    Backfill, LobbyWish, PortProtocol, ServerExit, ServerFailure, ServerGoal, ServerReport, ServerSpec,
};
use muster_protocol::id::ServerId;

use super::{
    Container, ENGINE_WAIT_MS, Effect, Exit, ImageError, LaunchError, ObservedStatus, SdkCall, ServerView,
};
use crate::failure;
use lobby::besides;
use seats::Seats;

/// Time to become ready, if the specification gives none, in milliseconds.
const DEFAULT_READY_TIMEOUT_MS: u64 = 60_000;
/// Pause before a failed stop is tried again, in milliseconds.
const STOP_RETRY_MS: u64 = 5_000;
/// Times an image may vanish between the check and the launch before that counts as failure.
const MAX_IMAGE_LOSSES: u32 = 3;
/// Ports of one server: what the tunnel's port index can name.
const MAX_PORTS: usize = 255;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Wanted; nothing is under way.
    Waiting,
    /// Its image is being seen to.
    Fetching,
    /// Its container is being made and started.
    Launching,
    /// Its process runs; it is not ready yet.
    Starting { since_ms: u64 },
    /// Players may come.
    Ready,
    /// Told to end. `retry_at_ms`: the stop failed and is tried again then.
    Stopping { retry_at_ms: Option<u64> },
    /// Over; kept until the orchestrator has recorded it.
    Ended,
}

/// One server.
pub(super) struct Server {
    id: ServerId,
    spec: ServerSpec,
    state: State,
    container: Option<Container>,
    /// When the container became known to this run of the agent.
    container_since_ms: u64,
    pulling_at_ms: u64,
    starting_at_ms: u64,
    running_at_ms: u64,
    ready_at_ms: u64,
    ended_at_ms: u64,
    exit: Option<ServerExit>,
    /// Why it is a failure; may be known before the process has ended.
    failure: Option<ServerFailure>,
    /// An end heard of while the launch had not answered yet.
    early_exit: Option<(String, Exit)>,
    seats: Seats,
    backfill: Backfill,
    shutdown_requested: bool,
    lobby: Option<LobbyWish>,
    uses_sdk: bool,
    /// It has called ready; may come before Docker has answered that it runs.
    said_ready: bool,
    last_health_ms: Option<u64>,
    image_losses: u32,
    /// Since when it has been waiting for an engine that does not answer.
    engine_wait_from_ms: Option<u64>,
    /// It counts as over, and yet its container runs, or may: that is found out, and stopped, first.
    remains: bool,
    /// The orchestrator does not want to hear of it again once it has ended.
    unwanted: bool,
    told: Option<ServerReport>,
    shown: Option<ServerView>,
}

impl Server {
    pub(super) fn new(id: ServerId, spec: ServerSpec, now: u64) -> Self {
        let failure = check(&spec).err();
        Self {
            id,
            state: if failure.is_some() { State::Ended } else { State::Waiting },
            ended_at_ms: if failure.is_some() { now } else { 0 },
            spec,
            container: None,
            container_since_ms: 0,
            pulling_at_ms: 0,
            starting_at_ms: 0,
            running_at_ms: 0,
            ready_at_ms: 0,
            exit: None,
            failure,
            early_exit: None,
            seats: Seats::default(),
            backfill: Backfill::Unspecified,
            shutdown_requested: false,
            lobby: None,
            uses_sdk: false,
            said_ready: false,
            last_health_ms: None,
            image_losses: 0,
            engine_wait_from_ms: Some(now),
            remains: false,
            unwanted: false,
            told: None,
            shown: None,
        }
    }

    pub(super) fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    pub(super) fn container_id(&self) -> Option<&str> {
        self.container.as_ref().map(|container| container.id.as_str())
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(super) fn is_gone(&self) -> bool {
        self.unwanted && self.is_ended() && !self.remains
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Starting { .. } | State::Ready | State::Stopping { .. })
    }

    pub(super) fn has_container(&self) -> bool {
        self.is_live() || self.state == State::Launching
    }

    pub(super) fn state_name(&self) -> &'static str {
        match self.state {
            State::Waiting => "waiting",
            State::Fetching => "fetching",
            State::Launching => "launching",
            State::Starting { .. } => "starting",
            State::Ready => "ready",
            State::Stopping { .. } => "stopping",
            State::Ended => "ended",
        }
    }

    /// Takes a newer wish over; answers whether it was newer. A repeated one is taken as said again.
    pub(super) fn aim(&mut self, spec: ServerSpec) -> bool {
        if spec.generation < self.spec.generation {
            return false;
        }
        self.unwanted = false;
        let changed = spec != self.spec;
        self.seats.told(self.spec.allocation.as_ref(), spec.allocation.as_ref());
        self.spec = spec;
        changed
    }

    pub(super) fn dismiss(&mut self) {
        self.unwanted = true;
    }

    pub(super) fn image(&mut self, result: Result<(), ImageError>, now: u64, out: &mut Vec<Effect>) {
        if self.state != State::Fetching {
            return;
        }
        match result {
            Ok(()) => {
                self.engine_wait_from_ms = None;
                self.starting_at_ms = now;
                self.state = State::Launching;
                out.push(Effect::Launch(self.id, Box::new(self.spec.clone())));
            }
            Err(ImageError::EngineDown) => self.wait_for_engine(now),
            Err(ImageError::Failed(failure)) => self.fail(failure, now),
        }
    }

    pub(super) fn launched(
        &mut self,
        result: Result<(Container, ObservedStatus), LaunchError>,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.state != State::Launching {
            return;
        }
        match result {
            Ok((container, status)) => {
                let early = self.early_exit.take().filter(|(id, _)| *id == container.id);
                self.adopt(container, status, now, out);
                if let Some((id, exit)) = early {
                    self.exited(&id, exit, out);
                }
            }
            Err(LaunchError::EngineDown) => self.wait_for_engine(now),
            Err(LaunchError::ImageGone) if self.image_losses < MAX_IMAGE_LOSSES => {
                self.image_losses += 1;
                self.state = State::Waiting;
            }
            Err(LaunchError::ImageGone) => {
                self.fail(
                    failure::image_fetch_failed(
                        "the image keeps vanishing from Docker between fetch and start; stop whatever removes images on this node",
                    ),
                    now,
                );
            }
            Err(LaunchError::Failed { failure, container_id }) => {
                self.container = container_id.map(|id| Container { id, pid: None, ports: Vec::new() });
                self.container_since_ms = now;
                self.fail(failure, now);
            }
        }
    }

    pub(super) fn ports_listen(&mut self, now: u64) {
        // A server that has spoken by the SDK says itself when it is ready.
        if matches!(self.state, State::Starting { .. }) && !self.uses_sdk {
            self.become_ready(now);
        }
    }

    pub(super) fn exited(&mut self, container_id: &str, exit: Exit, out: &mut Vec<Effect>) {
        match self.state {
            State::Launching => self.early_exit = Some((container_id.to_owned(), exit)),
            _ if self.container_id() != Some(container_id) => {}
            State::Ended => {
                self.remains = false;
                self.exit.get_or_insert(exit.exit);
            }
            _ => {
                let starting = matches!(self.state, State::Starting { .. });
                if starting && self.failure.is_none() && self.goal() == ServerGoal::Run && !self.unwanted {
                    self.failure = Some(failure::exited_before_ready(&exit.exit));
                }
                self.exit = Some(exit.exit);
                self.end(exit.at_ms);
                out.push(Effect::Shut(self.id));
            }
        }
    }

    pub(super) fn stop_failed(&mut self, now: u64) {
        if let State::Stopping { retry_at_ms } = &mut self.state {
            *retry_at_ms = Some(now + STOP_RETRY_MS);
        }
    }

    pub(super) fn sdk(&mut self, call: SdkCall, now: u64) {
        self.uses_sdk = true;
        match call {
            SdkCall::Used => {}
            SdkCall::Ready => {
                self.said_ready = true;
                if matches!(self.state, State::Starting { .. }) {
                    self.become_ready(now);
                }
            }
            SdkCall::Health => self.last_health_ms = Some(now),
            SdkCall::SeatConnected(seat) => self.seats.connect(seat),
            SdkCall::SeatDisconnected(seat) => self.seats.disconnect(seat),
            SdkCall::SeatReleased(seat) => self.seats.release(seat),
            SdkCall::Backfill(backfill) => self.backfill = backfill,
            SdkCall::Lobby(wish) => self.lobby = Some(besides(self.lobby.take(), wish)),
            SdkCall::Shutdown => self.shutdown_requested = true,
        }
    }

    /// Whether [`Server::tick`] has something to do.
    pub(super) fn due(&self, now: u64) -> bool {
        let drained = self.drain_is_over(now);
        match self.state {
            State::Waiting => self.engine_wait_is_over(now),
            State::Starting { since_ms } => {
                drained || now >= since_ms + self.ready_timeout_ms() || self.health_is_over(now)
            }
            State::Ready => drained || self.health_is_over(now),
            State::Stopping { retry_at_ms: Some(at) } => now >= at,
            _ => false,
        }
    }

    pub(super) fn tick(&mut self, now: u64) {
        match self.state {
            State::Waiting if self.engine_wait_is_over(now) => {
                self.fail(
                    failure::docker_unavailable(
                        "Docker did not answer on this node; start the engine there, or look at the node's explanation in `muster node ls`",
                    ),
                    now,
                );
            }
            State::Starting { since_ms } if now >= since_ms + self.ready_timeout_ms() => {
                let ports: Vec<_> = self
                    .spec
                    .ports
                    .iter()
                    .map(|port| {
                        format!("{} {}/{}", port.name, port.container_port, protocol_name(port.protocol()))
                    })
                    .collect();
                self.failure.get_or_insert(failure::ready_timeout(
                    self.ready_timeout_ms(),
                    self.uses_sdk,
                    &ports,
                ));
            }
            State::Starting { .. } | State::Ready if self.health_is_over(now) => {
                self.failure.get_or_insert(failure::unhealthy(self.spec.health_timeout_ms));
            }
            _ => {}
        }
    }

    /// Takes the next step towards the goal, if one can be taken now.
    pub(super) fn steer(&mut self, engine_up: bool, now: u64, out: &mut Vec<Effect>) {
        // Only what is ready is claimed. An agent that was killed before it could keep that would wait for a word that no
        // server says twice, and in the end stop one with players.
        if matches!(self.state, State::Starting { .. }) && self.spec.allocation.is_some() {
            self.become_ready(now);
        }
        let stop = self.unwanted
            || self.failure.is_some()
            || self.goal() == ServerGoal::Stop
            || self.drain_is_over(now);
        // Nobody can be on a server that never ran: there is nothing to drain.
        let never_mind = stop || self.goal() == ServerGoal::Drain;
        match self.state {
            State::Waiting if never_mind => self.end(now),
            State::Waiting if engine_up => {
                if self.pulling_at_ms == 0 {
                    self.pulling_at_ms = now;
                }
                self.state = State::Fetching;
                let build = self.spec.build.clone().unwrap_or_default();
                out.push(Effect::FetchImage(self.id, build));
            }
            State::Fetching if never_mind => {
                out.push(Effect::CancelFetch(self.id));
                self.end(now);
            }
            State::Starting { .. } | State::Ready if stop => self.stop(out),
            State::Stopping { retry_at_ms: Some(at) } if now >= at => self.stop(out),
            _ => {}
        }
    }

    fn goal(&self) -> ServerGoal {
        match self.spec.goal() {
            ServerGoal::Unspecified => ServerGoal::Run,
            goal => goal,
        }
    }

    fn ready_timeout_ms(&self) -> u64 {
        if self.spec.ready_timeout_ms == 0 { DEFAULT_READY_TIMEOUT_MS } else { self.spec.ready_timeout_ms }
    }

    fn drain_is_over(&self, now: u64) -> bool {
        self.goal() == ServerGoal::Drain
            && self.spec.drain_deadline_ms != 0
            && now >= self.spec.drain_deadline_ms
    }

    fn health_is_over(&self, now: u64) -> bool {
        self.spec.health_timeout_ms != 0
            && self.last_health_ms.is_some_and(|at| now >= at + self.spec.health_timeout_ms)
    }

    fn engine_wait_is_over(&self, now: u64) -> bool {
        self.engine_wait_from_ms.is_some_and(|from| now >= from + ENGINE_WAIT_MS)
    }

    fn wait_for_engine(&mut self, now: u64) {
        self.engine_wait_from_ms.get_or_insert(now);
        self.state = State::Waiting;
    }

    fn become_ready(&mut self, now: u64) {
        self.state = State::Ready;
        self.ready_at_ms = now;
    }

    fn stop(&mut self, out: &mut Vec<Effect>) {
        self.state = State::Stopping { retry_at_ms: None };
        if let Some(container_id) = self.container_id() {
            out.push(Effect::Stop {
                server: self.id,
                container_id: container_id.to_owned(),
                grace_ms: self.spec.stop_grace_ms,
            });
        }
    }

    fn fail(&mut self, failure: ServerFailure, now: u64) {
        self.failure.get_or_insert(failure);
        self.end(now);
    }

    fn end(&mut self, at_ms: u64) {
        self.state = State::Ended;
        self.ended_at_ms = at_ms;
        if self.failure.is_none() {
            // A server that was stopped before it ran has ended as it should.
            self.exit.get_or_insert_default();
        }
    }
}

/// What is spoken, in a word.
fn protocol_name(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Udp => "udp",
        PortProtocol::Unspecified | PortProtocol::Tcp | PortProtocol::Ws => "tcp",
    }
}

fn check(spec: &ServerSpec) -> Result<(), ServerFailure> {
    let invalid = |what: &str| Err(failure::spec_invalid(what));
    if !spec.build.as_ref().is_some_and(|build| !build.digest.is_empty() || !build.reference.is_empty()) {
        return invalid("the server names no build");
    }
    if spec.ports.len() > MAX_PORTS {
        return invalid("the server has more than 255 ports");
    }
    if let Some(port) = spec.ports.iter().find(|port| !(1..=65_535).contains(&port.container_port)) {
        return invalid(&format!("port {} has the impossible number {}", port.name, port.container_port));
    }
    Ok(())
}
