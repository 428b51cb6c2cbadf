//! The portable twin of `batch_linux`: where there is no such system call, a batch is one packet.

use std::future::poll_fn;
use std::io::{self, Read};

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::MAX_UDP_BYTES;

/// A socket whose packets are waited for.
pub(in crate::tunnel) type Waited = UdpSocket;

/// `socket`, to be waited on by this runtime.
pub(super) fn waited(socket: std::net::UdpSocket) -> io::Result<Waited> {
    UdpSocket::from_std(socket)
}

/// Waits until there may be packets.
pub(super) async fn readable(socket: &Waited) -> io::Result<()> {
    poll_fn(|context| socket.poll_recv_ready(context)).await
}

/// Does `io`, and waits again if it says that it would block.
pub(super) fn try_io<R>(socket: &Waited, io: impl FnMut() -> io::Result<R>) -> io::Result<R> {
    socket.try_io(Interest::READABLE, io)
}

/// Room for one receive on any socket of a thread, and what the last one brought.
pub(in crate::tunnel) struct Batch {
    room: Vec<u8>,
    length: Option<usize>,
}

impl Batch {
    /// Room for the largest packet.
    pub(in crate::tunnel) fn new() -> Self {
        Self { room: vec![0; MAX_UDP_BYTES], length: None }
    }

    /// Forgets what it has.
    pub(super) fn clear(&mut self) {
        self.length = None;
    }

    /// Takes a packet of `socket`.
    pub(super) fn receive(&mut self, socket: &Waited) -> io::Result<()> {
        self.length = Some((&*SockRef::from(socket)).read(&mut self.room)?);
        Ok(())
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.length.is_none()
    }

    /// Whether the socket may have had more.
    pub(super) fn is_full(&self) -> bool {
        self.length.is_some()
    }

    /// What the last receive brought, packet by packet.
    pub(in crate::tunnel) fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.length.iter().map(|length| &self.room[..*length])
    }
}
