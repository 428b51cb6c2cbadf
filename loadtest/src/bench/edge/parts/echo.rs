//! The game server: every packet goes back to where it came from.

use std::net::SocketAddrV4;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::udp::Udp;

/// Answers until it is killed.
pub(super) fn run(listen: SocketAddrV4) -> anyhow::Result<()> {
    let mut udp = Udp::bind(listen)?;
    let socket = udp.socket().try_clone()?;
    loop {
        poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        udp.drain(|packet| {
            // One that the system does not take is lost, and counted as such by its player.
            let _ = socket.send_to(packet.payload, packet.from);
        })?;
    }
}
