//! All workers of an edge. A server is one worker's: its ports, its players and their flows.
//!
//! So nothing of a packet is shared between threads, whichever address its player has now, and limits of a server and of a
//! token are exact. The kernel's own spreading (`SO_REUSEPORT`) goes by the client's address: a player whose address changes,
//! or who claims a seat from another socket, would come to a thread that knows nothing of them. What it spreads and
//! this does not is one server's load; a server's players are fewer than what a core carries.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use muster_protocol::id::{ServerId, id_bytes};
use tracing::warn;

use super::dealt::{deal, put_back};
use super::flows::Room;
use super::kept_file::file_name;
use super::worker::{Frozen, UdpWorker, WorkerSetup};
use crate::clock::Now;
use crate::handover::Players;
use crate::routes::{Protocol, Route, RouteTable};
use crate::traffic::Counters;

/// The workers.
pub(crate) struct UdpWorkers {
    workers: Vec<UdpWorker>,
    state_dir: PathBuf,
    setup: WorkerSetup,
}

impl UdpWorkers {
    /// Starts `count` workers, as `setup` says for all of them together; at least one.
    ///
    /// # Errors
    /// What the system says of threads and of the tunnels' sockets.
    pub(crate) fn start(state_dir: PathBuf, count: usize, setup: WorkerSetup) -> io::Result<Self> {
        let count = count.max(1);
        let setup = WorkerSetup { room: Room::of(setup.room.most, count), ..setup };
        let one = |number| {
            let kept = state_dir.join(file_name(number));
            UdpWorker::start(WorkerSetup { number, kept, ..setup.clone() })
        };
        let workers = (0..count).map(one).collect::<io::Result<_>>()?;
        Ok(Self { workers, state_dir, setup })
    }

    /// Goes on with the flows of the process before, those on disk and those among `players`, as soon as their ports
    /// are opened; and keeps flows on disk from now on.
    pub(crate) async fn take_up(&self, players: Players) {
        let count = self.workers.len();
        let WorkerSetup { room, idle, .. } = &self.setup;
        let (most, times) = (room.most, (*idle, Now::read().unix_ms));
        // A few small files, once, before anything is served.
        if let Err(error) = deal(&self.state_dir, (count, most), times, |flow| worker_of(flow.server, count))
        {
            warn!(dir = %self.state_dir.display(), %error, "flows of the process before may be lost");
        }
        for worker in &self.workers {
            // Each goes on with those whose ports it gets.
            worker.take_up(players.clone()).await;
        }
    }

    /// Keeps tunnels to exactly the agents of `table`'s UDP routes. Ports that lead to others must have been closed.
    pub(crate) async fn follow(&self, table: &RouteTable) {
        let mut agents = vec![BTreeMap::new(); self.workers.len()];
        for route in table.routes().values().filter(|route| route.key.protocol == Protocol::Udp) {
            let worker = worker_of(route.server, self.workers.len());
            agents[worker].insert(route.node, route.tunnel_addresses.clone());
        }
        for (worker, agents) in self.workers.iter().zip(agents) {
            worker.follow(agents).await;
        }
    }

    /// Waits until all agents that are followed are reached.
    pub(crate) async fn reached(&self) {
        for worker in &self.workers {
            worker.reached().await;
        }
    }

    /// Serves `route`, whose table has been followed, on `socket`.
    pub(crate) async fn open(&self, route: Arc<Route>, counters: Arc<Counters>, socket: std::net::UdpSocket) {
        self.of(route.server).open(route, counters, socket).await;
    }

    /// Ends `route` and its flows; when this returns, its socket is closed.
    pub(crate) async fn close(&self, route: &Route) {
        self.of(route.server).close(route.key.port).await;
    }

    /// Reads no more, and leaves flows as they are. Answers still go to clients. Returns what another edge needs to
    /// go on.
    pub(crate) async fn freeze(&self) -> Frozen {
        let mut all = Frozen::default();
        for worker in &self.workers {
            let (sockets, Players { claims, flows }) = worker.freeze().await;
            all.0.extend(sockets);
            all.1.claims.extend(claims);
            all.1.flows.extend(flows);
        }
        all
    }

    /// Goes on after [`UdpWorkers::freeze`], whatever the next edge has made of the files that flows are kept in.
    pub(crate) async fn resume(&self) {
        let mut files = Vec::new();
        for worker in &self.workers {
            files.push(worker.kept_file().await);
        }
        // Small and rare, as when they were dealt; and nobody is served before.
        let anew = put_back(&self.state_dir, files).unwrap_or_else(|error| {
            warn!(dir = %self.state_dir.display(), %error, "flows may not be kept; after a restart clients may have to \
                   prove themselves again");
            Vec::new()
        });
        let mut anew = anew.into_iter();
        for worker in &self.workers {
            worker.resume(anew.next().flatten()).await;
        }
    }

    /// Leaves the flows to another edge for good.
    pub(crate) async fn release(&self) {
        for worker in &self.workers {
            worker.release().await;
        }
    }

    /// Ends the workers; when this returns, their sockets are closed. Their flows stand at the agents, for an edge that comes
    /// back. Nothing may be opened or closed after that.
    pub(crate) async fn shutdown(&mut self) {
        for worker in self.workers.drain(..) {
            worker.shutdown().await;
        }
    }

    fn of(&self, server: ServerId) -> &UdpWorker {
        &self.workers[worker_of(server, self.workers.len())]
    }
}

/// Which of `count` workers has `server`: the same in each process, so that flows on disk find theirs.
fn worker_of(server: ServerId, count: usize) -> usize {
    // The last bytes of an id are random.
    let [.., a, b, c, d] = id_bytes(&server);
    u32::from_be_bytes([a, b, c, d]) as usize % count
}
