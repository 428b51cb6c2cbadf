//! A flow's socket towards its server: a batch of packets out, a packet in. No decisions.

#[cfg_attr(target_os = "linux", path = "socket/batch_linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "socket/batch_portable.rs")]
mod batch;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};

pub(super) use batch::Batch;

/// Largest UDP payload there can be, in bytes.
const MAX_UDP_BYTES: usize = 65_535;

/// A socket that is connected to one port of one server.
pub(super) struct FlowSocket(UdpSocket);

impl FlowSocket {
    /// A new one, to `address`. `registry` tells by `token` when it may have packets.
    pub(super) fn connect(registry: &Registry, token: Token, address: SocketAddr) -> io::Result<Self> {
        let any: IpAddr =
            if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let mut socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
        socket.connect(address)?;
        // Not for room to send as well: Linux tells of that after each packet that has left.
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self(socket))
    }

    /// The port that its server knows it by.
    pub(super) fn port(&self) -> Option<u16> {
        self.0.local_addr().ok().map(|address| address.port())
    }

    /// Is told of no more.
    pub(super) fn close(mut self, registry: &Registry) {
        if let Err(error) = registry.deregister(&mut self.0) {
            tracing::debug!(%error, "a flow's socket that nobody waited on");
        }
    }

    /// Receives what is there into `batch`; says whether there may be more.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; otherwise what the system says.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.clear();
        let more = self.0.try_io(|| {
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
        match self.0.send(payload) {
            // What is reported is an earlier packet's fate: nothing listened then. This one was not sent.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.0.send(payload).is_ok(),
            result => result.is_ok(),
        }
    }
}
