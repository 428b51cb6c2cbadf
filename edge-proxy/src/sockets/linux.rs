//! Socket options that only Linux has, or has in this form. `portable` is the twin.

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

/// Lets several workers, or an old and a new process, listen on one port.
pub(super) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

/// Lets the system fragment what is larger than the path's MTU, as game servers' own sockets do.
///
/// QUIC's sockets forbid it, and the library that reads batches for us sets them up as QUIC's.
pub(crate) fn allow_fragmentation(socket: &Socket) -> io::Result<()> {
    set_int(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT)?;
    // These two fail on an IPv4 socket, where they mean nothing.
    let _ = set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DONT);
    let _ = set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 0);
    Ok(())
}

fn set_int(socket: &Socket, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value outlives the call and is as long as said.
    let done =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
