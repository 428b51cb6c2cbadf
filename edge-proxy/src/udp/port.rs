//! A UDP port's socket: batches in, packets out. No decisions.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;

use crate::sockets::allow_fragmentation;

/// Room per receive: the largest UDP payload, or as many smaller ones as the kernel glues together.
const RECEIVE_BYTES: usize = 65_535;

/// A socket that receives many packets per system call and answers from the address it was spoken to on.
pub(crate) struct UdpSocket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
}

/// Room for one receive on any socket of a worker, and what the last one brought.
pub(crate) struct Batch {
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    filled: usize,
}

/// One packet of a batch.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    /// Who sent it.
    pub(crate) client: SocketAddr,
    /// Our address it was sent to.
    pub(crate) local_ip: Option<IpAddr>,
    /// Its payload.
    pub(crate) payload: &'a [u8],
}

impl UdpSocket {
    /// Takes over a bound socket. Must be called within the runtime that is to drive it.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        allow_fragmentation(&socket)?;
        Ok(Self { io: tokio::net::UdpSocket::from_std(socket)?, state })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    /// The same socket once more, for another process.
    pub(crate) fn another(&self) -> io::Result<std::net::UdpSocket> {
        Ok(SockRef::from(&self.io).try_clone()?.into())
    }

    /// Waits until there may be packets.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Receives what is there into `batch`; says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; otherwise what the system says.
    pub(crate) fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.filled = 0;
        let mut rooms = batch.storage.chunks_exact_mut(RECEIVE_BYTES);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(rooms.next().expect("storage is BATCH_SIZE rooms long")));
        let more = self.io.try_io(Interest::READABLE, || {
            batch.filled = self.state.recv(UdpSockRef::from(&self.io), &mut slices, &mut batch.metas)?;
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
    pub(crate) fn send(
        &self,
        client: SocketAddr,
        local_ip: Option<IpAddr>,
        payload: &[u8],
    ) -> io::Result<()> {
        let transmit = Transmit {
            destination: client,
            ecn: None,
            contents: payload,
            segment_size: None,
            src_ip: local_ip,
        };
        self.io.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), &transmit))
    }
}

impl Batch {
    /// Room for the largest batch: 2 MiB where the system gives 32 packets at once.
    pub(crate) fn new() -> Self {
        Self {
            storage: vec![0; BATCH_SIZE * RECEIVE_BYTES],
            metas: [RecvMeta::default(); BATCH_SIZE],
            filled: 0,
        }
    }

    /// What the last receive brought, packet by packet.
    pub(crate) fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        let rooms = self.storage.chunks_exact(RECEIVE_BYTES);
        self.metas[..self.filled].iter().zip(rooms).flat_map(|(meta, room)| {
            // An empty packet has stride 0, and is a packet all the same.
            let stride = meta.stride.max(1);
            let count = meta.len.div_ceil(stride).max(1);
            (0..count).map(move |index| Packet {
                client: meta.addr,
                local_ip: meta.dst_ip,
                payload: &room[index * stride..meta.len.min((index + 1) * stride)],
            })
        })
    }
}
