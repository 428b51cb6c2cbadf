//! Every flow of this node: opened by the first packet that names its server, closed when its client
//! is silent, its server over, or its edge says so.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use muster_protocol::agent::PortProtocol;
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::{Rejoined, Rejoiner};
use muster_protocol::tunnel::{Header, OpenTarget, RefuseReason};
use quinn::Connection;

use super::flow::{Flow, tell};
use crate::metrics::{self, TunnelMetrics};
use crate::routes::{Route, Routes};

/// Flows open at once on this node; each holds one UDP socket.
const MAX_FLOWS: usize = 65_536;
/// Flows open at once to one server.
const MAX_SERVER_FLOWS: u32 = 4_096;
/// A flow whose client is silent for this long is closed, in milliseconds.
const IDLE_MS: u64 = 120_000;
/// Packets taken off one flow's socket before others have their turn.
const BATCH: usize = 64;
/// Receive buffers kept for reuse; as many are in use at once as there are worker threads.
const MAX_SPARE_BUFFERS: usize = 64;
/// Largest UDP payload there can be, in bytes.
const MAX_UDP_BYTES: usize = 65_535;

/// The flows.
pub(super) struct Flows {
    table: Mutex<HashMap<FlowId, Arc<Flow>>>,
    spare_buffers: Mutex<Vec<Box<[u8]>>>,
    routes: Arc<Routes>,
    metrics: Arc<TunnelMetrics>,
    began: Instant,
}

impl Flows {
    pub(super) fn new(routes: Arc<Routes>, metrics: Arc<TunnelMetrics>) -> Self {
        Self {
            table: Mutex::default(),
            spare_buffers: Mutex::default(),
            routes,
            metrics,
            began: Instant::now(),
        }
    }

    /// Puts one datagram from an edge where it belongs; `rejoiner` holds the parts of this edge's packets.
    pub(super) fn take_in(self: &Arc<Self>, edge: &Connection, rejoiner: &mut Rejoiner, mut datagram: Bytes) {
        match Header::decode(&mut datagram) {
            Ok(Header::Data { flow: id, open, fragment }) => {
                let Some(flow) = self.flow(edge, id, open) else { return };
                match fragment {
                    None => self.deliver(&flow, &datagram),
                    Some(part) => match rejoiner.push(Instant::now(), id, part, &datagram) {
                        Rejoined::Whole(packet) => self.deliver(&flow, &packet),
                        Rejoined::Waiting => {}
                        Rejoined::Misfit => self.metrics.dropped_malformed.increment(1),
                    },
                }
            }
            Ok(Header::Close(id)) => {
                let flow = lock(&self.table).get(&id).cloned();
                // An edge that the flow has left does not end it for the one it is on now.
                if let Some(flow) = flow.filter(|flow| flow.is_carried_by(edge)) {
                    self.close(&flow);
                }
            }
            Ok(Header::Opened(_) | Header::Unknown(_) | Header::Refused(..)) | Err(_) => {
                self.metrics.dropped_malformed.increment(1);
            }
        }
    }

    /// Closes flows whose clients are silent.
    pub(super) fn sweep(&self) {
        let now_ms = self.now_ms();
        let idle: Vec<_> = lock(&self.table)
            .values()
            .filter(|flow| now_ms.saturating_sub(flow.last_in_ms()) >= IDLE_MS)
            .cloned()
            .collect();
        for flow in idle {
            flow.tell(Header::Close(flow.id));
            self.close(&flow);
        }
        self.metrics.flows.set(lock(&self.table).len() as f64);
    }

    /// The flow `id`, which a packet from `edge` is of, opened if need be. `None`: the edge has been told why not.
    fn flow(self: &Arc<Self>, edge: &Connection, id: FlowId, open: Option<OpenTarget>) -> Option<Arc<Flow>> {
        let now_ms = self.now_ms();
        let known = lock(&self.table).get(&id).cloned();
        let flow = match (known, open) {
            (Some(flow), None) => flow,
            (Some(flow), Some(target)) if flow.target == target => {
                tell(edge, Header::Opened(id));
                flow
            }
            (None, None) => {
                self.metrics.dropped_unknown.increment(1);
                tell(edge, Header::Unknown(id));
                return None;
            }
            (stale, Some(target)) => {
                if let Some(stale) = stale {
                    self.close(&stale);
                }
                match self.open(edge, id, target, now_ms) {
                    Ok(flow) => {
                        tell(edge, Header::Opened(id));
                        flow
                    }
                    Err(reason) => {
                        metrics::tunnel_refused(reason.as_str());
                        tell(edge, Header::Refused(id, reason));
                        return None;
                    }
                }
            }
        };
        flow.seen(edge, now_ms);
        Some(flow)
    }

    fn deliver(&self, flow: &Flow, payload: &[u8]) {
        if flow.to_server(payload) {
            self.metrics.packets_in.increment(1);
            self.metrics.bytes_in.increment(payload.len() as u64);
        } else {
            self.metrics.dropped_socket.increment(1);
        }
    }

    fn open(
        self: &Arc<Self>,
        edge: &Connection,
        id: FlowId,
        target: OpenTarget,
        now_ms: u64,
    ) -> Result<Arc<Flow>, RefuseReason> {
        let route = self.routes.get(&target.server).ok_or(RefuseReason::UnknownServer)?;
        let port = route
            .ports
            .get(usize::from(target.port_index))
            .filter(|port| port.protocol == PortProtocol::Udp)
            .ok_or(RefuseReason::UnknownPort)?;
        if lock(&self.table).len() >= MAX_FLOWS {
            return Err(RefuseReason::TooManyFlows);
        }
        let slot = route.take(|route| &route.flows, MAX_SERVER_FLOWS).ok_or(RefuseReason::TooManyFlows)?;
        let flow = Flow::open(id, target, port.address, edge.clone(), slot, now_ms).map_err(|error| {
            tracing::warn!(server = %target.server, address = %port.address, %error, "no socket for a flow");
            RefuseReason::Unreachable
        })?;
        let flow = Arc::new(flow);
        let mut table = lock(&self.table);
        // Two connections can open one flow at once; the first stays, so that the server sees one.
        if let Some(first) = table.get(&id).filter(|first| first.target == target) {
            return Ok(Arc::clone(first));
        }
        if let Some(stale) = table.insert(id, Arc::clone(&flow)) {
            stale.over.cancel();
        }
        drop(table);
        tokio::spawn(Arc::clone(self).run(Arc::clone(&flow), route));
        Ok(flow)
    }

    fn close(&self, flow: &Flow) {
        let mut table = lock(&self.table);
        // Another may have taken its place.
        if table.get(&flow.id).is_some_and(|current| std::ptr::eq(Arc::as_ptr(current), flow)) {
            table.remove(&flow.id);
        }
        flow.over.cancel();
    }

    /// A flow's life: what its server answers goes to the edge.
    async fn run(self: Arc<Self>, flow: Arc<Flow>, route: Arc<Route>) {
        tokio::select! {
            () = flow.over.cancelled() => {}
            () = route.closed.cancelled() => {
                flow.tell(Header::Close(flow.id));
                self.close(&flow);
            }
            error = self.answers(&flow) => {
                tracing::warn!(server = %flow.target.server, %error, "a flow's socket failed");
                flow.tell(Header::Close(flow.id));
                self.close(&flow);
            }
        }
    }

    async fn answers(&self, flow: &Flow) -> io::Error {
        loop {
            if let Err(error) = flow.socket.readable().await {
                return error;
            }
            let mut buffer = self.take_buffer();
            let result = self.drain(flow, &mut buffer);
            self.give_back(buffer);
            match result {
                Ok(true) => tokio::task::yield_now().await,
                Ok(false) => {}
                Err(error) => return error,
            }
        }
    }

    fn take_buffer(&self) -> Box<[u8]> {
        lock(&self.spare_buffers).pop().unwrap_or_else(|| vec![0; MAX_UDP_BYTES].into_boxed_slice())
    }

    fn give_back(&self, buffer: Box<[u8]>) {
        let mut spare = lock(&self.spare_buffers);
        if spare.len() < MAX_SPARE_BUFFERS {
            spare.push(buffer);
        }
    }

    /// Takes what is there; answers whether there may be more.
    fn drain(&self, flow: &Flow, buffer: &mut [u8]) -> io::Result<bool> {
        for _ in 0..BATCH {
            match flow.socket.try_recv(buffer) {
                Ok(length) => {
                    if flow.to_edge(&buffer[..length]) {
                        self.metrics.packets_out.increment(1);
                        self.metrics.bytes_out.increment(length as u64);
                    } else {
                        self.metrics.dropped_tunnel.increment(1);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                // ICMP: nothing listened on the port when an earlier packet came. It may soon.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                // Windows says this of a datagram that found nobody.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing done under these locks leaves them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
