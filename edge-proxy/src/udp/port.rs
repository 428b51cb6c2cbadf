//! What a players' port needs of its UDP socket beyond what QUIC does.

use std::io;
use std::net::{IpAddr, SocketAddr};

use muster_transport::{Readiness, UdpSocket};

use crate::sockets::{ManySender, allow_fragmentation};

/// A players' port over `io`: packets that are larger than the path are fragmented, as game servers' own sockets do it.
///
/// # Errors
/// What the system says of the socket.
pub(crate) fn players_socket<S: Readiness>(io: S) -> io::Result<UdpSocket<S>> {
    let socket = UdpSocket::new(io)?;
    allow_fragmentation(&socket.io.plain())?;
    Ok(socket)
}

/// Sends the first of `packets` by one system call, from `local_ip` if it is known; says how many.
///
/// # Errors
/// What the system says of the first. None was sent.
pub(crate) fn send_many<'a, S: Readiness>(
    socket: &UdpSocket<S>,
    sender: &mut ManySender,
    local_ip: Option<IpAddr>,
    packets: impl IntoIterator<Item = (SocketAddr, &'a [u8])> + Clone,
) -> io::Result<usize> {
    socket.io.send_by(|| sender.send(&socket.io.plain(), local_ip, packets.clone()))
}
