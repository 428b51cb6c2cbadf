//! The way of a UDP packet, top to bottom.
//!
//! In: receive a batch, decide on each packet, append it to the agent's tunnel; what was appended leaves
//! when the turn ends. Back: take what the tunnel has brought, decide on each, send it to its client.
//! Every callee returns a value; nothing here waits, locks, or calls back.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, iter};

use bytes::Bytes;
use futures_util::FutureExt;
use muster_protocol::fragment::Rejoiner;
use muster_protocol::preface::{Answer, encode_answer};

use super::forward::{Arrival, Forwarder, Reply, Verdict};
use super::kept_file::KeptFile;
use super::port::{Batch, Packet, UdpSocket};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::latency::{Latest, Pace};
use crate::metrics::Metrics;
use crate::traffic::Counters;
use crate::tunnel::DatagramTunnel;

/// Datagrams taken off one tunnel per turn, so that no agent can keep the others waiting.
const DATAGRAMS_PER_TURN: usize = 64;

/// An open UDP port.
pub(crate) struct Port {
    /// Its number.
    pub(crate) number: u16,
    /// Its socket.
    pub(crate) socket: UdpSocket,
    /// The tunnel to its server's agent.
    pub(crate) tunnel: Rc<DatagramTunnel>,
    /// Its server's counters.
    pub(crate) counters: Arc<Counters>,
}

/// A turn inwards that went well.
pub(crate) struct TurnIn {
    /// Whether there may be more packets.
    pub(crate) more: bool,
    /// When it began, if it is to be measured: [`HotLoop::note_sent`] is told when its packets have left.
    pub(crate) measured: Option<Instant>,
}

impl Port {
    fn deliver(&self, client: SocketAddr, local_ip: Option<IpAddr>, payload: &[u8]) -> io::Result<()> {
        self.socket.send(client, local_ip, payload)?;
        self.counters.to_client(payload.len());
        Ok(())
    }
}

/// One worker's packets.
pub(crate) struct HotLoop {
    /// What decides.
    pub(crate) forwarder: Forwarder,
    /// The ports replies leave from.
    pub(crate) ports: HashMap<u16, Rc<Port>>,
    kept: KeptFile,
    // Another edge takes over, or has: flows and their file are left as they are.
    frozen: bool,
    batch: Batch,
    pace_in: Pace,
    pace_out: Pace,
    // What was added to packets, either way.
    added: Latest,
    metrics: Metrics,
}

impl HotLoop {
    /// A loop without ports.
    pub(crate) fn new(forwarder: Forwarder, metrics: Metrics, now: Instant) -> Self {
        let (ports, kept, batch) = (HashMap::new(), KeptFile::none(), Batch::new());
        let [pace_in, pace_out] = [Pace::new(now), Pace::new(now)];
        let added = Latest::new();
        Self { forwarder, ports, kept, frozen: false, batch, pace_in, pace_out, added, metrics }
    }

    /// Keeps proven flows in `file` from now on.
    pub(crate) fn keep_in(&mut self, file: KeptFile) {
        self.kept = file;
    }

    /// Leaves flows and their file as they are from now on, with all that is to be in the file.
    pub(crate) fn freeze(&mut self, now: Now) {
        self.kept.write(&self.forwarder.take_writes());
        self.kept.note_alive_now(now.unix_ms);
        self.frozen = true;
    }

    /// Goes on after [`HotLoop::freeze`].
    pub(crate) fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Whether flows are left as they are.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen
    }

    /// Leaves flows and file to another edge for good.
    pub(crate) fn release(&mut self) {
        self.forwarder.release();
        self.kept = KeptFile::none();
    }

    /// One turn inwards: a batch of `port`'s packets to its agent.
    ///
    /// # Errors
    /// `WouldBlock` if there was none; otherwise what the system says of the socket.
    pub(crate) fn turn_in(&mut self, port: &Port) -> io::Result<TurnIn> {
        let more = port.socket.receive(&mut self.batch)?;
        let now = Now::read();
        let connection = port.tunnel.connection_number();
        let mut appended = false;
        for packet in self.batch.packets() {
            let arrival = Arrival {
                port: port.number,
                connection,
                client: packet.client,
                local_ip: packet.local_ip,
                packet: packet.payload,
            };
            match self.forwarder.client_packet(now, &arrival) {
                Verdict::Forward(header) => {
                    let number_split = || self.forwarder.next_split(header.flow());
                    match port.tunnel.append(header, packet.payload, number_split) {
                        Ok(()) => {
                            appended = true;
                            port.counters.to_server(packet.payload.len());
                            self.metrics.to_server(packet.payload.len());
                        }
                        Err(reason) => self.drop(port, reason),
                    }
                }
                Verdict::Accept => {
                    // First what is promised is written. The signature's check took many times as long.
                    self.kept.write(&self.forwarder.take_writes());
                    answer(port, &packet, Answer::Accepted);
                }
                Verdict::Refuse(refusal, reason) => {
                    self.drop(port, reason);
                    answer(port, &packet, Answer::Refused(refusal));
                }
                Verdict::Drop(reason) => self.drop(port, reason),
            }
        }
        // What a claim began, before its packets leave.
        self.kept.write(&self.forwarder.take_writes());
        let measured = (appended && self.pace_in.is_due(now.instant)).then_some(now.instant);
        Ok(TurnIn { more, measured })
    }

    /// What a measured turn appended has left the tunnel after `added` since it came, and `queued` since it was
    /// appended.
    pub(crate) fn note_sent(&mut self, added: Duration, queued: Duration) {
        self.added.push(added);
        self.metrics.added_to_server(added);
        self.metrics.tunnel_queue.record(queued);
    }

    /// What the edge adds to a packet, either way: the percentiles 50 and 99 of those measured last, microseconds.
    pub(crate) fn added(&self) -> [u32; 2] {
        [50, 99].map(|percent| self.added.percentile(percent))
    }

    fn drop(&self, port: &Port, reason: DropReason) {
        self.metrics.drop(reason);
        port.counters.dropped();
    }

    /// One turn outwards: `first` and what else `connection` has brought, to its clients.
    pub(crate) fn turn_out(
        &mut self,
        tunnel: &DatagramTunnel,
        connection: &quinn::Connection,
        rejoiner: &mut Rejoiner,
        first: Bytes,
    ) {
        let now = Instant::now();
        let number = tunnel.connection_number();
        let others = iter::from_fn(|| connection.read_datagram().now_or_never()?.ok());
        for datagram in iter::once(first).chain(others).take(DATAGRAMS_PER_TURN) {
            match self.forwarder.agent_datagram(now, tunnel.node(), number, rejoiner, datagram) {
                Reply::Deliver { port, client, local_ip, payload } => match self.ports.get(&port) {
                    None => self.metrics.drop(DropReason::UnknownFlow),
                    Some(port) => match port.deliver(client, local_ip, &payload) {
                        Ok(()) => self.metrics.to_client(payload.len()),
                        Err(_) => self.drop(port, DropReason::ClientSend),
                    },
                },
                Reply::Nothing => {}
                Reply::Drop(reason) => self.metrics.drop(reason),
            }
        }
        self.metrics.drop_many(DropReason::PartsMissing, rejoiner.take_given_up());
        if self.pace_out.is_due(now) {
            let added = now.elapsed();
            self.added.push(added);
            self.metrics.added_to_client(added);
        }
    }

    /// What is done every 50 ms: idle flows go, what is kept is brought up to date, and gauges are set.
    pub(crate) fn sweep(&mut self, now: Now) {
        self.forwarder.sweep(now.instant);
        self.kept.write(&self.forwarder.take_writes());
        self.kept.note_alive(now.unix_ms);
        self.metrics.flows.set(self.forwarder.flows() as f64);
        self.metrics.rebinds.increment(self.forwarder.take_rebinds());
        self.metrics.restored.increment(self.forwarder.take_restored());
    }
}

/// Answers a preface or a claim with no more bytes than it had.
fn answer(port: &Port, preface: &Packet<'_>, answer: Answer) {
    let bytes = encode_answer(answer);
    if bytes.len() <= preface.payload.len() {
        // A lost answer is asked for again.
        let _ = port.socket.send(preface.client, preface.local_ip, &bytes);
    }
}
