//! The worker: a thread with a runtime of its own, on which `tasks` give the hot loop its turns.
//!
//! Sockets, tunnel connections and their QUIC drivers all run on this thread, so a packet changes hands
//! without waking another. Everything arrives by messages; nothing is shared but counters and keys.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use muster_protocol::id::NodeId;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, spawn_local};
use tokio::time::MissedTickBehavior;
use tracing::error;

use super::forward::Forwarder;
use super::hot_loop::{HotLoop, Port};
use super::kept::KeptFlows;
use super::kept_file::KeptFile;
use super::port::UdpSocket;
use super::tasks::{keep_up, serve_port};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::handover::Players;
use crate::limits::{Guard, Limits};
use crate::metrics::Metrics;
use crate::routes::Route;
use crate::traffic::{Counters, Traffic, Tunnels};
use crate::trust::Trust;
use crate::tunnel::{Agents, DatagramTunnel, Dialer, client_endpoint};

/// Commands that wait; their sender waits when there are more.
const COMMANDS: usize = 1_024;
/// How often a part of the flows is looked over for idle ones.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked at how the tunnels are.
const TUNNELS_EVERY: Duration = Duration::from_secs(1);
/// How long ending connections get to say so.
const FAREWELL: Duration = Duration::from_millis(200);

/// What a worker is made with.
pub(crate) struct WorkerSetup {
    /// For dialling agents.
    pub(crate) client: quinn::ClientConfig,
    /// Keys of tokens and flow ids.
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    /// Where flows are kept for a restart.
    pub(crate) state_dir: PathBuf,
    /// Most flows at once.
    pub(crate) max_flows: usize,
    /// How long a flow lives without a packet from its client.
    pub(crate) idle: Duration,
    /// What sources may send.
    pub(crate) limits: Arc<ArcSwap<Limits>>,
    /// What the orchestrator is told.
    pub(crate) traffic: Arc<Traffic>,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// The sockets of ports, each once more, and what is not on disk.
type Frozen = (BTreeMap<u16, std::net::UdpSocket>, Players);

enum Command {
    TakeUp(Players),
    Agents(BTreeMap<NodeId, Vec<String>>),
    Open { route: Arc<Route>, counters: Arc<Counters>, socket: std::net::UdpSocket },
    Close { port: u16, closed: oneshot::Sender<()> },
    Freeze(oneshot::Sender<Frozen>),
    Resume,
    Release,
}

/// A running worker, as the rest of the edge sees it.
pub(crate) struct UdpWorker {
    commands: mpsc::Sender<Command>,
    reached: watch::Receiver<usize>,
    thread: thread::JoinHandle<()>,
}

impl UdpWorker {
    /// Starts the worker's thread.
    ///
    /// # Errors
    /// What the system says of the thread, its runtime, or the tunnel's socket.
    pub(crate) async fn start(setup: WorkerSetup) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (started, ready) = oneshot::channel();
        let (standing, reached) = watch::channel(0);
        let thread = thread::Builder::new().name("edge-udp".to_owned()).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(run(setup, inbox, standing, started)),
                Err(error) => {
                    // The starter is told; that it has gone away already is nobody's loss.
                    let _ = started.send(Err(error));
                }
            }
        })?;
        ready.await.map_err(|_| io::Error::other("the UDP worker ended before it began"))??;
        Ok(Self { commands, reached, thread })
    }

    /// Goes on with the flows of the process before, those on disk and those among `players`, as soon as their ports
    /// are opened; and keeps flows on disk from now on.
    pub(crate) async fn take_up(&self, players: Players) {
        self.send(Command::TakeUp(players)).await;
    }

    /// Waits until tunnels to `agents` agents stand.
    pub(crate) async fn reached(&mut self, agents: usize) {
        // An error says that the worker is gone: nothing is to be waited for.
        let _ = self.reached.wait_for(|standing| *standing >= agents).await;
    }

    /// Reads no more, and leaves flows as they are. Answers still go to clients. Returns what another edge needs to
    /// go on.
    pub(crate) async fn freeze(&self) -> Frozen {
        let (reply, frozen) = oneshot::channel();
        self.send(Command::Freeze(reply)).await;
        // An error says that the worker is gone, and with it what it had.
        frozen.await.unwrap_or_default()
    }

    /// Goes on after [`UdpWorker::freeze`].
    pub(crate) async fn resume(&self) {
        self.send(Command::Resume).await;
    }

    /// Leaves the flows to another edge for good.
    pub(crate) async fn release(&self) {
        self.send(Command::Release).await;
    }

    /// Keeps tunnels to exactly these agents.
    pub(crate) async fn follow(&self, agents: BTreeMap<NodeId, Vec<String>>) {
        self.send(Command::Agents(agents)).await;
    }

    /// Serves `route`, to whose node a tunnel is kept, on `socket`.
    pub(crate) async fn open(&self, route: Arc<Route>, counters: Arc<Counters>, socket: std::net::UdpSocket) {
        self.send(Command::Open { route, counters, socket }).await;
    }

    /// Ends `port` and its flows; when this returns, its socket is closed.
    pub(crate) async fn close(&self, port: u16) {
        let (closed, done) = oneshot::channel();
        self.send(Command::Close { port, closed }).await;
        // An error says that the worker is gone, and the socket with it.
        let _ = done.await;
    }

    /// Ends the worker. Its flows stand at the agents, for an edge that comes back.
    pub(crate) async fn shutdown(self) {
        drop(self.commands);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            error!("the UDP worker ended by a panic");
        }
    }

    async fn send(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            error!("the UDP worker has ended; restart the edge");
        }
    }
}

struct Worker {
    hot_loop: Rc<RefCell<HotLoop>>,
    agents: Agents<Rc<DatagramTunnel>>,
    ports: HashMap<u16, JoinHandle<()>>,
    endpoint: quinn::Endpoint,
    setup: WorkerSetup,
    standing: watch::Sender<usize>,
}

async fn run(
    setup: WorkerSetup,
    mut inbox: mpsc::Receiver<Command>,
    standing: watch::Sender<usize>,
    started: oneshot::Sender<io::Result<()>>,
) {
    let endpoint = match client_endpoint() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            // The starter is told; that it has gone away already is nobody's loss.
            let _ = started.send(Err(error));
            return;
        }
    };
    let now = Now::read().instant;
    let guard = Guard::new(setup.limits.clone(), now);
    let forwarder = Forwarder::new(setup.trust.clone(), setup.max_flows, setup.idle, guard, now);
    let mut worker = Worker {
        hot_loop: Rc::new(RefCell::new(HotLoop::new(forwarder, setup.metrics.clone(), now))),
        agents: Agents::new(),
        ports: HashMap::new(),
        endpoint,
        setup,
        standing,
    };
    if started.send(Ok(())).is_err() {
        return;
    }
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut tunnels = tokio::time::interval(TUNNELS_EVERY);
    for every in [&mut sweep, &mut tunnels] {
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            command = inbox.recv() => match command {
                Some(command) => worker.obey(command).await,
                None => break,
            },
            _ = sweep.tick() => worker.sweep(),
            _ = tunnels.tick() => worker.look_at_tunnels(),
        }
    }
    worker.end().await;
}

impl Worker {
    async fn obey(&mut self, command: Command) {
        match command {
            Command::TakeUp(players) => self.take_up(players),
            Command::Agents(wanted) => {
                let (endpoint, client) = (self.endpoint.clone(), self.setup.client.clone());
                let (hot_loop, metrics) = (self.hot_loop.clone(), self.setup.metrics.clone());
                let standing = self.standing.clone();
                self.agents.follow(&wanted, |node, addresses| {
                    let tunnel = Rc::new(DatagramTunnel::new(node));
                    let dialer = Dialer::new(endpoint.clone(), client.clone(), node, addresses);
                    let counted = (metrics.clone(), standing.clone());
                    let task = keep_up(dialer, tunnel.clone(), hot_loop.clone(), counted);
                    (tunnel, start(task))
                });
            }
            // That nobody waits for it any more is told by what comes next.
            Command::Freeze(reply) => drop(reply.send(self.freeze().await)),
            Command::Resume => self.resume(),
            Command::Release => self.hot_loop.borrow_mut().release(),
            Command::Open { route, counters, socket } => self.open(route, counters, socket),
            Command::Close { port, closed } => {
                if let Some(task) = self.ports.remove(&port) {
                    task.abort();
                    // Cancelled is what it is to be.
                    let _ = task.await;
                }
                {
                    let mut hot_loop = self.hot_loop.borrow_mut();
                    hot_loop.ports.remove(&port);
                    hot_loop.forwarder.close_port(port);
                }
                self.tell_agents();
                // That nobody waits for it any more is fine.
                let _ = closed.send(());
            }
        }
    }

    fn open(&mut self, route: Arc<Route>, counters: Arc<Counters>, socket: std::net::UdpSocket) {
        let number = route.key.port;
        let Some(tunnel) = self.agents.get(&route.node).cloned() else {
            error!(port = number, node = %route.node, "no tunnel is kept to the route's node");
            return;
        };
        let socket = match UdpSocket::new(socket) {
            Ok(socket) => socket,
            Err(error) => {
                error!(port = number, %error, "the UDP socket cannot be used");
                return;
            }
        };
        let port = Rc::new(Port { number, socket, tunnel, counters: counters.clone() });
        let mut hot_loop = self.hot_loop.borrow_mut();
        hot_loop.forwarder.open_port(Now::read().instant, route, counters);
        hot_loop.ports.insert(number, port.clone());
        self.ports.insert(number, spawn_local(serve_port(self.hot_loop.clone(), port)));
    }

    fn take_up(&mut self, players: Players) {
        let (now, WorkerSetup { state_dir, max_flows, idle, .. }) = (Now::read(), &self.setup);
        let (file, found) = KeptFile::open(state_dir, *max_flows, *idle, now.unix_ms);
        let kept = KeptFlows::new(found.key, *max_flows, found.slots);
        let mut hot_loop = self.hot_loop.borrow_mut();
        hot_loop.forwarder.take_up(now.instant, kept, players);
        hot_loop.keep_in(file);
    }

    async fn freeze(&mut self) -> Frozen {
        for (_, task) in self.ports.drain() {
            task.abort();
            // Cancelled is what it is to be.
            let _ = task.await;
        }
        let (now, mut hot_loop) = (Now::read(), self.hot_loop.borrow_mut());
        hot_loop.freeze(now);
        let mut sockets = BTreeMap::new();
        for port in hot_loop.ports.values() {
            match port.socket.another() {
                Ok(socket) => drop(sockets.insert(port.number, socket)),
                Err(error) => error!(port = port.number, %error, "the UDP socket cannot be handed over"),
            }
        }
        (sockets, hot_loop.forwarder.players(now.instant))
    }

    fn resume(&mut self) {
        let mut hot_loop = self.hot_loop.borrow_mut();
        hot_loop.thaw();
        for port in hot_loop.ports.values() {
            let task = spawn_local(serve_port(self.hot_loop.clone(), port.clone()));
            self.ports.insert(port.number, task);
        }
    }

    fn sweep(&mut self) {
        if self.hot_loop.borrow().is_frozen() {
            return;
        }
        self.hot_loop.borrow_mut().sweep(Now::read());
        self.tell_agents();
    }

    /// Counts and tells how the tunnels are.
    fn look_at_tunnels(&self) {
        let metrics = &self.setup.metrics;
        let conditions = self.agents.tunnels().filter_map(|tunnel| tunnel.condition());
        let each = conditions.map(|condition| {
            metrics.tunnel_rtt.record(condition.rtt);
            metrics.tunnel_packets(condition.news.sent, condition.news.lost);
            metrics.drop_many(DropReason::TunnelFull, condition.news.dropped);
            condition.traffic
        });
        let each = each.collect();
        let [added_p50_us, added_p99_us] = self.hot_loop.borrow().added();
        self.setup.traffic.note_tunnels(Tunnels { each, added_p50_us, added_p99_us });
    }

    /// Says CLOSE for the flows that went.
    fn tell_agents(&mut self) {
        let gone = self.hot_loop.borrow_mut().forwarder.take_gone();
        for (node, flow) in gone {
            if let Some(tunnel) = self.agents.get(&node) {
                tunnel.close(flow);
            }
        }
    }

    async fn end(self) {
        self.ports.values().for_each(JoinHandle::abort);
        drop(self.agents);
        self.endpoint.close(0u32.into(), b"edge is shutting down");
        // Agents that do not hear it notice by themselves.
        let _ = tokio::time::timeout(FAREWELL, self.endpoint.wait_idle()).await;
    }
}

fn start(task: impl Future<Output = ()> + 'static) -> AbortHandle {
    spawn_local(task).abort_handle()
}
