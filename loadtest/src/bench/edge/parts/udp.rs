//! A UDP socket of many addresses: batches in, with when and to whom; packets out, from whomever.
//!
//! One socket plays all players: each has a source address of its own, all of which lead to this machine's
//! loopback by a local route. So the generator needs one system call for many packets received, and no
//! table of sockets.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, RcvBuf, ReceiveTimestampns, SndBuf};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmsg, setsockopt,
};
use nix::sys::time::TimeSpec;

/// Packets received by one system call, at most.
const BATCH: usize = 64;
/// Room for one packet, in bytes: no packet here is larger than a path's MTU.
const ROOM: usize = 2_048;
/// Socket buffers asked for, in bytes; the system may give less (`net.core.rmem_max`).
const BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// The socket.
pub(super) struct Udp {
    socket: UdpSocket,
    headers: MultiHeaders<SockaddrIn>,
    rooms: Vec<[u8; ROOM]>,
}

/// One packet.
pub(super) struct Received<'a> {
    /// What is in it.
    pub(super) payload: &'a [u8],
    /// Who sent it.
    pub(super) from: SocketAddrV4,
    /// Which address of ours it was sent to.
    pub(super) to: Ipv4Addr,
    /// When the kernel had it, in nanoseconds of Unix time.
    pub(super) at_ns: u64,
}

impl Udp {
    /// A socket on `listen`, which does not wait.
    pub(super) fn bind(listen: SocketAddrV4) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(listen)?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        // Less than asked for is told by what is lost.
        let _ = setsockopt(&socket, RcvBuf, &BUFFER_BYTES);
        let _ = setsockopt(&socket, SndBuf, &BUFFER_BYTES);
        let control = nix::cmsg_space!(libc::timespec, libc::in_pktinfo);
        let headers = MultiHeaders::preallocate(BATCH, Some(control));
        Ok(Self { socket, headers, rooms: vec![[0; ROOM]; BATCH] })
    }

    /// The socket itself, to wait on and to send from where the source does not matter.
    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Gives all packets that are there to `take`; answers how many there were.
    pub(super) fn drain(&mut self, mut take: impl FnMut(Received<'_>)) -> io::Result<usize> {
        let mut total = 0;
        loop {
            let mut slices: Vec<_> = self.rooms.iter_mut().map(|room| [IoSliceMut::new(room)]).collect();
            let fd = self.socket.as_raw_fd();
            let flags = MsgFlags::MSG_DONTWAIT;
            let results = match recvmmsg(fd, &mut self.headers, slices.iter_mut(), flags, None) {
                Ok(results) => results,
                Err(nix::Error::EAGAIN) => return Ok(total),
                // An ICMP error of an earlier packet: a proxy that is being restarted.
                Err(nix::Error::ECONNREFUSED | nix::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let mut count = 0;
            for result in results {
                count += 1;
                let Some(received) = read(&result) else { continue };
                take(received);
            }
            total += count;
            if count < BATCH {
                return Ok(total);
            }
        }
    }

    /// Sends one packet from `source`, an address of this machine.
    pub(super) fn send(&self, source: Ipv4Addr, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let slices = [io::IoSlice::new(payload)];
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let to = SockaddrIn::from(to);
        sendmsg(self.socket.as_raw_fd(), &slices, &control, MsgFlags::MSG_DONTWAIT, Some(&to))?;
        Ok(())
    }
}

fn read<'a>(result: &nix::sys::socket::RecvMsg<'_, 'a, SockaddrIn>) -> Option<Received<'a>> {
    let from = result.address?;
    let (mut to, mut at_ns) = (None, None);
    for control in result.cmsgs().ok()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
            }
            ControlMessageOwned::ScmTimestampns(at) => at_ns = Some(nanoseconds(at)),
            _ => {}
        }
    }
    let payload = result.iovs().next().unwrap_or_default();
    Some(Received { payload, from: SocketAddrV4::new(from.ip(), from.port()), to: to?, at_ns: at_ns? })
}

fn nanoseconds(at: TimeSpec) -> u64 {
    at.tv_sec() as u64 * 1_000_000_000 + at.tv_nsec() as u64
}

/// Now, in nanoseconds of Unix time: the clock that the kernel stamps packets with.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
