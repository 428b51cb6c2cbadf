//! Socket options that only Linux has, or has in this form. `portable` is the twin.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};
use nix::unistd::Pid;
use socket2::Socket;

/// Packets that one system call sends at most.
const MOST_AT_ONCE: usize = 64;

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

/// Keeps this thread on the core that is number `number` of those it may use, counted round and round.
pub(crate) fn pin_to_core(number: usize) -> io::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let cores: Vec<_> = (0..CpuSet::count()).filter(|core| allowed.is_set(*core) == Ok(true)).collect();
    // A thread that may use none does not run.
    let Some(core) = number.checked_rem(cores.len()).and_then(|at| cores.get(at)) else { return Ok(()) };
    let mut only = CpuSet::new();
    only.set(*core)?;
    Ok(sched_setaffinity(this, &only)?)
}

/// Sends many packets by one system call. The memory that this takes is had once.
pub(crate) struct ManySender {
    plain: MultiHeaders<SockaddrStorage>,
    from_v4: MultiHeaders<SockaddrStorage>,
    from_v6: MultiHeaders<SockaddrStorage>,
    addresses: Vec<Option<SockaddrStorage>>,
}

impl ManySender {
    pub(crate) fn new() -> Self {
        Self {
            plain: MultiHeaders::preallocate(MOST_AT_ONCE, None),
            from_v4: MultiHeaders::preallocate(MOST_AT_ONCE, Some(cmsg_space!(libc::in_pktinfo))),
            from_v6: MultiHeaders::preallocate(MOST_AT_ONCE, Some(cmsg_space!(libc::in6_pktinfo))),
            addresses: Vec::with_capacity(MOST_AT_ONCE),
        }
    }

    /// Sends the first of `packets`, from `local_ip` if it is known; says how many, which is at least one.
    ///
    /// # Errors
    /// What the system says of the first packet. None was sent.
    pub(crate) fn send<'a>(
        &mut self,
        socket: &Socket,
        local_ip: Option<IpAddr>,
        packets: impl IntoIterator<Item = (SocketAddr, &'a [u8])>,
    ) -> io::Result<usize> {
        let Self { plain, from_v4, from_v6, addresses } = self;
        addresses.clear();
        // What borrows from the packets cannot be kept for the next call; on the stack it costs next to nothing.
        let mut payloads = [[IoSlice::new(&[])]; MOST_AT_ONCE];
        for (place, (to, payload)) in payloads.iter_mut().zip(packets) {
            addresses.push(Some(to.into()));
            *place = [IoSlice::new(payload)];
        }
        let payloads = &payloads[..addresses.len()];
        let fd = socket.as_raw_fd();
        let sent = match local_ip {
            None => sendmmsg(fd, plain, payloads, &addresses, [], MsgFlags::empty())?.count(),
            Some(IpAddr::V4(ip)) => {
                let from = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let from = [ControlMessage::Ipv4PacketInfo(&from)];
                sendmmsg(fd, from_v4, payloads, &addresses, from, MsgFlags::empty())?.count()
            }
            Some(IpAddr::V6(ip)) => {
                let from =
                    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
                let from = [ControlMessage::Ipv6PacketInfo(&from)];
                sendmmsg(fd, from_v6, payloads, &addresses, from, MsgFlags::empty())?.count()
            }
        };
        Ok(sent)
    }
}
