//! One connection of a loop's: what it has to send, and what it counts.

use std::time::Instant;
use std::{io, mem};

use bytes::Bytes;
use quinn_proto::{Connection, SendDatagramError, Transmit};

use super::{ConnectionId, Socket};

/// Bytes that one system call sends at most, however many QUIC packets they are: what an IPv4 packet may hold.
const MOST_BYTES: usize = 65_507;
/// What a connection counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// QUIC packets sent.
    pub sent: u64,
    /// Of these, lost on the way.
    pub lost: u64,
    /// Datagrams that made room for newer ones before they were sent, or that the connection ended before.
    pub dropped: u64,
    /// Datagrams received that made room for newer ones before they were taken.
    pub unread: u64,
}

impl Counts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            sent: self.sent.saturating_sub(earlier.sent),
            lost: self.lost.saturating_sub(earlier.lost),
            dropped: self.dropped.saturating_sub(earlier.dropped),
            unread: self.unread.saturating_sub(earlier.unread),
        }
    }

    /// What both have counted.
    pub fn and(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            lost: self.lost + other.lost,
            dropped: self.dropped + other.dropped,
            unread: self.unread + other.unread,
        }
    }
}

pub(super) struct Held {
    pub(super) id: ConnectionId,
    pub(super) connection: Connection,
    /// Which socket it sends from.
    pub(super) socket: usize,
    /// Since when it is there.
    pub(super) since: Instant,
    /// Somebody else dialled, and the handshake is under way.
    pub(super) is_half_open: bool,
    pub(super) touched: bool,
    pub(super) brought: bool,
    pub(super) deadline: Option<Instant>,
    /// What the system did not take yet.
    pub(super) unsent: Option<(Transmit, Vec<u8>)>,
    /// Datagrams given to it.
    pub(super) given: u64,
    /// Datagrams taken from it.
    pub(super) taken: u64,
    /// It is over: what waits to be sent never will be.
    pub(super) is_over: bool,
    // Room in its buffer when nothing waits there.
    idle_space: usize,
    // Datagrams dropped before they were sent, and before they were taken, as far as that is known.
    dropped: u64,
    unread: u64,
}

impl Held {
    pub(super) fn new(id: ConnectionId, mut connection: Connection, socket: usize, since: Instant) -> Self {
        let is_half_open = connection.side().is_server();
        let idle_space = connection.datagrams().send_buffer_space();
        Self {
            id,
            connection,
            socket,
            since,
            is_half_open,
            touched: false,
            brought: false,
            deadline: None,
            unsent: None,
            given: 0,
            taken: 0,
            is_over: false,
            idle_space,
            dropped: 0,
            unread: 0,
        }
    }

    /// Takes a datagram to be sent, and sends what waits already if that is much.
    pub(super) fn send(
        &mut self,
        now: Instant,
        socket: &Socket,
        datagram: Bytes,
        packet: &mut Vec<u8>,
    ) -> Result<(), SendDatagramError> {
        // A turn may bring more than the buffer holds, and what makes room for newer is lost.
        if self.connection.datagrams().send_buffer_space() < self.idle_space / 2 && self.unsent.is_none() {
            self.transmit(now, socket, packet);
        }
        let is_more_than_room = datagram.len() > self.connection.datagrams().send_buffer_space();
        self.connection.datagrams().send(datagram, true)?;
        self.given += 1;
        // At least one made room for it. How many did is known as soon as nothing waits.
        self.dropped += u64::from(is_more_than_room);
        Ok(())
    }

    /// Sends until there is no more, or the system takes no more.
    pub(super) fn transmit(&mut self, now: Instant, socket: &Socket, packet: &mut Vec<u8>) {
        if let Some((transmit, bytes)) = self.unsent.take()
            && is_full(socket.transmit(&on_wire(&transmit, &bytes)))
        {
            self.unsent = Some((transmit, bytes));
            return;
        }
        loop {
            let segments =
                socket.most_segments().min(MOST_BYTES / usize::from(self.connection.current_mtu()));
            packet.clear();
            let Some(transmit) = self.connection.poll_transmit(now, segments, packet) else { return };
            if is_full(socket.transmit(&on_wire(&transmit, packet))) {
                self.unsent = Some((transmit, mem::take(packet)));
                return;
            }
        }
    }

    pub(super) fn counts(&mut self) -> Counts {
        let stats = self.connection.stats();
        // The connection does not say what it drops. What it was given and neither sent nor has still, it dropped; and what it
        // received, if nothing is there to be taken and it was not.
        if self.is_over || self.is_idle() {
            self.dropped = self.given.saturating_sub(stats.frame_tx.datagram);
        }
        if !self.brought {
            self.unread = stats.frame_rx.datagram.saturating_sub(self.taken);
        }
        let (sent, lost) = (stats.path.sent_packets, stats.path.lost_packets);
        Counts { sent, lost, dropped: self.dropped, unread: self.unread }
    }

    pub(super) fn has_sent(&mut self, count: u64) -> bool {
        self.is_idle() || self.connection.stats().frame_tx.datagram + self.dropped >= count
    }

    /// Whether nothing waits to be sent.
    fn is_idle(&mut self) -> bool {
        self.connection.datagrams().send_buffer_space() >= self.idle_space
    }
}

/// Whether the system takes no more now. Whatever else it says is as if the packet had been lost on the way: QUIC
/// notices, and gives the connection up if it stays so.
fn is_full(sent: io::Result<()>) -> bool {
    sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

pub(super) fn on_wire<'a>(transmit: &Transmit, bytes: &'a [u8]) -> quinn_udp::Transmit<'a> {
    quinn_udp::Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
        contents: &bytes[..transmit.size],
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}
