//! A UDP socket: batches in, packets out. No decisions.
//!
//! Whoever waits for packets does so by a runtime or by a loop of its own: [`Readiness`] is what both have in common.
//! What only players' ports need is the edge's.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;

use crate::overflow::overflowed;

/// Room per receive: the largest UDP payload, or as many smaller ones as the kernel glues together.
const RECEIVE_BYTES: usize = 65_535;

/// A socket whose owner is told when it has become readable or writable.
pub trait Readiness {
    /// The socket itself, for batches.
    fn socket(&self) -> UdpSockRef<'_>;
    /// The socket itself, for everything else.
    fn plain(&self) -> SockRef<'_>;
    /// Receives by `io`, so that the owner is told again after a `WouldBlock`.
    ///
    /// # Errors
    /// What `io` says.
    fn receive_by<R>(&self, io: impl FnMut() -> io::Result<R>) -> io::Result<R>;
    /// Sends by `io`, likewise.
    ///
    /// # Errors
    /// What `io` says.
    fn send_by<R>(&self, io: impl FnMut() -> io::Result<R>) -> io::Result<R>;
}

impl Readiness for tokio::net::UdpSocket {
    fn socket(&self) -> UdpSockRef<'_> {
        self.into()
    }

    fn plain(&self) -> SockRef<'_> {
        self.into()
    }

    fn receive_by<R>(&self, io: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.try_io(Interest::READABLE, io)
    }

    fn send_by<R>(&self, io: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.try_io(Interest::WRITABLE, io)
    }
}

impl Readiness for mio::net::UdpSocket {
    fn socket(&self) -> UdpSockRef<'_> {
        self.into()
    }

    fn plain(&self) -> SockRef<'_> {
        self.into()
    }

    fn receive_by<R>(&self, io: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.try_io(io)
    }

    fn send_by<R>(&self, io: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.try_io(io)
    }
}

/// A socket that receives many packets per system call and answers from the address it was spoken to on.
pub struct UdpSocket<S> {
    /// What its owner waits on.
    pub io: S,
    state: UdpSocketState,
    // As it was when last asked for.
    overflowed: u32,
}

/// Room for one receive on any socket of a worker, and what the last one brought.
pub struct Batch {
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

/// Packets that the system has glued together: all of one sender, and of one length but for the last.
#[derive(Debug)]
pub struct Glued<'a> {
    /// Who sent them.
    pub from: SocketAddr,
    /// Our address they were sent to.
    pub local_ip: Option<IpAddr>,
    /// What the path said of its load.
    pub ecn: Option<EcnCodepoint>,
    /// Bytes of each but the last; at least 1.
    pub stride: usize,
    /// Their payloads, one behind the other.
    pub bytes: &'a [u8],
}

/// One packet of a batch.
#[derive(Debug)]
pub struct Packet<'a> {
    /// Who sent it.
    pub client: SocketAddr,
    /// Our address it was sent to.
    pub local_ip: Option<IpAddr>,
    /// Its payload.
    pub payload: &'a [u8],
}

impl<S: Readiness> UdpSocket<S> {
    /// Over `io`. As QUIC wants it: the system fragments nothing.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn new(io: S) -> io::Result<Self> {
        let state = UdpSocketState::new(io.socket())?;
        let overflowed = overflowed(&io.plain());
        Ok(Self { io, state, overflowed })
    }

    /// Packets that found no room in the system's buffer since this was last asked, or since it is there: a system call.
    /// Always 0 where the system does not say.
    pub fn take_overflow(&mut self) -> u64 {
        let now = overflowed(&self.io.plain());
        u64::from(now.wrapping_sub(std::mem::replace(&mut self.overflowed, now)))
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.io.plain().local_addr()?;
        address.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// The same socket once more, for another to hold.
    ///
    /// # Errors
    /// What the system says, such as too many open files.
    pub fn another(&self) -> io::Result<std::net::UdpSocket> {
        Ok(self.io.plain().try_clone()?.into())
    }

    /// Whether the system may fragment what is sent.
    pub fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    /// Packets that one send may have glued together.
    pub fn most_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Receives what is there into `batch`; says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; otherwise what the system says.
    pub fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.filled = 0;
        let mut rooms = batch.storage.chunks_exact_mut(RECEIVE_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().expect("storage is BATCH_SIZE rooms long")));
        let more = self.io.receive_by(|| {
            batch.filled = self.state.recv(self.io.socket(), &mut slices, &mut batch.metas)?;
            // A batch that is not full has emptied the socket: saying so here saves asking once more.
            if batch.filled < BATCH_SIZE { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match more {
            Err(_) if batch.filled > 0 => Ok(false),
            more => more.map(|()| true),
        }
    }

    /// Sends one packet, from `local_ip` if it is known.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` if its buffer is full.
    pub fn send(&self, client: SocketAddr, local_ip: Option<IpAddr>, payload: &[u8]) -> io::Result<()> {
        self.transmit(&Transmit {
            destination: client,
            ecn: None,
            contents: payload,
            segment_size: None,
            src_ip: local_ip,
        })
    }

    /// Sends what QUIC has to send.
    ///
    /// # Errors
    /// What the system says; `WouldBlock` if its buffer is full.
    pub fn transmit(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.send_by(|| self.state.try_send(self.io.socket(), transmit))
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Room for the largest batch: 2 MiB where the system gives 32 packets at once.
    pub fn new() -> Self {
        Self {
            storage: vec![0; BATCH_SIZE * RECEIVE_BYTES],
            metas: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
        }
    }

    /// What the last receive brought, as the system gave it.
    pub fn glued(&self) -> impl Iterator<Item = Glued<'_>> {
        let rooms = self.storage.chunks_exact(RECEIVE_BYTES);
        self.metas[..self.filled].iter().zip(rooms).map(|(meta, room)| Glued {
            from: meta.addr,
            local_ip: meta.dst_ip,
            ecn: meta.ecn,
            // An empty packet has stride 0, and is a packet all the same.
            stride: meta.stride.max(1),
            bytes: &room[..meta.len],
        })
    }

    /// What the last receive brought, packet by packet.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.glued().flat_map(|Glued { from, local_ip, stride, bytes, .. }| {
            let count = bytes.len().div_ceil(stride).max(1);
            (0..count).map(move |index| Packet {
                client: from,
                local_ip,
                payload: &bytes[index * stride..bytes.len().min((index + 1) * stride)],
            })
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Many more than a small buffer holds.
    const SENT: u64 = 10_000;

    fn read_all(socket: &UdpSocket<mio::net::UdpSocket>) -> u64 {
        let (mut batch, mut read) = (Batch::new(), 0);
        while socket.receive(&mut batch).is_ok() {
            read += batch.packets().count() as u64;
        }
        read
    }

    #[test]
    fn what_finds_no_room_is_counted_once() {
        let plain = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has free ports");
        plain.set_nonblocking(true).expect("it is a socket");
        SockRef::from(&plain).set_recv_buffer_size(4_096).expect("it may be small");
        let mut socket = UdpSocket::new(mio::net::UdpSocket::from_std(plain)).expect("a socket for batches");
        let (from, to) = (std::net::UdpSocket::bind("127.0.0.1:0"), socket.local_addr());
        let (from, to) = (from.expect("loopback has free ports"), to.expect("it is bound"));
        for _ in 0..SENT {
            from.send_to(b"packet", to).expect("loopback takes it");
        }
        let read = read_all(&socket);
        assert!(read < SENT, "the buffer is too large for this test");
        assert_eq!(socket.take_overflow(), SENT - read);
        from.send_to(b"packet", to).expect("loopback takes it");
        assert_eq!((read_all(&socket), socket.take_overflow()), (1, 0));
    }
}
