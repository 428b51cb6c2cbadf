//! QUIC under the worker's own loop: quinn's state machines (quinn-proto) over sockets of ours.
//!
//! quinn's own driver gives every connection a task, a lock and a timer, and every datagram a wake-up. Here one thread
//! does all of it in turns: [`Quic::receive`] what has come, take and give datagrams, [`Quic::flush`] what is to leave. So
//! whatever was given in a turn shares packets and system calls. It knows connections, and neither agents nor flows.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use std::{io, mem};

use bytes::{Bytes, BytesMut};
use mio::{Interest, Registry, Token};
use muster_transport::{take_jumbo, udp_socket};
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionError, ConnectionHandle, ConnectionStats,
    DatagramEvent, Endpoint, EndpointConfig, EndpointEvent, Event, SendDatagramError, Transmit, VarInt,
};

use crate::udp::{Batch, UdpSocket};

/// Bytes that one system call sends at most, however many QUIC packets they are: what an IPv4 packet may hold.
const MOST_BYTES: usize = 65_507;

/// Room in a connection's buffer below which what waits there is sent before the turn is over: a turn may bring more than
/// the buffer holds, and what makes room for newer is lost.
const SPARE_BYTES: usize = 256 * 1024;

/// One connection. Its number is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionId {
    handle: ConnectionHandle,
    number: u64,
}

/// What became of a connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// It stands.
    Connected(ConnectionId),
    /// It does not, or no longer.
    Lost(ConnectionId, ConnectionError),
}

/// Connections that this process has dialled, and their sockets.
pub(crate) struct Quic {
    endpoint: Endpoint,
    // One for each address family of this machine.
    sockets: Vec<UdpSocket<mio::net::UdpSocket>>,
    // By handle.
    held: Vec<Option<Held>>,
    next_number: u64,
    // Those with something to send or to tell; each is in here once.
    touched: Vec<ConnectionHandle>,
    // Those that datagrams have come on.
    brought: VecDeque<ConnectionId>,
    changes: Vec<Change>,
    // Nothing is due before.
    due: Option<Instant>,
    packet: Vec<u8>,
}

struct Held {
    id: ConnectionId,
    connection: Connection,
    // Which socket it sends from.
    socket: usize,
    touched: bool,
    brought: bool,
    deadline: Option<Instant>,
    // What the system did not take yet.
    unsent: Option<(Transmit, Vec<u8>)>,
}

impl Quic {
    /// No connections yet. Its sockets are `registry`'s under `first` and the token after it.
    ///
    /// # Errors
    /// What the system says if there is no socket of any family.
    pub(crate) fn new(registry: &Registry, first: Token) -> io::Result<Self> {
        let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let (mut sockets, mut error) = (Vec::new(), None);
        for any in families {
            match open(any) {
                Ok(socket) => sockets.push(socket),
                Err(failed) => error = Some(failed),
            }
        }
        if let (true, Some(error)) = (sockets.is_empty(), error) {
            return Err(error);
        }
        for (index, socket) in sockets.iter_mut().enumerate() {
            let token = Token(first.0 + index);
            registry.register(&mut socket.io, token, Interest::READABLE)?;
        }
        let may_discover_mtu = sockets.iter().all(|socket| !socket.may_fragment());
        let mut config = EndpointConfig::default();
        take_jumbo(&mut config);
        let endpoint = Endpoint::new(Arc::new(config), None, may_discover_mtu, None);
        Ok(Self {
            endpoint,
            sockets,
            held: Vec::new(),
            next_number: 0,
            touched: Vec::new(),
            brought: VecDeque::new(),
            changes: Vec::new(),
            due: None,
            packet: Vec::new(),
        })
    }

    /// Sockets there are.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Begins to connect to `address`, which has to show the certificate of `name`.
    ///
    /// # Errors
    /// It cannot be dialled at all, for one because this machine has no address of its family.
    pub(crate) fn connect(
        &mut self,
        now: Instant,
        config: ClientConfig,
        address: SocketAddr,
        name: &str,
    ) -> Result<ConnectionId, ConnectError> {
        let of_family = |socket: &UdpSocket<_>| {
            socket.local_addr().is_ok_and(|local| local.is_ipv4() == address.is_ipv4())
        };
        let socket =
            self.sockets.iter().position(of_family).ok_or(ConnectError::InvalidRemoteAddress(address))?;
        let (handle, connection) = self.endpoint.connect(now, config, address, name)?;
        self.next_number += 1;
        let id = ConnectionId { handle, number: self.next_number };
        if self.held.len() <= handle.0 {
            self.held.resize_with(handle.0 + 1, || None);
        }
        let (touched, brought, deadline, unsent) = (false, false, None, None);
        self.held[handle.0] = Some(Held { id, connection, socket, touched, brought, deadline, unsent });
        self.touch(handle);
        Ok(id)
    }

    /// The connection `id`, to look at; `None` if it is gone.
    pub(crate) fn stats(&self, id: ConnectionId) -> Option<ConnectionStats> {
        self.get(id).map(|held| held.connection.stats())
    }

    /// Largest datagram that `id` carries, in bytes.
    pub(crate) fn most_bytes(&mut self, id: ConnectionId) -> Option<usize> {
        self.get_mut(id)?.connection.datagrams().max_size()
    }

    /// Room for datagrams to be sent on `id`, in bytes; `None` if it is gone.
    pub(crate) fn send_space(&mut self, id: ConnectionId) -> Option<usize> {
        Some(self.get_mut(id)?.connection.datagrams().send_buffer_space())
    }

    /// Gives `datagram` to `id`; it leaves with the next [`Quic::flush`], or at once if much waits already. If there is no
    /// room even so, because the path takes no more, the oldest make some.
    ///
    /// # Errors
    /// `None`: the connection is gone.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        id: ConnectionId,
        datagram: Bytes,
    ) -> Result<(), Option<SendDatagramError>> {
        let held = self.held.get_mut(id.handle.0).and_then(Option::as_mut);
        let held = held.filter(|held| held.id == id).ok_or(None)?;
        if held.connection.datagrams().send_buffer_space() < SPARE_BYTES && held.unsent.is_none() {
            held.transmit(now, &self.sockets[held.socket], &mut self.packet);
        }
        held.connection.datagrams().send(datagram, true)?;
        self.touch(id.handle);
        Ok(())
    }

    /// The next datagram that has come, and what it has come on.
    pub(crate) fn take(&mut self) -> Option<(ConnectionId, Bytes)> {
        while let Some(id) = self.brought.front().copied() {
            if let Some(held) = self.get_mut(id) {
                if let Some(datagram) = held.connection.datagrams().recv() {
                    return Some((id, datagram));
                }
                held.brought = false;
            }
            self.brought.pop_front();
        }
        None
    }

    /// What became of connections since it was last asked.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// Ends `id`; its peer is told with the next [`Quic::flush`].
    pub(crate) fn close(&mut self, now: Instant, id: ConnectionId, reason: &'static str) {
        if let Some(held) = self.get_mut(id) {
            held.connection.close(now, VarInt::from_u32(0), Bytes::from_static(reason.as_bytes()));
            self.touch(id.handle);
        }
    }

    /// Takes in a batch of what has come on socket number `index`; says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; otherwise what the system says.
    pub(crate) fn receive(&mut self, now: Instant, index: usize, batch: &mut Batch) -> io::Result<bool> {
        let Some(socket) = self.sockets.get(index) else { return Ok(false) };
        let more = socket.receive(batch)?;
        for glued in batch.glued() {
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
                        let _ = self.sockets[index].transmit(&on_wire(&transmit, &self.packet));
                    }
                    // Without a server's configuration nobody can dial in.
                    Some(DatagramEvent::NewConnection(incoming)) => self.endpoint.ignore(incoming),
                    None => {}
                }
            }
        }
        for at in 0..self.touched.len() {
            self.hear(self.touched[at]);
        }
        Ok(more)
    }

    /// Whether the system did not take all that was to leave. Not waited for, since Linux tells of room after each packet that
    /// has left, and nearly always there was room.
    pub(crate) fn is_blocked(&self) -> bool {
        !self.touched.is_empty()
    }

    /// When there is something to do though nothing comes, if ever.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Does what is due, and sends all that is to leave.
    pub(crate) fn flush(&mut self, now: Instant) {
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
                Event::Connected => self.changes.push(Change::Connected(held.id)),
                Event::ConnectionLost { reason } => self.changes.push(Change::Lost(held.id, reason)),
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
                self.held[handle.0] = None;
                return true;
            }
        }
        false
    }

    /// Forgets all connections at once; what was to be told has been flushed.
    pub(crate) fn abandon(&mut self) {
        for (at, held) in self.held.iter_mut().enumerate() {
            if held.take().is_some() {
                self.endpoint.handle_event(ConnectionHandle(at), EndpointEvent::drained());
            }
        }
    }

    fn touch(&mut self, handle: ConnectionHandle) {
        if let Some(held) = self.held.get_mut(handle.0).and_then(Option::as_mut)
            && !mem::replace(&mut held.touched, true)
        {
            self.touched.push(handle);
        }
    }

    fn get(&self, id: ConnectionId) -> Option<&Held> {
        self.held.get(id.handle.0)?.as_ref().filter(|held| held.id == id)
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Held> {
        self.held.get_mut(id.handle.0)?.as_mut().filter(|held| held.id == id)
    }
}

impl Held {
    /// Sends until there is no more, or the system takes no more.
    fn transmit(&mut self, now: Instant, socket: &UdpSocket<mio::net::UdpSocket>, packet: &mut Vec<u8>) {
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
}

/// Whether the system takes no more now. Whatever else it says is as if the packet had been lost on the way: QUIC
/// notices, and gives the connection up if it stays so.
fn is_full(sent: io::Result<()>) -> bool {
    sent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

fn on_wire<'a>(transmit: &Transmit, bytes: &'a [u8]) -> quinn_udp::Transmit<'a> {
    quinn_udp::Transmit {
        destination: transmit.destination,
        ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
        contents: &bytes[..transmit.size],
        segment_size: transmit.segment_size,
        src_ip: transmit.src_ip,
    }
}

fn open(any: IpAddr) -> io::Result<UdpSocket<mio::net::UdpSocket>> {
    UdpSocket::of_quic(mio::net::UdpSocket::from_std(udp_socket(SocketAddr::new(any, 0))?))
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
