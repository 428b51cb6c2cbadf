//! Opening the sockets that players reach, and saying plainly why one cannot be had.
//!
//! What is Linux's own lies in `linux`; `portable` is its twin elsewhere.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use muster_transport::set_buffers;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

#[cfg(target_os = "linux")]
#[path = "sockets/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "sockets/portable.rs"]
mod system;

pub(crate) use system::{ManySender, allow_fragmentation, pin_to_core};

/// Buffers asked for on a UDP port; the system may give less (`net.core.rmem_max`).
const UDP_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Connections that wait to be accepted on a TCP port.
const TCP_BACKLOG: i32 = 1_024;
/// Silence on a connection after which its peer is asked whether it still lives, and how often.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindError {
    /// Somebody listens there already.
    #[error(
        "{protocol} port {port} is taken by another process; stop it (`ss -lnp | grep :{port}` names it), or \
         leave the port out of the edge's range (port_first, port_last)"
    )]
    Taken { protocol: &'static str, port: u16 },
    /// The address is not this machine's.
    #[error(
        "{ip} is no address of this machine; set listen_ip in the edge's configuration to one, or to 0.0.0.0"
    )]
    NoSuchAddress { ip: IpAddr },
    /// The system does not allow it.
    #[error(
        "{protocol} port {port} is not allowed to this user; use ports from 1024 up, or grant \
         CAP_NET_BIND_SERVICE"
    )]
    Denied { protocol: &'static str, port: u16 },
    /// Anything else.
    #[error("{protocol} port {port} cannot be opened: {source}")]
    Other { protocol: &'static str, port: u16, source: io::Error },
}

impl BindError {
    /// Stable code for route failures.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "port_taken",
            Self::NoSuchAddress { .. } => "listen_address_invalid",
            Self::Denied { .. } => "port_denied",
            Self::Other { .. } => "port_unavailable",
        }
    }

    fn new(protocol: &'static str, address: SocketAddr, source: io::Error) -> Self {
        let port = address.port();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { protocol, port },
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { ip: address.ip() },
            io::ErrorKind::PermissionDenied => Self::Denied { protocol, port },
            _ => Self::Other { protocol, port, source },
        }
    }
}

/// A UDP socket on `address`, with large buffers.
pub(crate) fn bind_udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
    open_udp(address).map_err(|source| BindError::new("UDP", address, source))
}

fn open_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = new_socket(address, Type::DGRAM, Protocol::UDP)?;
    set_buffers(&socket, UDP_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A TCP listener on `address`.
pub(crate) fn bind_tcp(address: SocketAddr) -> Result<TcpListener, BindError> {
    let open = || {
        let socket = new_socket(address, Type::STREAM, Protocol::TCP)?;
        // On Unix: ports whose last connections linger can be had at once. On Windows it would let two listen.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(TCP_BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|source| BindError::new("TCP", address, source))
}

/// What every accepted connection gets: small writes leave at once, and a dead peer is noticed.
pub(crate) fn tune_connection(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    // Both are betterments; a connection without them still works.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&keepalive);
}

/// Makes the closing of `stream` a reset, so that its client does not take a cut for an end.
pub(crate) fn reset_on_close(stream: &tokio::net::TcpStream) {
    // If it fails the client sees an ordinary end.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn new_socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_the_fix() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let udp = bind_udp(any).unwrap();
        let error = bind_udp(udp.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.code(), "port_taken");
        assert!(error.to_string().contains("ss -lnp"), "{error}");
        let tcp = bind_tcp(any).unwrap();
        assert_eq!(bind_tcp(tcp.local_addr().unwrap()).unwrap_err().code(), "port_taken");
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let error = bind_udp(SocketAddr::from(([192, 0, 2, 1], 0))).unwrap_err();
        assert_eq!(error.code(), "listen_address_invalid");
        assert!(error.to_string().contains("listen_ip"), "{error}");
    }
}
