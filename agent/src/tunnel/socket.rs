//! A flow's socket towards its server: a batch of packets out, a packet in. No decisions.

#[cfg_attr(target_os = "linux", path = "socket/batch_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "socket/batch_portable.rs")]
mod batch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::SockRef;

pub(super) use batch::Batch;
use batch::Waited;

/// Largest UDP payload there can be, in bytes.
const MAX_UDP_BYTES: usize = 65_535;

/// A socket that is connected to one port of one server.
pub(super) struct FlowSocket(Waited);

impl FlowSocket {
    /// A new one, to `address`. Must be called within the runtime that is to drive it.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(address)?;
        socket.set_nonblocking(true)?;
        batch::waited(socket).map(Self)
    }

    /// Waits until there may be packets.
    pub(super) async fn readable(&self) -> io::Result<()> {
        batch::readable(&self.0).await
    }

    /// Receives what is there into `batch`; says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; otherwise what the system says.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.clear();
        let more = batch::try_io(&self.0, || {
            batch.receive(&self.0)?;
            // A batch that is not full has emptied the socket: saying so here saves asking once more.
            if batch.is_full() { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
        });
        match more {
            Err(_) if !batch.is_empty() => Ok(false),
            more => more.map(|()| true),
        }
    }

    /// Gives a packet to the server; answers whether the system took it.
    pub(super) fn send(&self, payload: &[u8]) -> bool {
        // Not tokio's try_send: it says WouldBlock of a new socket until the reactor has seen it writable,
        // and a flow's first packet would be lost.
        let socket = SockRef::from(&self.0);
        match socket.send(payload) {
            // What is reported is an earlier packet's fate: nothing listened then. This one was not sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send(payload).is_ok(),
            result => result.is_ok(),
        }
    }
}
