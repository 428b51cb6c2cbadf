//! The portable twin of `batch_linux`: where there is no such system call, a batch is one packet.

use std::io;

use mio::net::UdpSocket;

use super::MAX_UDP_BYTES;

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
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.length = Some(socket.recv(&mut self.room)?);
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
