//! The way of a UDP packet, top to bottom.
//!
//! In: receive a batch, decide on each packet, append it to the agent's tunnel; what was appended leaves
//! when the turn ends. Back: take what the tunnels have brought, decide on each, send it to its client.
//! Every callee returns a value; nothing here waits or calls back. What is done beside packets, by the clock, is
//! `upkeep`'s.

mod upkeep;

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use muster_protocol::preface::{Answer, encode_answer};
use muster_transport::{Batch, Packet, UdpSocket};

use super::by_port::ByPort;
use super::forward::{Arrival, Forwarder, Reply, Verdict};
use super::kept_file::KeptFile;
use super::outgoing::{Outgoing, ToClient};
use crate::clock::Now;
use crate::drops::DropReason;
use crate::latency::{Latest, Pace};
use crate::metrics::Metrics;
use crate::tally::{Counts, Tally};
use crate::traffic::Counters;
use crate::tunnel::{DatagramTunnels, TunnelId};

/// An open UDP port.
pub(crate) struct Port {
    /// Its socket.
    pub(crate) socket: UdpSocket<mio::net::UdpSocket>,
    /// The tunnel to its server's agent.
    pub(crate) tunnel: TunnelId,
    /// Its server's counters.
    pub(crate) counters: Arc<Counters>,
    /// What leaves to its clients at the end of the turn.
    pub(crate) waiting: Vec<ToClient>,
    /// Packets have come since it was last looked whether some found no room.
    pub(crate) has_heard: bool,
}

impl Port {
    /// A port over `socket`, for packets to a server by `tunnel`.
    pub(crate) fn new(
        socket: UdpSocket<mio::net::UdpSocket>,
        tunnel: TunnelId,
        counters: Arc<Counters>,
    ) -> Self {
        Self { socket, tunnel, counters, waiting: Vec::new(), has_heard: false }
    }
}

/// A turn inwards whose packets have not left yet, and is measured.
#[derive(Clone, Copy)]
struct Measured {
    began: Instant,
    appended: Instant,
    tunnel: TunnelId,
    // On which of its connections, and which of that one's datagrams its last was.
    connection: u32,
    count: u64,
}

/// One worker's packets.
pub(crate) struct HotLoop {
    /// What decides.
    pub(crate) forwarder: Forwarder,
    /// The ports replies leave from, by number.
    pub(crate) ports: ByPort<Port>,
    /// The tunnels to agents.
    pub(crate) tunnels: DatagramTunnels,
    kept: KeptFile,
    // Another edge takes over, or has: flows and their file are left as they are.
    frozen: bool,
    batch: Batch,
    outgoing: Outgoing,
    pace_in: Pace,
    pace_out: Pace,
    measured: Option<Measured>,
    // Of these the gauge knows.
    flows_told: f64,
    // What was added to packets, either way.
    added: Latest,
    // What this turn has counted, and what those before it have.
    turn: Tally,
    counts: Arc<Counts>,
    metrics: Metrics,
}

impl HotLoop {
    /// A loop without ports.
    pub(crate) fn new(
        forwarder: Forwarder,
        tunnels: DatagramTunnels,
        metrics: Metrics,
        now: Instant,
    ) -> Self {
        Self {
            forwarder,
            ports: ByPort::new(),
            tunnels,
            kept: KeptFile::none(),
            frozen: false,
            batch: Batch::new(),
            outgoing: Outgoing::new(),
            pace_in: Pace::new(now),
            pace_out: Pace::new(now),
            measured: None,
            flows_told: 0.0,
            added: Latest::new(),
            turn: Tally::default(),
            counts: metrics.counts().of_new_worker(),
            metrics,
        }
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

    /// The file that flows are kept in once more, if there is one.
    pub(crate) fn kept_file(&self) -> Option<File> {
        self.kept.another()
    }

    /// Goes on after [`HotLoop::freeze`], with flows kept in `file` if that is another now.
    pub(crate) fn thaw(&mut self, file: Option<File>) {
        if let Some(file) = file {
            self.kept.go_on_in(file);
        }
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

    /// One turn inwards: a batch of port `number`'s packets to its agent. Says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if there was none; otherwise what the system says of the socket.
    pub(crate) fn turn_in(&mut self, now: Now, number: u16) -> io::Result<bool> {
        let Self { forwarder, ports, tunnels, kept, batch, turn, .. } = self;
        let Some(port) = ports.get_mut(number) else { return Ok(false) };
        let Some((tunnel, quic)) = tunnels.get(port.tunnel) else { return Ok(false) };
        let more = port.socket.receive(batch)?;
        port.has_heard = true;
        let (connection, mut tally) = (tunnel.connection_number(), Tally::default());
        for packet in batch.packets() {
            let Packet { client, local_ip, payload } = packet;
            let arrival = Arrival { port: number, connection, client, local_ip, packet: payload };
            match forwarder.client_packet(now, &arrival) {
                Verdict::Forward(header) => {
                    match tunnel
                        .append(quic, now.instant, header, payload, || forwarder.next_split(header.flow()))
                    {
                        Ok(()) => tally.to_servers.note(payload.len()),
                        Err(reason) => tally.drop(reason),
                    }
                }
                Verdict::Accept => {
                    // First what is promised is written. The signature's check took many times as long.
                    kept.write(&forwarder.take_writes());
                    answer(port, &packet, Answer::Accepted, &mut tally);
                }
                Verdict::Refuse(refusal, reason) => {
                    tally.drop(reason);
                    answer(port, &packet, Answer::Refused(refusal), &mut tally);
                }
                Verdict::Drop(reason) => tally.drop(reason),
            }
        }
        // What a claim began, before its packets leave.
        kept.write(&forwarder.take_writes());
        port.counters.publish(&tally);
        turn.add(&tally);
        if tally.to_servers.packets > 0 && self.measured.is_none() && self.pace_in.is_due(now.instant) {
            let (began, appended) = (now.instant, Instant::now());
            let (tunnel, count) = (port.tunnel, tunnel.appended(quic));
            self.measured = Some(Measured { began, appended, tunnel, connection, count });
        }
        for evicted in forwarder.take_evicted() {
            turn.drop(DropReason::FlowEvicted);
            if let Some(port) = ports.get(evicted) {
                port.counters.publish_drops(DropReason::FlowEvicted, 1);
            }
        }
        Ok(more)
    }

    /// One turn outwards: a batch of what tunnel socket `index` has, to its clients. Says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if there was none; otherwise what the system says of the socket.
    pub(crate) fn turn_out(&mut self, now: Instant, index: usize) -> io::Result<bool> {
        let Self { forwarder, ports, tunnels, batch, outgoing, turn, .. } = self;
        let more = tunnels.quic.receive(now, index, batch)?;
        let mut last = None;
        while let Some((tunnel, datagram)) = tunnels.take() {
            let (node, number) = (tunnel.node(), tunnel.connection_number());
            match forwarder.agent_datagram(now, node, number, &mut tunnel.rejoiner, datagram) {
                Reply::Deliver { port: number, client, local_ip, payload } => match ports.get_mut(number) {
                    None => turn.drop(DropReason::UnknownFlow),
                    Some(port) => {
                        last = Some(port.tunnel);
                        outgoing.add(number, port, ToClient { client, local_ip, payload }, turn);
                    }
                },
                Reply::Nothing => {}
                Reply::Drop(reason, number) => {
                    turn.drop(reason);
                    if let Some(port) = number.and_then(|number| ports.get(number)) {
                        port.counters.publish_drops(reason, 1);
                    }
                }
            }
        }
        outgoing.send(ports, turn);
        if let Some(tunnel) = last
            && self.pace_out.is_due(now)
        {
            let added = now.elapsed();
            self.added.push(added);
            self.metrics.added_to_client(added);
            if let Some((tunnel, _)) = self.tunnels.get(tunnel) {
                tunnel.note_added(added);
            }
        }
        Ok(more)
    }

    /// The end of a turn: all that was appended in it leaves, who waits for connections is told of them, and what was
    /// counted is there for all to read.
    pub(crate) fn flush(&mut self, now: Instant) {
        self.tunnels.quic.flush(now);
        self.tunnels.tell(now);
        self.counts.publish(&self.turn);
        self.turn.clear();
        let Some(measured) = self.measured else { return };
        let standing = self.tunnels.get(measured.tunnel);
        let Some((tunnel, quic)) =
            standing.filter(|(tunnel, _)| tunnel.connection_number() == measured.connection)
        else {
            // It will never be known when it left.
            self.measured = None;
            return;
        };
        if tunnel.has_sent(quic, measured.count) {
            let left = Instant::now();
            let (added, queued) = (left - measured.began, left - measured.appended);
            tunnel.note_queued(queued);
            tunnel.note_added(added);
            self.measured = None;
            self.added.push(added);
            self.metrics.added_to_server(added);
            self.metrics.tunnel_queue.record(queued);
        }
    }

    /// What the edge adds to a packet, either way: the percentiles 50 and 99 of those measured last, microseconds. To be
    /// called once a second.
    pub(crate) fn added(&mut self) -> [u32; 2] {
        self.added.look()
    }
}

/// Answers a preface or a claim with no more bytes than it had.
fn answer(port: &Port, preface: &Packet<'_>, answer: Answer, tally: &mut Tally) {
    let bytes = encode_answer(answer);
    // A lost answer is asked for again.
    if bytes.len() > preface.payload.len()
        || port.socket.send(preface.client, preface.local_ip, &bytes).is_err()
    {
        tally.drop(DropReason::AnswerUnsent);
    }
}
