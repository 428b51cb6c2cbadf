//! A turn of a loop's connections: what has come is taken in, and what is to leave is sent.

use std::time::{Duration, Instant};
use std::{io, mem};

use bytes::BytesMut;
use quinn_proto::{ConnectionHandle, DatagramEvent, EndpointEvent, Event, Incoming};

use super::held::on_wire;
use super::{Change, HANDSHAKES_PER_S, MOST_DIALLED_IN, MOST_HALF_OPEN, Quic};
use crate::admission::Admission;
use crate::mark::bears_mark_of;
use crate::profile::Profile;
use crate::udp::Batch;

/// Handshakes that may begin: each is a signature on the thread that carries packets.
pub(super) struct Handshakes {
    left: u32,
    until: Option<Instant>,
}

impl Handshakes {
    pub(super) fn new() -> Self {
        Self { left: 0, until: None }
    }

    /// Takes one, if there is one left in this second.
    fn takes(&mut self, now: Instant) -> bool {
        if self.until.is_none_or(|until| until <= now) {
            (self.left, self.until) = (HANDSHAKES_PER_S, Some(now + Duration::from_secs(1)));
        }
        let had = self.left > 0;
        self.left = self.left.saturating_sub(1);
        had
    }
}

impl Quic {
    /// Takes in a batch of what has come on socket number `index`; says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; otherwise what the system says.
    pub fn receive(&mut self, now: Instant, index: usize, batch: &mut Batch) -> io::Result<bool> {
        let Some(socket) = self.sockets.get(index) else { return Ok(false) };
        let more = socket.receive(batch)?;
        for glued in batch.glued() {
            // Glued is only what one socket has sent to another, so that the first speaks for all of them.
            if let Some(hand) = &self.hand
                && !bears_mark_of(Profile::TunnelDatagrams, glued.bytes)
            {
                self.strays += u64::from(!hand.over(&glued));
                continue;
            }
            let mut bytes = BytesMut::from(glued.bytes);
            let ecn = glued.ecn.and_then(|ecn| quinn_proto::EcnCodepoint::from_bits(ecn as u8));
            while !bytes.is_empty() {
                let packet = bytes.split_to(glued.stride.min(bytes.len()));
                self.packet.clear();
                let event =
                    self.endpoint.handle(now, glued.from, glued.local_ip, ecn, packet, &mut self.packet);
                match event {
                    Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                        if let Some(held) = self.held.get_mut(handle.0).and_then(Option::as_mut) {
                            held.connection.handle_event(event);
                        }
                        self.touch(handle);
                    }
                    // Such as a reset for who speaks of a connection that is gone. That it may be lost is QUIC's to mend.
                    Some(DatagramEvent::Response(transmit)) => {
                        self.strays += 1;
                        let _ = self.sockets[index].transmit(&on_wire(&transmit, &self.packet));
                    }
                    // Without a server's configuration there is none.
                    Some(DatagramEvent::NewConnection(incoming)) => self.take_in(now, index, incoming),
                    None => self.strays += 1,
                }
            }
        }
        for at in 0..self.touched.len() {
            self.hear(self.touched[at]);
        }
        Ok(more)
    }

    fn take_in(&mut self, now: Instant, index: usize, incoming: Incoming) {
        self.packet.clear();
        let packet = &mut self.packet;
        if !self.handshakes.takes(now) {
            // Who dials asks again.
            self.endpoint.ignore(incoming);
            return;
        }
        let has_shown = incoming.remote_address_validated();
        let answer = match Admission::of(self.half_open, MOST_HALF_OPEN, has_shown) {
            Admission::Take if self.endpoint.open_connections() < MOST_DIALLED_IN => {
                match self.endpoint.accept(incoming, now, packet, None) {
                    Ok((handle, connection)) => {
                        self.hold(now, handle, connection, index);
                        None
                    }
                    Err(error) => error.response,
                }
            }
            Admission::Retry => self.endpoint.retry(incoming, packet).ok(),
            Admission::Take | Admission::Refuse => Some(self.endpoint.refuse(incoming, packet)),
        };
        // One that is lost is sent again when the other end asks again.
        if let Some(transmit) = answer {
            let _ = self.sockets[index].transmit(&on_wire(&transmit, &self.packet));
        }
    }

    /// Whether the system did not take all that was to leave. Not waited for, since Linux tells of room after each packet that
    /// has left, and nearly always there was room.
    pub fn is_blocked(&self) -> bool {
        !self.touched.is_empty()
    }

    /// When there is something to do though nothing comes, if ever.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Does what is due, and sends all that is to leave.
    pub fn flush(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.due = None;
            for at in 0..self.held.len() {
                let Some(held) = &mut self.held[at] else { continue };
                if held.deadline.is_some_and(|deadline| deadline <= now) {
                    held.connection.handle_timeout(now);
                    self.touch(ConnectionHandle(at));
                } else {
                    self.due = earlier(self.due, held.deadline);
                }
            }
        }
        // Sending touches none.
        let mut touched = mem::take(&mut self.touched);
        for handle in touched.drain(..) {
            self.flush_one(now, handle);
        }
        touched.append(&mut self.touched);
        self.touched = touched;
    }

    fn flush_one(&mut self, now: Instant, handle: ConnectionHandle) {
        let Some(held) = self.held.get_mut(handle.0).and_then(Option::as_mut) else { return };
        held.touched = false;
        held.transmit(now, &self.sockets[held.socket], &mut self.packet);
        let blocked = held.unsent.is_some();
        if self.hear(handle) {
            return;
        }
        if let Some(held) = self.held.get_mut(handle.0).and_then(Option::as_mut) {
            held.deadline = held.connection.poll_timeout();
            self.due = earlier(self.due, held.deadline);
        }
        if blocked {
            // Tried again in the next turn.
            self.touch(handle);
        }
    }

    /// Hears what the connection has to say; says whether it is gone with that.
    fn hear(&mut self, handle: ConnectionHandle) -> bool {
        let Some(held) = self.held.get_mut(handle.0).and_then(Option::as_mut) else { return true };
        // First this: one that was reset, or silent for too long, is gone at once.
        while let Some(event) = held.connection.poll() {
            match event {
                Event::Connected => {
                    self.half_open -= usize::from(mem::take(&mut held.is_half_open));
                    self.changes.push(Change::Connected(held.id));
                }
                Event::ConnectionLost { reason } => {
                    held.is_over = true;
                    let counts = held.counts();
                    self.changes.push(Change::Lost(held.id, reason, counts));
                }
                Event::DatagramReceived if !held.brought => {
                    held.brought = true;
                    self.brought.push_back(held.id);
                }
                // These have no streams, and what has no room makes some.
                Event::DatagramReceived
                | Event::DatagramsUnblocked
                | Event::HandshakeDataReady
                | Event::Stream(_) => {}
            }
        }
        while let Some(event) = held.connection.poll_endpoint_events() {
            let gone = event.is_drained();
            if let Some(answer) = self.endpoint.handle_event(handle, event) {
                held.connection.handle_event(answer);
            }
            if gone {
                self.half_open -= usize::from(held.is_half_open);
                self.held[handle.0] = None;
                return true;
            }
        }
        false
    }

    /// Forgets all connections at once; what was to be told has been flushed.
    pub fn abandon(&mut self) {
        for (at, held) in self.held.iter_mut().enumerate() {
            if held.take().is_some() {
                self.endpoint.handle_event(ConnectionHandle(at), EndpointEvent::drained());
            }
        }
        self.half_open = 0;
    }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_handshakes_begin_in_a_second() {
        let (mut handshakes, now) = (Handshakes::new(), Instant::now());
        let begun = (0..10 * HANDSHAKES_PER_S).filter(|_| handshakes.takes(now)).count();
        assert_eq!(begun, HANDSHAKES_PER_S as usize);
        assert!(handshakes.takes(now + Duration::from_secs(1)));
    }
}
