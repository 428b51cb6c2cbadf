//! One flow: a client of one server port, as the server sees it: one UDP socket with one address,
//! whatever edge and whatever client address stand behind it at the moment.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{BufMut, BytesMut};
use muster_protocol::flow::FlowId;
use muster_protocol::fragment::split;
use muster_protocol::tunnel::{Fragment, Header, OpenTarget};
use quinn::Connection;
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use crate::routes::Slot;

/// Datagrams up to this size fit every QUIC path, so that the connection need not be asked.
const ALWAYS_FITS: usize = 1_100;

/// A flow.
pub(super) struct Flow {
    pub(super) id: FlowId,
    pub(super) target: OpenTarget,
    pub(super) socket: UdpSocket,
    /// Cancelled when the flow is over.
    pub(super) over: CancellationToken,
    /// The connection that last carried a packet of the flow from its client: answers go there.
    edge: Mutex<Connection>,
    last_in_ms: AtomicU64,
    next_packet: AtomicU16,
    _slot: Slot,
}

impl Flow {
    /// A flow to a server's port at `address`.
    pub(super) fn open(
        id: FlowId,
        target: OpenTarget,
        address: SocketAddr,
        edge: Connection,
        slot: Slot,
        now_ms: u64,
    ) -> io::Result<Self> {
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            id,
            target,
            socket: UdpSocket::from_std(socket)?,
            over: CancellationToken::new(),
            edge: Mutex::new(edge),
            last_in_ms: AtomicU64::new(now_ms),
            next_packet: AtomicU16::new(0),
            _slot: slot,
        })
    }

    /// A packet of its client came over `edge`.
    pub(super) fn seen(&self, edge: &Connection, now_ms: u64) {
        self.last_in_ms.store(now_ms, Ordering::Relaxed);
        let mut current = self.edge();
        if current.stable_id() != edge.stable_id() {
            *current = edge.clone();
        }
    }

    /// Whether `edge` is where its client's packets come from.
    pub(super) fn is_carried_by(&self, edge: &Connection) -> bool {
        self.edge().stable_id() == edge.stable_id()
    }

    /// When its client was last heard.
    pub(super) fn last_in_ms(&self) -> u64 {
        self.last_in_ms.load(Ordering::Relaxed)
    }

    /// Gives a packet to the server; answers whether its socket took it.
    pub(super) fn to_server(&self, payload: &[u8]) -> bool {
        // Not tokio's try_send: it says WouldBlock of a new socket until the reactor has seen it writable,
        // and a flow's first packet would be lost.
        let socket = SockRef::from(&self.socket);
        match socket.send(payload) {
            // What is reported is an earlier packet's fate: nothing listened then. This one was not sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send(payload).is_ok(),
            result => result.is_ok(),
        }
    }

    /// Gives a packet to the edge, in parts if it is too large for one datagram; answers whether it
    /// was taken. When the connection's buffer is full its oldest datagrams go.
    pub(super) fn to_edge(&self, payload: &[u8]) -> bool {
        let edge = self.edge();
        let whole = Header::Data { flow: self.id, open: None, fragment: None };
        let length = whole.encoded_len() + payload.len();
        let limit = if length <= ALWAYS_FITS { ALWAYS_FITS } else { edge.max_datagram_size().unwrap_or(0) };
        if length <= limit {
            return edge.send_datagram(datagram(whole, payload).freeze()).is_ok();
        }
        let packet = self.next_packet.fetch_add(1, Ordering::Relaxed);
        let header = |index, count| Header::Data {
            flow: self.id,
            open: None,
            fragment: Some(Fragment { packet, index, count }),
        };
        let Some(parts) = split(payload, limit.saturating_sub(header(0, 2).encoded_len())) else {
            return false;
        };
        let count = parts.len() as u8;
        let mut parts = (0..count).zip(parts);
        parts.all(|(index, part)| edge.send_datagram(datagram(header(index, count), part).freeze()).is_ok())
    }

    /// Tells the edge something about the flow.
    pub(super) fn tell(&self, header: Header) {
        tell(&self.edge(), header);
    }

    fn edge(&self) -> MutexGuard<'_, Connection> {
        // Only ever replaced whole.
        self.edge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends a bare header. One that is lost is made up for by the next packet of the flow.
pub(super) fn tell(edge: &Connection, header: Header) {
    let _ = edge.send_datagram(datagram(header, &[]).freeze());
}

/// A header with what follows it.
pub(super) fn datagram(header: Header, payload: &[u8]) -> BytesMut {
    let mut datagram = BytesMut::with_capacity(header.encoded_len() + payload.len());
    header.encode(&mut datagram);
    datagram.put_slice(payload);
    datagram
}
