//! Several packets of one socket with one system call.

use std::array;
use std::io::{self, IoSliceMut};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::MAX_UDP_BYTES;

/// A socket of which only packets are waited for. A whole UDP socket of tokio's is told of room to send as well, which
/// Linux does after each packet that has left.
pub(in crate::tunnel) type Waited = AsyncFd<UdpSocket>;

/// `socket`, to be waited on by this runtime.
#[expect(
    deprecated,
    reason = "what replaces it is unsafe, for types that give up their descriptor; this one does not"
)]
pub(super) fn waited(socket: UdpSocket) -> io::Result<Waited> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// Waits until there may be packets.
pub(super) async fn readable(socket: &Waited) -> io::Result<()> {
    socket.readable().await.map(drop)
}

/// Does `io`, and waits again if it says that it would block.
pub(super) fn try_io<R>(socket: &Waited, mut io: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    socket.try_io(Interest::READABLE, |_| io())
}

/// Packets taken off one socket before others have their turn.
const PACKETS: usize = 16;

/// Room for one receive on any socket of a thread, and what the last one brought.
pub(in crate::tunnel) struct Batch {
    // 1 MiB, of which the system gives what is touched.
    storage: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
    lengths: [usize; PACKETS],
    filled: usize,
}

impl Batch {
    /// Room for the largest batch.
    pub(in crate::tunnel) fn new() -> Self {
        Self {
            storage: vec![0; PACKETS * MAX_UDP_BYTES],
            headers: MultiHeaders::preallocate(PACKETS, None),
            lengths: [0; PACKETS],
            filled: 0,
        }
    }

    /// Forgets what it has.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Takes what `socket` has, as much as there is room for.
    pub(super) fn receive(&mut self, socket: &Waited) -> io::Result<()> {
        let mut rooms = self.storage.chunks_exact_mut(MAX_UDP_BYTES);
        let mut slices: [[IoSliceMut<'_>; 1]; PACKETS] =
            array::from_fn(|_| [IoSliceMut::new(rooms.next().expect("storage is PACKETS rooms long"))]);
        let (socket, flags) = (socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        for received in recvmmsg(socket, &mut self.headers, &mut slices, flags, None)? {
            self.lengths[self.filled] = received.bytes;
            self.filled += 1;
        }
        Ok(())
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Whether the socket may have had more.
    pub(super) fn is_full(&self) -> bool {
        self.filled == PACKETS
    }

    /// What the last receive brought, packet by packet.
    pub(in crate::tunnel) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        let rooms = self.storage.chunks_exact(MAX_UDP_BYTES);
        self.lengths[..self.filled].iter().zip(rooms).map(|(length, room)| &room[..*length])
    }
}
