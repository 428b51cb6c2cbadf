//! QUIC under a thread's own loop: quinn's state machines (quinn-proto) over sockets of ours.
//!
//! quinn's own driver gives every connection a task, a lock and a timer, and every datagram a wake-up. Here one thread
//! does all of it in turns: [`Quic::receive`] what has come, take and give datagrams, [`Quic::flush`] what is to leave. So
//! whatever was given in a turn shares packets and system calls. It knows connections, and neither agents nor flows. The edge dials
//! by it, the agent listens by it.

mod held;
mod turn;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, mem};

use bytes::Bytes;
use mio::{Interest, Registry, Token};
use quinn_proto::{
    ClientConfig, ConnectError, Connection, ConnectionError, ConnectionHandle, ConnectionStats, Endpoint,
    EndpointConfig, SendDatagramError, ServerConfig,
};

use crate::beside::{Beside, Hand};
use crate::endpoint::{listener_config, udp_socket};
use crate::peer::{PeerIdentity, from_chain};
use crate::profile::{Profile, take_jumbo};
use crate::udp::UdpSocket;
pub use held::Counts;
use held::Held;
use turn::Handshakes;

type Socket = UdpSocket<mio::net::UdpSocket>;

/// Connections that others have dialled, at most. More are refused.
const MOST_DIALLED_IN: usize = 8_192;
/// Of these, whose handshake is under way, at most. More are refused.
const MOST_HALF_OPEN: usize = 512;
/// Handshakes that others may begin in a second; who comes beyond that is not answered, and asks again. All workers of some edges
/// come at once when this process is started again.
const HANDSHAKES_PER_S: u32 = 500;

/// One connection. Its number is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    handle: ConnectionHandle,
    number: u64,
}

impl ConnectionId {
    /// One that there never is, for who tries out what strangers may do.
    #[doc(hidden)]
    pub fn made_up(number: u64) -> Self {
        Self { handle: ConnectionHandle(usize::MAX), number }
    }
}

/// What became of a connection.
#[derive(Debug)]
pub enum Change {
    /// It stands.
    Connected(ConnectionId),
    /// It does not, or no longer; and what it had counted by then.
    Lost(ConnectionId, ConnectionError, Counts),
}

/// Connections that this process has dialled, or others to it, and their sockets.
pub struct Quic {
    endpoint: Endpoint,
    // Of who dials, one for each address family of this machine; of who listens, that one.
    sockets: Vec<Socket>,
    // Where packets of connections go that are not this loop's.
    hand: Option<Hand>,
    // By handle.
    held: Vec<Option<Held>>,
    next_number: u64,
    // Dialled by others, whose handshake is under way.
    half_open: usize,
    handshakes: Handshakes,
    // Those with something to send or to tell; each is in here once.
    touched: Vec<ConnectionHandle>,
    // Those that datagrams have come on.
    brought: VecDeque<ConnectionId>,
    changes: Vec<Change>,
    // Nothing is due before.
    due: Option<Instant>,
    // Packets that were of no connection, since last asked.
    strays: u64,
    packet: Vec<u8>,
}

impl Quic {
    /// For who dials. Its sockets are `registry`'s under `first` and the token after it.
    ///
    /// # Errors
    /// What the system says if there is no socket of any family.
    pub fn dialling(registry: &Registry, first: Token) -> io::Result<Self> {
        let families = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let (mut sockets, mut error) = (Vec::new(), None);
        for any in families {
            match udp_socket(SocketAddr::new(any, 0), true).and_then(over) {
                Ok(socket) => sockets.push(socket),
                Err(failed) => error = Some(failed),
            }
        }
        if let (true, Some(error)) = (sockets.is_empty(), error) {
            return Err(error);
        }
        let mut config = EndpointConfig::default();
        take_jumbo(&mut config);
        Self::new(registry, first, sockets, config, None)
    }

    /// For who listens on `address` and takes in those that announce datagrams, as `server` says. Its socket is
    /// `registry`'s under `token`. Connections that announce anything else are had by [`Beside`]. Who was connected to the
    /// process before is told so; see [`listen`](crate::listen()) for that, and for `secret`.
    ///
    /// # Errors
    /// What the system says of the socket, such as an address in use.
    pub fn listening(
        registry: &Registry,
        token: Token,
        address: SocketAddr,
        server: ServerConfig,
        secret: &[u8],
    ) -> io::Result<(Self, Beside)> {
        let socket = over(udp_socket(address, false)?)?;
        let config = |profile| listener_config(secret, Some(profile));
        let (beside, hand) = Beside::new(socket.another()?, config(Profile::TunnelStreams))?;
        let datagrams = config(Profile::TunnelDatagrams);
        let mut quic = Self::new(registry, token, vec![socket], datagrams, Some(Arc::new(server)))?;
        quic.hand = Some(hand);
        Ok((quic, beside))
    }

    fn new(
        registry: &Registry,
        first: Token,
        mut sockets: Vec<Socket>,
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
    ) -> io::Result<Self> {
        for (index, socket) in sockets.iter_mut().enumerate() {
            let token = Token(first.0 + index);
            registry.register(&mut socket.io, token, Interest::READABLE)?;
        }
        let may_discover_mtu = sockets.iter().all(|socket| !socket.may_fragment());
        Ok(Self {
            endpoint: Endpoint::new(Arc::new(config), server, may_discover_mtu, None),
            sockets,
            hand: None,
            held: Vec::new(),
            next_number: 0,
            half_open: 0,
            handshakes: Handshakes::new(),
            touched: Vec::new(),
            brought: VecDeque::new(),
            changes: Vec::new(),
            due: None,
            strays: 0,
            packet: Vec::new(),
        })
    }

    /// Sockets there are.
    pub fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// Begins to connect to `address`, which has to show the certificate of `name`.
    ///
    /// # Errors
    /// It cannot be dialled at all, for one because this machine has no address of its family.
    pub fn connect(
        &mut self,
        now: Instant,
        config: ClientConfig,
        address: SocketAddr,
        name: &str,
    ) -> Result<ConnectionId, ConnectError> {
        let of_family =
            |socket: &Socket| socket.local_addr().is_ok_and(|local| local.is_ipv4() == address.is_ipv4());
        let socket =
            self.sockets.iter().position(of_family).ok_or(ConnectError::InvalidRemoteAddress(address))?;
        let (handle, connection) = self.endpoint.connect(now, config, address, name)?;
        Ok(self.hold(now, handle, connection, socket))
    }

    fn hold(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        connection: Connection,
        socket: usize,
    ) -> ConnectionId {
        self.next_number += 1;
        let id = ConnectionId { handle, number: self.next_number };
        if self.held.len() <= handle.0 {
            self.held.resize_with(handle.0 + 1, || None);
        }
        let held = Held::new(id, connection, socket, now);
        self.half_open += usize::from(held.is_half_open);
        self.held[handle.0] = Some(held);
        self.touch(handle);
        id
    }

    /// Who is at the other end of `id`, by the certificate it has shown.
    pub fn peer(&self, id: ConnectionId) -> Option<PeerIdentity> {
        from_chain(self.get(id)?.connection.crypto_session().peer_identity()?)
    }

    /// Where the other end of `id` is.
    pub fn remote_address(&self, id: ConnectionId) -> Option<SocketAddr> {
        Some(self.get(id)?.connection.remote_address())
    }

    /// Packets that found no room in the sockets' buffers since this was last asked; a system call for each socket.
    pub fn take_overflow(&mut self) -> u64 {
        self.sockets.iter_mut().map(UdpSocket::take_overflow).sum()
    }

    /// Packets that came and were of no connection here, nor began one, since this was last asked.
    pub fn take_strays(&mut self) -> u64 {
        mem::take(&mut self.strays)
    }

    /// What `id` has counted.
    pub fn counts(&mut self, id: ConnectionId) -> Option<Counts> {
        self.get_mut(id).map(Held::counts)
    }

    /// How many datagrams were given to `id`.
    pub fn given(&self, id: ConnectionId) -> Option<u64> {
        self.get(id).map(|held| held.given)
    }

    /// Whether the first `count` of them have left, whatever came behind them. Of a connection that is gone, all have.
    pub fn has_sent(&mut self, id: ConnectionId, count: u64) -> bool {
        self.get_mut(id).is_none_or(|held| held.has_sent(count))
    }

    /// The connection `id`, to look at; `None` if it is gone.
    pub fn stats(&self, id: ConnectionId) -> Option<ConnectionStats> {
        self.get(id).map(|held| held.connection.stats())
    }

    /// Largest datagram that `id` carries, in bytes.
    pub fn most_bytes(&mut self, id: ConnectionId) -> Option<usize> {
        self.get_mut(id)?.connection.datagrams().max_size()
    }

    /// Gives `datagram` to `id`; it leaves with the next [`Quic::flush`], or at once if much waits already. If there is no
    /// room even so, because the path takes no more, the oldest make some.
    ///
    /// # Errors
    /// `None`: the connection is gone.
    pub fn send(
        &mut self,
        now: Instant,
        id: ConnectionId,
        datagram: Bytes,
    ) -> Result<(), Option<SendDatagramError>> {
        let held = self.held.get_mut(id.handle.0).and_then(Option::as_mut);
        let held = held.filter(|held| held.id == id).ok_or(None)?;
        held.send(now, &self.sockets[held.socket], datagram, &mut self.packet)?;
        self.touch(id.handle);
        Ok(())
    }

    /// The next datagram that has come, and what it has come on.
    pub fn take(&mut self) -> Option<(ConnectionId, Bytes)> {
        while let Some(id) = self.brought.front().copied() {
            if let Some(held) = self.get_mut(id) {
                if let Some(datagram) = held.connection.datagrams().recv() {
                    held.taken += 1;
                    return Some((id, datagram));
                }
                held.brought = false;
            }
            self.brought.pop_front();
        }
        None
    }

    /// What became of connections since it was last asked.
    pub fn take_changes(&mut self) -> Vec<Change> {
        mem::take(&mut self.changes)
    }

    /// Ends `id`; its peer is told with the next [`Quic::flush`].
    pub fn close(&mut self, now: Instant, id: ConnectionId, code: u32, reason: &'static str) {
        if let Some(held) = self.get_mut(id) {
            held.connection.close(now, code.into(), Bytes::from_static(reason.as_bytes()));
            self.touch(id.handle);
        }
    }

    /// Ends all; see [`Quic::close`].
    pub fn close_all(&mut self, now: Instant, code: u32, reason: &'static str) {
        let all: Vec<_> = self.held.iter().flatten().map(|held| held.id).collect();
        for id in all {
            self.close(now, id, code, reason);
        }
    }

    /// Ends those whose handshake takes longer than `most`: a peer that is alive, and slow, holds them otherwise.
    pub fn end_slow_handshakes(&mut self, now: Instant, most: Duration) {
        let is_slow = |held: &&Held| {
            held.connection.is_handshaking() && now.saturating_duration_since(held.since) > most
        };
        let slow: Vec<_> = self.held.iter().flatten().filter(is_slow).map(|held| held.id).collect();
        for id in slow {
            self.close(now, id, 0, "the handshake takes too long");
        }
    }

    fn touch(&mut self, handle: ConnectionHandle) {
        if let Some(held) = self.held.get_mut(handle.0).and_then(Option::as_mut)
            && !mem::replace(&mut held.touched, true)
        {
            self.touched.push(handle);
        }
    }

    fn get(&self, id: ConnectionId) -> Option<&Held> {
        self.held.get(id.handle.0)?.as_ref().filter(|held| held.id == id)
    }

    fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Held> {
        self.held.get_mut(id.handle.0)?.as_mut().filter(|held| held.id == id)
    }
}

fn over(socket: std::net::UdpSocket) -> io::Result<Socket> {
    UdpSocket::new(mio::net::UdpSocket::from_std(socket))
}
