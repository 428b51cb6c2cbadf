//! The worker, as the rest of the edge sees it: what it is told, and the tasks that find agents for it.
//!
//! The thread itself is `turns`'. Everything reaches it by messages; nothing is shared but counters and keys. What takes
//! patience, names or a clock of its own, such as dialling, is done here, on the edge's runtime.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use mio::Waker;
use muster_protocol::id::NodeId;
use muster_transport::{ConnectionId, DialError, spawn_vital};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info};

use super::flows::Room;
use super::turns;
use crate::handover::Players;
use crate::limits::{Limits, Sources};
use crate::metrics::{Metrics, Standing};
use crate::routes::Route;
use crate::traffic::{Counters, Traffic};
use crate::trust::Trust;
use crate::tunnel::{Agents, Caller, Connect, DIAL_TIMEOUT, Dialer, Reached};

/// Commands that wait; their sender waits when there are more.
pub(super) const COMMANDS: usize = 1_024;

/// What a worker is made with.
#[derive(Clone)]
pub(crate) struct WorkerSetup {
    /// For dialling agents.
    pub(crate) client: quinn::ClientConfig,
    /// Keys of tokens and flow ids.
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    /// Its number, from 0.
    pub(crate) number: usize,
    /// Whether it is to stay on one core: the one of its number, of those that this process may use.
    pub(crate) pin: bool,
    /// The file that flows are kept in for a restart.
    pub(crate) kept: PathBuf,
    /// For how many flows there is room, with those of the other workers.
    pub(crate) room: Room,
    /// How long a flow lives without a packet from its client.
    pub(crate) idle: Duration,
    /// What sources may send.
    pub(crate) limits: Arc<ArcSwap<Limits>>,
    /// What they have sent of it, to all workers.
    pub(crate) sources: Sources,
    /// What the orchestrator is told.
    pub(crate) traffic: Arc<Traffic>,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// The sockets of ports, each once more, and what is not on disk.
pub(super) type Frozen = (BTreeMap<u16, std::net::UdpSocket>, Players);

/// What a worker is told.
pub(super) enum Command {
    /// Go on with the flows of the process before.
    TakeUp(Players),
    /// Keep tunnels to these agents and no others.
    Agents(BTreeSet<NodeId>),
    /// Dial this address, which has to show the certificate of that name.
    Dial { address: SocketAddr, name: String, caller: Caller },
    /// This connection carries the tunnel to that node from now on.
    Carry { node: NodeId, id: ConnectionId },
    /// Serve a port.
    Open { route: Arc<Route>, counters: Arc<Counters>, socket: std::net::UdpSocket },
    /// Serve it no more.
    Close { port: u16, closed: oneshot::Sender<()> },
    /// Read no more.
    Freeze(oneshot::Sender<Frozen>),
    /// Say which file flows are kept in, once more.
    KeptFile(oneshot::Sender<Option<File>>),
    /// Read again, with flows kept in this file if there is one.
    Resume(Option<File>),
    /// Leave flows and sockets to another edge.
    Release,
    /// End.
    End,
}

/// A running worker.
pub(crate) struct UdpWorker {
    told: Told,
    // Touched when routes change, never per packet.
    agents: Mutex<Agents<()>>,
    standing: watch::Sender<usize>,
    metrics: Metrics,
    thread: thread::JoinHandle<()>,
}

/// Tells the worker, and wakes it.
#[derive(Clone)]
struct Told {
    commands: mpsc::Sender<Command>,
    waker: Arc<Waker>,
}

impl Told {
    async fn send(&self, command: Command) {
        if self.commands.send(command).await.is_err() {
            error!("the UDP worker has ended; restart the edge");
        }
        if let Err(error) = self.waker.wake() {
            error!(%error, "the UDP worker cannot be woken; it looks by itself in a moment");
        }
    }
}

impl UdpWorker {
    /// Starts the worker's thread.
    ///
    /// # Errors
    /// What the system says of the thread, or of the tunnel's sockets.
    pub(crate) fn start(setup: WorkerSetup) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let metrics = setup.metrics.clone();
        let name = format!("edge-udp-{}", setup.number);
        let (prepared, waker) = turns::prepare(setup, inbox)?;
        let thread = spawn_vital(name, || turns::run(prepared))?;
        let told = Told { commands, waker: Arc::new(waker) };
        let (standing, _) = watch::channel(0);
        Ok(Self { told, agents: Mutex::new(Agents::new()), standing, metrics, thread })
    }

    /// Goes on with the flows of the process before, those on disk and those among `players`, as soon as their ports
    /// are opened; and keeps flows on disk from now on.
    pub(crate) async fn take_up(&self, players: Players) {
        self.send(Command::TakeUp(players)).await;
    }

    /// Waits until tunnels to all agents that are followed stand.
    pub(crate) async fn reached(&self) {
        let agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner).len();
        // It ends with the worker, whose sender this is.
        let _ = self.standing.subscribe().wait_for(|standing| *standing >= agents).await;
    }

    /// Reads no more, and leaves flows as they are. Answers still go to clients. Returns what another edge needs to
    /// go on.
    pub(crate) async fn freeze(&self) -> Frozen {
        let (reply, frozen) = oneshot::channel();
        self.send(Command::Freeze(reply)).await;
        // An error says that the worker is gone, and with it what it had.
        frozen.await.unwrap_or_default()
    }

    /// The file that flows are kept in, once more, if there is one.
    pub(crate) async fn kept_file(&self) -> Option<File> {
        let (reply, file) = oneshot::channel();
        self.send(Command::KeptFile(reply)).await;
        // An error says that the worker is gone.
        file.await.ok().flatten()
    }

    /// Goes on after [`UdpWorker::freeze`], with flows kept in `file` if that is another now.
    pub(crate) async fn resume(&self, file: Option<File>) {
        self.send(Command::Resume(file)).await;
    }

    /// Leaves the flows to another edge for good.
    pub(crate) async fn release(&self) {
        self.send(Command::Release).await;
    }

    /// Keeps tunnels to exactly these agents. Ports that lead to others must have been closed.
    pub(crate) async fn follow(&self, agents: BTreeMap<NodeId, Vec<String>>) {
        // First the tunnels are known, then dialled.
        self.send(Command::Agents(agents.keys().copied().collect())).await;
        self.agents.lock().unwrap_or_else(PoisonError::into_inner).follow(&agents, |node, addresses| {
            let dialer = Dialer::new(self.told.clone(), node, addresses);
            let counted = (self.metrics.clone(), self.standing.clone());
            ((), tokio::spawn(keep_up(dialer, node, self.told.clone(), counted)).abort_handle())
        });
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
        self.send(Command::End).await;
        // Its end by a panic is the process's.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
    }

    async fn send(&self, command: Command) {
        self.told.send(command).await;
    }
}

impl Connect for Told {
    type Connection = Reached;

    fn attempt(
        &self,
        address: SocketAddr,
        name: String,
    ) -> impl Future<Output = Result<Reached, DialError>> + Send + 'static {
        let told = self.clone();
        async move {
            let (caller, answer) = oneshot::channel();
            told.send(Command::Dial { address, name, caller }).await;
            match tokio::time::timeout(DIAL_TIMEOUT, answer).await {
                Ok(Ok(reached)) => reached,
                // The worker is over, or nobody answers.
                Ok(Err(_)) | Err(_) => Err(DialError::Timeout { address, seconds: DIAL_TIMEOUT.as_secs() }),
            }
        }
    }
}

/// Keeps the tunnel to `node` up.
async fn keep_up(
    mut dialer: Dialer<Told>,
    node: NodeId,
    told: Told,
    (metrics, standing): (Metrics, watch::Sender<usize>),
) {
    loop {
        let Reached { id, over } = dialer.connect().await;
        told.send(Command::Carry { node, id }).await;
        let _standing = (Standing::new(&metrics.datagram_tunnels), Counted::new(&standing));
        match over.await {
            Ok(reason) => info!(%node, %reason, "tunnel of datagrams is down"),
            // The worker ends, or lets the tunnel go.
            Err(_) => return,
        }
    }
}

/// One agent more that is reached, for as long as it is held.
struct Counted(watch::Sender<usize>);

impl Counted {
    fn new(standing: &watch::Sender<usize>) -> Self {
        standing.send_modify(|agents| *agents += 1);
        Self(standing.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|agents| *agents -= 1);
    }
}
