//! What runs against what is wanted: inputs in, effects out.
//!
//! The table holds one state machine per server and is told everything: what the orchestrator wants,
//! what Docker and the SDK endpoint say, how late it is. It answers with effects for others to carry
//! out and touches nothing itself: no socket, no clock, no Docker. It is level-triggered: an input
//! that comes twice changes nothing the second time, and one that was lost is made up for by the next
//! full picture of either side.

mod server;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use muster_protocol::agent::{
    Backfill, BuildRef, DesiredServers, LobbyWish, PortProtocol, ServerExit, ServerFailure, ServerReport,
    ServerSpec,
};
use muster_protocol::id::{SeatId, ServerId};

use server::Server;
pub use view::{AllocationView, LobbyView, ServerView};

/// Servers one node keeps track of, ended ones included. More than fit a machine by far; a bound on
/// what a broken orchestrator can make an agent hold.
pub const MAX_SERVERS: usize = 4_096;

/// How long a server waits for a Docker engine that does not answer before it counts as failed, so
/// that the orchestrator places it elsewhere, in milliseconds.
pub const ENGINE_WAIT_MS: u64 = 20_000;

/// A container of ours, as far as reaching and ending it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Docker's id.
    pub id: String,
    /// Its first process on this machine, if it can be seen from here.
    pub pid: Option<u32>,
    /// Where each of the server's ports is reached, in the order of the specification.
    pub ports: Vec<SocketAddr>,
}

/// How a container was found.
#[derive(Clone, Debug, PartialEq)]
pub enum ObservedStatus {
    /// Made, never started.
    Created,
    /// Its process runs.
    Running {
        /// Since when, Unix milliseconds.
        running_at_ms: u64,
    },
    /// Its process has ended.
    Exited(Exit),
}

/// How and when a container's process ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Exit {
    /// How.
    pub exit: ServerExit,
    /// When, Unix milliseconds.
    pub at_ms: u64,
}

/// A container of this node, found on looking around.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// The specification it was made from, out of its labels.
    pub spec: ServerSpec,
    /// The container.
    pub container: Container,
    /// How it is.
    pub status: ObservedStatus,
}

/// What a server said by the SDK.
#[derive(Clone, Debug, PartialEq)]
pub enum SdkCall {
    /// Anything that changes nothing: it has used the SDK.
    Used,
    /// Players may connect.
    Ready,
    /// It is alive.
    Health,
    /// A player is there.
    SeatConnected(SeatId),
    /// A player is gone.
    SeatDisconnected(SeatId),
    /// A player is gone and will not be back: their seat is free.
    SeatReleased(SeatId),
    /// Whether others may join its match.
    Backfill(Backfill),
    /// It wants its lobby to be another; what it does not say stays as it said before.
    Lobby(LobbyWish),
    /// It wants to be shut down.
    Shutdown,
}

/// Why a container was not launched.
#[derive(Clone, Debug, PartialEq)]
pub enum LaunchError {
    /// Docker does not answer; the server waits for it.
    EngineDown,
    /// The image went away between the check and the launch; it is fetched again.
    ImageGone,
    /// It will not work.
    Failed {
        /// Why.
        failure: ServerFailure,
        /// The container, if one was made and has to be removed some day.
        container_id: Option<String>,
    },
}

/// Why an image is not there.
#[derive(Clone, Debug, PartialEq)]
pub enum ImageError {
    /// Docker does not answer; the server waits for it.
    EngineDown,
    /// It will not work.
    Failed(ServerFailure),
}

/// What the table is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// The orchestrator's wish.
    Desired(DesiredServers),
    /// Docker answers.
    EngineUp {
        /// All containers of this node.
        observed: Vec<Observed>,
        /// When looking began: what has changed since may be missing, Unix milliseconds.
        as_of_ms: u64,
    },
    /// Docker does not answer.
    EngineDown,
    /// The image is there, or will not be.
    Image(ServerId, Result<(), ImageError>),
    /// The container runs (since when), or does not.
    Launched(ServerId, Result<(Container, ObservedStatus), LaunchError>),
    /// All ports of the server listen.
    PortsListen(ServerId),
    /// The container's process has ended.
    Exited {
        /// The server.
        server: ServerId,
        /// Its container: an exit of another one says nothing.
        container_id: String,
        /// How it ended.
        exit: Exit,
    },
    /// Docker did not stop the container.
    StopFailed(ServerId),
    /// The server spoke.
    Sdk(ServerId, SdkCall),
    /// Time has passed.
    Tick,
}

/// One port as the tunnel reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoutePort {
    /// What is spoken on it.
    pub protocol: PortProtocol,
    /// Where.
    pub address: SocketAddr,
}

/// How to find out whether a server's ports listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The container's first process on this machine, if it can be seen from here.
    pub pid: Option<u32>,
    /// The ports.
    pub ports: Vec<ProbePort>,
}

/// One port to find out about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePort {
    /// UDP, or else TCP.
    pub udp: bool,
    /// Its number inside the container.
    pub container_port: u16,
    /// Where it is reached from here.
    pub address: SocketAddr,
}

/// What the table wants done. None depends on another having succeeded: success comes back as input.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// See to it that the image is there.
    FetchImage(ServerId, BuildRef),
    /// The image is not needed any more by this server.
    CancelFetch(ServerId),
    /// Create the container and start it.
    Launch(ServerId, Box<ServerSpec>),
    /// Tell when all ports listen.
    Probe(ServerId, Probe),
    /// Players' traffic may reach the server here from now on.
    Open(ServerId, Vec<RoutePort>),
    /// The server is over: end its traffic, stop probing.
    Shut(ServerId),
    /// SIGTERM, grace, SIGKILL.
    Stop {
        /// The server.
        server: ServerId,
        /// Its container.
        container_id: String,
        /// Time between the signals.
        grace_ms: u64,
    },
    /// Remove the container; its end is recorded.
    Remove(String),
    /// Tell the orchestrator.
    Report(Box<ServerReport>),
    /// Tell the server.
    Show(ServerId, Box<ServerView>),
    /// Nobody will ask about the server again.
    Forget(ServerId),
    /// The server cannot be taken on: the node has [`MAX_SERVERS`].
    Refuse(ServerId),
}

/// Every server of this node.
#[derive(Default)]
pub struct Table {
    servers: BTreeMap<ServerId, Server>,
    engine_up: bool,
    /// A full wish has come from an orchestrator since this process started.
    wish_known: bool,
    changed: bool,
}

impl Table {
    /// A table that knows what an earlier run of the agent knew.
    pub fn restore(saved: Vec<(ServerSpec, ServerReport)>, now: u64) -> (Self, Vec<Effect>) {
        let mut table = Self::default();
        let mut effects = Vec::new();
        for (spec, report) in saved.into_iter().take(MAX_SERVERS) {
            if let Ok(id) = spec.server_id.parse() {
                table.servers.insert(id, Server::restore(id, spec, report, now));
                table.settle(id, now, &mut effects);
            }
        }
        table.changed = false;
        (table, effects)
    }

    /// Takes one input in; answers with what to do about it.
    pub fn apply(&mut self, input: Input, now: u64) -> Vec<Effect> {
        let mut out = Vec::new();
        match input {
            Input::Desired(desired) => self.desired(desired, now, &mut out),
            Input::EngineUp { observed, as_of_ms } => self.engine_up(observed, as_of_ms, now, &mut out),
            Input::EngineDown => self.engine_up = false,
            Input::Image(id, result) => {
                self.with(id, now, &mut out, |server, out| server.image(result, now, out));
            }
            Input::Launched(id, result) => self.launched(id, result, now, &mut out),
            Input::PortsListen(id) => self.with(id, now, &mut out, |server, _| server.ports_listen(now)),
            Input::Exited { server, container_id, exit } => {
                self.with(server, now, &mut out, |server, out| server.exited(&container_id, exit, out));
            }
            Input::StopFailed(id) => self.with(id, now, &mut out, |server, _| server.stop_failed(now)),
            Input::Sdk(id, call) => self.with(id, now, &mut out, |server, _| server.sdk(call, now)),
            Input::Tick => {
                let due: Vec<_> =
                    self.servers.iter().filter(|(_, server)| server.due(now)).map(|(&id, _)| id).collect();
                for id in due {
                    self.with(id, now, &mut out, |server, _| server.tick(now));
                }
            }
        }
        out
    }

    /// What to keep for the next run of the agent, if it changed since the last call.
    pub fn take_snapshot(&mut self) -> Option<Vec<(ServerSpec, ServerReport)>> {
        std::mem::take(&mut self.changed)
            .then(|| self.servers.values().map(|server| (server.spec().clone(), server.report())).collect())
    }

    /// The last snapshot was not kept: the next one is due.
    pub fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// Servers by the phase they are in, and how many of them have a live container,
    /// or are about to.
    pub fn count(&self) -> (BTreeMap<&'static str, u32>, u32) {
        let mut phases = BTreeMap::new();
        let mut containers = 0;
        for server in self.servers.values() {
            *phases.entry(server.state_name()).or_default() += 1;
            containers += u32::from(server.has_container());
        }
        (phases, containers)
    }

    /// Builds that servers here need.
    pub fn builds(&self) -> impl Iterator<Item = &BuildRef> {
        self.servers.values().filter(|server| !server.is_ended()).filter_map(|s| s.spec().build.as_ref())
    }

    fn desired(&mut self, desired: DesiredServers, now: u64, out: &mut Vec<Effect>) {
        let mut named = BTreeSet::new();
        for spec in desired.servers {
            let Ok(id) = spec.server_id.parse::<ServerId>() else { continue };
            named.insert(id);
            if let Some(server) = self.servers.get_mut(&id) {
                self.changed |= server.aim(spec);
            } else if self.servers.len() < MAX_SERVERS {
                self.servers.insert(id, Server::new(id, spec, now));
                self.changed = true;
            } else {
                out.push(Effect::Refuse(id));
            }
            self.settle(id, now, out);
        }
        let mut dismissed: Vec<ServerId> = desired.forget.iter().filter_map(|id| id.parse().ok()).collect();
        if desired.full {
            self.wish_known = true;
            dismissed.extend(self.servers.keys().filter(|id| !named.contains(id)));
        }
        for id in dismissed {
            self.with(id, now, out, |server, _| server.dismiss());
        }
    }

    fn engine_up(&mut self, observed: Vec<Observed>, as_of_ms: u64, now: u64, out: &mut Vec<Effect>) {
        self.engine_up = true;
        let mut seen = BTreeSet::new();
        for found in observed {
            let Ok(id) = found.spec.server_id.parse::<ServerId>() else { continue };
            seen.insert(id);
            if let Some(server) = self.servers.get_mut(&id) {
                server.observed(found, now, out);
            } else if found.status == ObservedStatus::Created || self.servers.len() >= MAX_SERVERS {
                // Never started, and nothing known that wants it.
                out.push(Effect::Remove(found.container.id));
                continue;
            } else {
                let mut server = Server::new(id, found.spec.clone(), now);
                server.observed(found, now, out);
                if self.wish_known {
                    server.dismiss();
                }
                self.servers.insert(id, server);
            }
            self.settle(id, now, out);
        }
        let unseen: Vec<_> = self.servers.keys().copied().filter(|id| !seen.contains(id)).collect();
        for id in unseen {
            self.with(id, now, out, |server, out| server.not_observed(as_of_ms, now, out));
        }
    }

    fn launched(
        &mut self,
        id: ServerId,
        result: Result<(Container, ObservedStatus), LaunchError>,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        if self.servers.contains_key(&id) {
            self.with(id, now, out, |server, out| server.launched(result, now, out));
        } else if let Ok((container, _)) = result {
            // Cannot be while a launching server is never dropped from the table; costs nothing to hold.
            out.push(Effect::Remove(container.id));
        }
    }

    fn with(
        &mut self,
        id: ServerId,
        now: u64,
        out: &mut Vec<Effect>,
        change: impl FnOnce(&mut Server, &mut Vec<Effect>),
    ) {
        if let Some(server) = self.servers.get_mut(&id) {
            change(server, out);
            self.settle(id, now, out);
        }
    }

    /// Brings one server on its way, and tells whoever has to know what changed.
    fn settle(&mut self, id: ServerId, now: u64, out: &mut Vec<Effect>) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.steer(self.engine_up, now, out);
        if server.is_gone() {
            if let Some(container_id) = server.container_id() {
                out.push(Effect::Remove(container_id.to_owned()));
            }
            out.push(Effect::Forget(id));
            self.servers.remove(&id);
            self.changed = true;
            return;
        }
        self.changed |= server.tell(out);
    }
}
