//! Socket options where Linux's are not there: developers' machines. `linux` is the twin.
#![allow(clippy::unnecessary_wraps, reason = "the twin can fail")]

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::Socket;

/// Replies larger than the path's MTU are dropped here: fragmenting them is left to Linux.
pub(crate) fn allow_fragmentation(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

/// Left to Linux.
pub(crate) fn pin_to_core(_number: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Here each packet is a system call of its own, and the system chooses the address that it leaves from.
pub(crate) struct ManySender;

impl ManySender {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Sends the first of `packets`; says how many, which is one if there is any.
    ///
    /// # Errors
    /// What the system says of it.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &Socket,
        _local_ip: Option<IpAddr>,
        packets: impl IntoIterator<Item = (SocketAddr, &'a [u8])>,
    ) -> io::Result<usize> {
        let Some((to, payload)) = packets.into_iter().next() else { return Ok(0) };
        socket.send_to(payload, &to.into()).map(|_| 1)
    }
}
