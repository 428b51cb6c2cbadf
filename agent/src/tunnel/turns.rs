//! The thread of players' UDP packets: waits for sockets, gives edges and flows their turns, and ends when told.
//!
//! One wait for the tunnel's socket, all flows' sockets, and what is due by the clock. Then a turn: first what edges have
//! brought goes to servers, then a batch of each flow whose server has answered goes to its edge, and at last all that
//! is to leave. A flow with more than a batch gets its next turn after all others had theirs. Nothing of a packet's way is
//! shared with other threads but counters and routes.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use muster_transport::Batch;
use tokio_util::sync::CancellationToken;

use super::edges::Edges;
use super::flows::{Flows, MAX_FLOWS};
use crate::metrics::TunnelMetrics;

/// A flow's token is its place. This is behind them all.
pub(super) const TUNNEL: Token = Token(MAX_FLOWS);
/// Sockets that one wait tells of; the others are told of by the next.
const EVENTS: usize = 1_024;
/// How often a part of the flows is looked over for idle ones, and whether this is to end.
const SWEEP_EVERY: Duration = Duration::from_millis(50);
/// How often unfinished packets are looked for, and tunnels are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon it is tried again to send what the system did not take.
const BLOCKED_LOOK: Duration = Duration::from_millis(1);

/// The thread's own.
pub(super) struct Turns {
    poll: Poll,
    edges: Edges,
    flows: Flows,
    batch: Batch,
    // Places of flows that may have packets; each is in here once.
    ready: VecDeque<usize>,
    // The tunnel's socket may have packets.
    brought: bool,
    // Receiving from it failed.
    failed: bool,
    metrics: Arc<TunnelMetrics>,
    next_sweep: Instant,
    next_look: Instant,
}

impl Turns {
    /// The first turn will be at `now`.
    pub(super) fn new(
        poll: Poll,
        edges: Edges,
        flows: Flows,
        metrics: Arc<TunnelMetrics>,
        now: Instant,
    ) -> Self {
        let (ready, batch) = (VecDeque::new(), Batch::new());
        let (next_sweep, next_look) = (now + SWEEP_EVERY, now + LOOK_EVERY);
        let (brought, failed) = (true, false);
        Self { poll, edges, flows, batch, ready, brought, failed, metrics, next_sweep, next_look }
    }

    /// Lasts until `stop`, and until edges have been told.
    ///
    /// # Errors
    /// What the system says if the sockets cannot be waited for.
    pub(super) fn run(mut self, stop: &CancellationToken) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !stop.is_cancelled() {
            let wait = self.wait(Instant::now());
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                match event.token() {
                    TUNNEL => self.brought = true,
                    Token(place) => self.has_packets(place),
                }
            }
            self.turn(now);
            self.look_at_the_clock(now);
            self.edges.quic.flush(now);
        }
        self.edges.end(Instant::now());
        Ok(())
    }

    /// How long nothing is to be done if nothing comes.
    fn wait(&self, now: Instant) -> Duration {
        if self.brought || !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let quic = &self.edges.quic;
        let next = quic.due().into_iter().chain([self.next_sweep, self.next_look]).min().unwrap_or(now);
        let wait = next.saturating_duration_since(now);
        if quic.is_blocked() { wait.min(BLOCKED_LOOK) } else { wait }
    }

    fn has_packets(&mut self, place: usize) {
        if self.flows.may_have_packets(place) {
            self.ready.push_back(place);
        }
    }

    /// One batch of each socket that has something.
    fn turn(&mut self, now: Instant) {
        let Self { edges, flows, batch, metrics, .. } = self;
        if self.brought {
            self.brought = match edges.quic.receive(now, 0, batch) {
                Ok(more) => more,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
                Err(error) => {
                    // Such as an ICMP error on some systems. The socket lives on, and is looked at again with the next sweep: an error
                    // that stays is to cost no more than that.
                    tracing::warn!(%error, "receiving from edges failed");
                    self.failed = true;
                    false
                }
            };
            edges.hear(now, metrics);
            flows.turn_in(now, edges);
        }
        for _ in 0..self.ready.len() {
            let Some(place) = self.ready.pop_front() else { break };
            if self.flows.turn_out(now, &mut self.edges, place) {
                self.has_packets(place);
            }
        }
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        if now >= self.next_sweep {
            self.next_sweep = now + SWEEP_EVERY;
            self.brought |= std::mem::take(&mut self.failed);
            // Those that the clock has ended.
            self.edges.hear(now, &self.metrics);
            self.flows.sweep(now, &mut self.edges);
        }
        if now >= self.next_look {
            self.next_look = now + LOOK_EVERY;
            self.edges.look(now, &self.metrics);
        }
    }
}
