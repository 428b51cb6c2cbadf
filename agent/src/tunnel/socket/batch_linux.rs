//! Several packets of one socket with one system call.

use std::array;
use std::io::{self, IoSliceMut};
use std::os::fd::AsRawFd;

use mio::net::UdpSocket;
use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

use super::MAX_UDP_BYTES;

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
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
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
