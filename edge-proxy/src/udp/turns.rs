//! The worker's thread: waits for sockets, gives the hot loop its turns, and does as it is told.
//!
//! One wait for everything: ports, tunnel sockets, commands, and what is due by the clock. Then a turn: first what has
//! come back on the tunnels, then a batch of each port that has packets, and at last all that is to leave. A port with more
//! than a batch gets its next turn after all others had theirs.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use muster_transport::Quic;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::forward::Forwarder;
use super::hot_loop::{HotLoop, Port};
use super::kept::KeptFlows;
use super::kept_file::KeptFile;
use super::port::players_socket;
use super::worker::{COMMANDS, Command, Frozen, WorkerSetup};
use crate::clock::Now;
use crate::handover::Players;
use crate::limits::Guard;
use crate::routes::Route;
use crate::sockets::pin_to_core;
use crate::traffic::{Counters, Tunnels};
use crate::tunnel::DatagramTunnels;

/// Sockets that one wait tells of; the others are told of by the next.
const EVENTS: usize = 1_024;
/// How often a part of the flows is looked over for idle ones.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// How soon it is tried again to send what the system did not take.
const BLOCKED_LOOK: Duration = Duration::from_millis(1);
/// How often it is looked at how the tunnels are.
const TUNNELS_EVERY: Duration = Duration::from_secs(1);
/// A port's token is its number. These are behind them all.
const WOKEN: Token = Token(1 << 16);
const FIRST_TUNNEL: Token = Token(WOKEN.0 + 1);

/// The thread's own.
pub(super) struct Turns {
    poll: Poll,
    inbox: mpsc::Receiver<Command>,
    hot_loop: HotLoop,
    // Ports that may have packets; each is in here once, as `is_ready` says by port.
    ready: VecDeque<u16>,
    is_ready: Vec<bool>,
    // Tunnel sockets that may have packets.
    brought: Vec<bool>,
    // Those whose receiving failed.
    failed_ports: Vec<u16>,
    failed_tunnels: bool,
    reading: bool,
    setup: WorkerSetup,
    next_sweep: Instant,
    next_look: Instant,
}

/// What can fail is there; the thread makes the rest.
pub(super) struct Prepared {
    poll: Poll,
    quic: Quic,
    inbox: mpsc::Receiver<Command>,
    setup: WorkerSetup,
}

/// All that a worker needs of the system, and what wakes it.
///
/// # Errors
/// What the system says of its sockets.
pub(super) fn prepare(setup: WorkerSetup, inbox: mpsc::Receiver<Command>) -> io::Result<(Prepared, Waker)> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WOKEN)?;
    let quic = Quic::dialling(poll.registry(), FIRST_TUNNEL)?;
    Ok((Prepared { poll, quic, inbox, setup }, waker))
}

/// The thread, until it is told to end.
///
/// # Errors
/// What the system says if its sockets cannot be waited for.
pub(super) fn run(prepared: Prepared) -> io::Result<()> {
    let Prepared { poll, quic, inbox, setup } = prepared;
    if setup.pin
        && let Err(error) = pin_to_core(setup.number)
    {
        warn!(worker = setup.number, %error, "the UDP worker is not kept on one core (pin_udp_workers)");
    }
    let brought = vec![false; quic.sockets()];
    let now = Now::read().instant;
    let guard = Guard::beside(setup.sources.clone(), setup.limits.clone(), now);
    let forwarder = Forwarder::new(setup.trust.clone(), setup.room.clone(), setup.idle, guard, now);
    let hot_loop = HotLoop::new(forwarder, DatagramTunnels::new(quic), setup.metrics.clone(), now);
    let turns = Turns {
        poll,
        inbox,
        hot_loop,
        ready: VecDeque::new(),
        is_ready: vec![false; 1 << 16],
        brought,
        failed_ports: Vec::new(),
        failed_tunnels: false,
        reading: true,
        setup,
        next_sweep: now + SWEEP_EVERY,
        next_look: now + TUNNELS_EVERY,
    };
    turns.run()
}

impl Turns {
    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let wait = self.wait(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Now::read();
            for event in &events {
                let token = event.token().0;
                if let Ok(port) = u16::try_from(token) {
                    self.has_packets(port);
                } else if let Some(brought) = self.brought.get_mut(token.wrapping_sub(FIRST_TUNNEL.0)) {
                    *brought |= event.is_readable();
                }
            }
            self.turn(now);
            // Commands are rare: a look costs next to nothing, and none waits for a wake-up that was lost.
            for _ in 0..COMMANDS {
                match self.inbox.try_recv() {
                    Ok(Command::End) | Err(mpsc::error::TryRecvError::Disconnected) => {
                        self.hot_loop.flush(now.instant);
                        self.hot_loop.tunnels.end(now.instant);
                        return Ok(());
                    }
                    Ok(command) => self.obey(now, command),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                }
            }
            self.look_at_the_clock(now);
            self.hot_loop.flush(now.instant);
        }
    }

    /// How long nothing is to be done if nothing comes.
    fn wait(&self, now: Instant) -> Duration {
        if !self.ready.is_empty() || self.brought.contains(&true) {
            return Duration::ZERO;
        }
        let quic = &self.hot_loop.tunnels.quic;
        let next = quic.due().into_iter().chain([self.next_sweep, self.next_look]).min().unwrap_or(now);
        let wait = next.saturating_duration_since(now);
        if quic.is_blocked() { wait.min(BLOCKED_LOOK) } else { wait }
    }

    fn has_packets(&mut self, port: u16) {
        if self.reading && !std::mem::replace(&mut self.is_ready[usize::from(port)], true) {
            self.ready.push_back(port);
        }
    }

    /// One batch of each socket that has something.
    fn turn(&mut self, now: Now) {
        for index in 0..self.brought.len() {
            if self.brought[index] {
                self.brought[index] = match self.hot_loop.turn_out(now.instant, index) {
                    Ok(more) => more,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                    Err(error) => {
                        // Such as an ICMP error on some systems. The socket lives on, and is looked at again with the next sweep: an
                        // error that stays is to cost no more than that.
                        warn!(%error, "receiving from agents failed");
                        self.failed_tunnels = true;
                        false
                    }
                };
            }
        }
        for _ in 0..self.ready.len() {
            let Some(port) = self.ready.pop_front() else { break };
            self.is_ready[usize::from(port)] = false;
            match self.hot_loop.turn_in(now, port) {
                Ok(true) => self.has_packets(port),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    warn!(port, %error, "receiving failed");
                    self.failed_ports.push(port);
                }
            }
        }
    }

    fn look_at_the_clock(&mut self, now: Now) {
        if now.instant >= self.next_sweep {
            self.next_sweep = now.instant + SWEEP_EVERY;
            for port in std::mem::take(&mut self.failed_ports) {
                self.has_packets(port);
            }
            if std::mem::take(&mut self.failed_tunnels) {
                self.brought.fill(true);
            }
            if !self.hot_loop.is_frozen() {
                self.hot_loop.sweep(now);
            }
        }
        if now.instant >= self.next_look {
            self.next_look = now.instant + TUNNELS_EVERY;
            self.hot_loop.tunnels.end_unheld(now.instant);
            self.look_at_tunnels();
        }
    }

    fn obey(&mut self, now: Now, command: Command) {
        match command {
            Command::TakeUp(players) => self.take_up(now, players),
            Command::Agents(wanted) => {
                let tunnels = &mut self.hot_loop.tunnels;
                tunnels.retain(now.instant, |node| wanted.contains(node));
                for node in wanted {
                    tunnels.of_node(node);
                }
            }
            Command::Dial { address, name, caller } => {
                let client = self.setup.client.clone();
                self.hot_loop.tunnels.dial(now.instant, client, (address, &name), caller);
            }
            Command::Carry { node, id } => {
                // One that is followed no more is not made again.
                if self.hot_loop.tunnels.find(node).is_some() {
                    self.hot_loop.tunnels.carry(now.instant, node, id);
                }
            }
            Command::Open { route, counters, socket } => self.open(now, route, counters, socket),
            Command::Close { port, closed } => {
                self.let_go(port);
                self.hot_loop.ports.remove(port);
                self.hot_loop.forwarder.close_port(port);
                self.hot_loop.tell_agents(now.instant);
                // That nobody waits for it any more is fine.
                let _ = closed.send(());
            }
            // That nobody waits for it any more is told by what comes next.
            Command::Freeze(reply) => drop(reply.send(self.freeze(now))),
            Command::KeptFile(reply) => drop(reply.send(self.hot_loop.kept_file())),
            Command::Resume(file) => self.resume(file),
            Command::Release => self.release(),
            // The loop's to see.
            Command::End => {}
        }
    }

    fn open(&mut self, now: Now, route: Arc<Route>, counters: Arc<Counters>, socket: std::net::UdpSocket) {
        let number = route.key.port;
        let Some(tunnel) = self.hot_loop.tunnels.find(route.node) else {
            error!(port = number, node = %route.node, "no tunnel is kept to the route's node");
            return;
        };
        let socket = players_socket(mio::net::UdpSocket::from_std(socket)).and_then(|mut socket| {
            let token = Token(usize::from(number));
            self.poll.registry().register(&mut socket.io, token, Interest::READABLE)?;
            Ok(socket)
        });
        let socket = match socket {
            Ok(socket) => socket,
            Err(error) => {
                error!(port = number, %error, "the UDP socket cannot be used");
                return;
            }
        };
        self.hot_loop.forwarder.open_port(now.instant, route, counters.clone());
        self.hot_loop.ports.insert(number, Port::new(socket, tunnel, counters));
        // What came before it was registered.
        self.has_packets(number);
    }

    fn take_up(&mut self, now: Now, players: Players) {
        let WorkerSetup { kept, room, idle, .. } = &self.setup;
        let (file, found) = KeptFile::open(kept, room.most, *idle, now.unix_ms);
        let kept = KeptFlows::new(found.key, room.most, found.slots);
        self.hot_loop.forwarder.take_up(now.instant, kept, players);
        self.hot_loop.keep_in(file);
    }

    fn freeze(&mut self, now: Now) -> Frozen {
        self.reading = false;
        self.ready.drain(..).for_each(|port| self.is_ready[usize::from(port)] = false);
        self.hot_loop.freeze(now);
        let mut sockets = std::collections::BTreeMap::new();
        for (number, port) in self.hot_loop.ports.iter() {
            match port.socket.another() {
                Ok(socket) => drop(sockets.insert(number, socket)),
                Err(error) => error!(port = number, %error, "the UDP socket cannot be handed over"),
            }
        }
        (sockets, self.hot_loop.forwarder.players(now.instant))
    }

    fn resume(&mut self, file: Option<File>) {
        self.hot_loop.thaw(file);
        self.reading = true;
        // What came meanwhile has been told of once.
        let ports: Vec<_> = self.hot_loop.ports.iter().map(|(port, _)| port).collect();
        for port in ports {
            self.has_packets(port);
        }
    }

    fn release(&mut self) {
        // Answers still go out through the sockets; what comes in is the next edge's.
        let ports: Vec<_> = self.hot_loop.ports.iter().map(|(port, _)| port).collect();
        for port in ports {
            self.let_go(port);
        }
        self.hot_loop.release();
    }

    /// Hears no more of the port's packets.
    fn let_go(&mut self, port: u16) {
        let Some(open) = self.hot_loop.ports.get_mut(port) else { return };
        if let Err(error) = self.poll.registry().deregister(&mut open.socket.io) {
            // It was let go before.
            tracing::debug!(port, %error, "a socket that nobody waited on");
        }
    }

    /// Counts, and tells how the tunnels are.
    fn look_at_tunnels(&mut self) {
        let conditions = self.hot_loop.look().into_iter();
        let each = conditions.map(|condition| {
            self.setup.metrics.tunnel_rtt.record(condition.rtt);
            condition.traffic
        });
        let each = each.collect();
        let [added_p50_us, added_p99_us] = self.hot_loop.added();
        let tunnels = Tunnels { each, added_p50_us, added_p99_us };
        self.setup.traffic.note_tunnels(self.setup.number, tunnels);
    }
}
