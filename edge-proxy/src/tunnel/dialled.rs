//! All datagram tunnels of a worker: which connections were dialled, which of them carry a tunnel, and who waits for them.
//!
//! Connections are asked for by tasks elsewhere, which know names, addresses and patience; here they are begun, told of,
//! and ended as soon as nobody holds them any more.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use muster_protocol::fragment::GivenUp;
use muster_protocol::id::NodeId;
use muster_transport::{Change, ConnectionId, Counts, DialError, Quic};
use quinn_proto::{ClientConfig, ConnectionError};
use tokio::sync::oneshot;

use super::datagrams::{Condition, DatagramTunnel};

/// Close code of connections that are not needed.
const CLOSE: u32 = 0;

/// A connection that stands, for whoever asked for it. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Which one.
    pub(crate) id: ConnectionId,
    /// Says why it is over.
    pub(crate) over: oneshot::Receiver<ConnectionError>,
}

/// Who is told what comes of dialling.
pub(crate) type Caller = oneshot::Sender<Result<Reached, DialError>>;

/// One of a worker's tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TunnelId(usize);

enum Dialled {
    Calling { address: SocketAddr, caller: Caller },
    Stands { over: oneshot::Sender<ConnectionError>, tunnel: Option<TunnelId> },
}

/// The tunnels, and the connections under them.
pub(crate) struct DatagramTunnels {
    /// The connections.
    pub(crate) quic: Quic,
    dialled: HashMap<ConnectionId, Dialled>,
    // A place stays its node's until the node is followed no more.
    tunnels: Vec<Option<DatagramTunnel>>,
    // Datagrams on connections that carry nothing, since last asked.
    strays: u64,
}

/// What is seen when a tunnel is looked at.
pub(crate) struct Look {
    /// Which one.
    pub(crate) tunnel: TunnelId,
    /// What was counted since the last look.
    pub(crate) news: Counts,
    /// How it is, if it stands.
    pub(crate) condition: Option<Condition>,
}

impl DatagramTunnels {
    /// No tunnels yet.
    pub(crate) fn new(quic: Quic) -> Self {
        Self { quic, dialled: HashMap::new(), tunnels: Vec::new(), strays: 0 }
    }

    /// Dials `address`, which has to show the certificate of `name`, and tells `caller`.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        config: ClientConfig,
        (address, name): (SocketAddr, &str),
        caller: Caller,
    ) {
        match self.quic.connect(now, config, address, name) {
            Ok(id) => drop(self.dialled.insert(id, Dialled::Calling { address, caller })),
            // That nobody waits any more is fine.
            Err(source) => drop(caller.send(Err(DialError::Connect { address, source }))),
        }
    }

    /// From now on the connection `id` carries the tunnel to `node`.
    pub(crate) fn carry(&mut self, now: Instant, node: NodeId, id: ConnectionId) {
        let place = self.of_node(node);
        let Some(Dialled::Stands { tunnel, .. }) = self.dialled.get_mut(&id) else { return };
        *tunnel = Some(place);
        let Some(tunnel) = self.tunnels.get_mut(place.0).and_then(Option::as_mut) else { return };
        if let Some(before) = tunnel.connection() {
            tunnel.down(self.quic.counts(before).unwrap_or_default());
            self.quic.close(now, before, CLOSE, "another carries the tunnel");
            self.dialled.remove(&before);
        }
        tunnel.up(id);
    }

    /// The tunnel to `node`, if there is one, whether it stands or not.
    pub(crate) fn find(&self, node: NodeId) -> Option<TunnelId> {
        let is_it = |place: &Option<DatagramTunnel>| place.as_ref().is_some_and(|it| it.node() == node);
        self.tunnels.iter().position(is_it).map(TunnelId)
    }

    /// The tunnel to `node`, made if there is none. It need not stand.
    pub(crate) fn of_node(&mut self, node: NodeId) -> TunnelId {
        if let Some(place) = self.find(node) {
            return place;
        }
        let tunnel = Some(DatagramTunnel::new(node));
        let free = self.tunnels.iter().position(Option::is_none);
        let place = free.unwrap_or(self.tunnels.len());
        match self.tunnels.get_mut(place) {
            Some(free) => *free = tunnel,
            None => self.tunnels.push(tunnel),
        }
        TunnelId(place)
    }

    /// Forgets all tunnels but those to nodes that `keep` says yes to; no port may lead to the others any more.
    pub(crate) fn retain(&mut self, now: Instant, keep: impl Fn(&NodeId) -> bool) {
        for place in &mut self.tunnels {
            let Some(tunnel) = place.take_if(|tunnel| !keep(&tunnel.node())) else { continue };
            if let Some(id) = tunnel.connection() {
                self.quic.close(now, id, CLOSE, "no route leads here");
                self.dialled.remove(&id);
            }
        }
    }

    /// The tunnel, if it is not forgotten, and the connections, which all that is done with it needs.
    pub(crate) fn get(&mut self, id: TunnelId) -> Option<(&mut DatagramTunnel, &mut Quic)> {
        Some((self.tunnels.get_mut(id.0)?.as_mut()?, &mut self.quic))
    }

    /// The next datagram that has come, and the tunnel that has brought it.
    pub(crate) fn take(&mut self) -> Option<(&mut DatagramTunnel, Bytes)> {
        let (place, datagram) = loop {
            let (id, datagram) = self.quic.take()?;
            if let Some(Dialled::Stands { tunnel: Some(place), .. }) = self.dialled.get(&id) {
                break (*place, datagram);
            }
            // What comes on a connection that carries nothing is nobody's.
            self.strays += 1;
        };
        // A tunnel is not forgotten before its connection.
        self.tunnels.get_mut(place.0)?.as_mut().map(|tunnel| (tunnel, datagram))
    }

    /// Tells who waits of what became of connections.
    pub(crate) fn tell(&mut self, now: Instant) {
        for change in self.quic.take_changes() {
            match change {
                Change::Connected(id) => self.connected(now, id),
                Change::Lost(id, why, counted) => match self.dialled.remove(&id) {
                    // That nobody waits any more is fine.
                    Some(Dialled::Calling { address, caller }) => {
                        let _ = caller.send(Err(DialError::Refused { address, source: why }));
                    }
                    Some(Dialled::Stands { over, tunnel }) => {
                        if let Some(tunnel) = tunnel.and_then(|place| self.tunnels[place.0].as_mut())
                            && tunnel.connection() == Some(id)
                        {
                            tunnel.down(counted);
                        }
                        let _ = over.send(why);
                    }
                    None => {}
                },
            }
        }
    }

    fn connected(&mut self, now: Instant, id: ConnectionId) {
        let Some(Dialled::Calling { caller, .. }) = self.dialled.remove(&id) else { return };
        let (over, told) = oneshot::channel();
        if caller.send(Ok(Reached { id, over: told })).is_ok() {
            self.dialled.insert(id, Dialled::Stands { over, tunnel: None });
        } else {
            self.quic.close(now, id, CLOSE, "another was quicker");
        }
    }

    /// Ends what nobody holds any more; call once a second.
    pub(crate) fn end_unheld(&mut self, now: Instant) {
        let (quic, tunnels) = (&mut self.quic, &mut self.tunnels);
        self.dialled.retain(|id, dialled| {
            let (held, tunnel) = match dialled {
                Dialled::Calling { caller, .. } => (!caller.is_closed(), None),
                Dialled::Stands { over, tunnel } => (!over.is_closed(), *tunnel),
            };
            if !held {
                if let Some(tunnel) = tunnel.and_then(|place| tunnels[place.0].as_mut())
                    && tunnel.connection() == Some(*id)
                {
                    tunnel.down(quic.counts(*id).unwrap_or_default());
                }
                quic.close(now, *id, CLOSE, "not needed");
            }
            held
        });
    }

    /// Gives up parts that came too long ago; says what was given up since the last time.
    pub(crate) fn expire(&mut self, now: Instant) -> impl Iterator<Item = GivenUp> {
        self.tunnels.iter_mut().flatten().map(move |tunnel| tunnel.expire(now))
    }

    /// What came since the last call and was of no tunnel: QUIC packets of no connection, and datagrams on connections that
    /// carry nothing.
    pub(crate) fn take_strays(&mut self) -> u64 {
        self.quic.take_strays() + std::mem::take(&mut self.strays)
    }

    /// Looks at each; call once a second.
    pub(crate) fn look(&mut self) -> impl Iterator<Item = Look> {
        let quic = &mut self.quic;
        let places = self.tunnels.iter_mut().enumerate();
        places.filter_map(|(place, tunnel)| {
            let tunnel = tunnel.as_mut()?;
            let news = tunnel.news(quic);
            Some(Look { tunnel: TunnelId(place), news, condition: tunnel.condition(quic) })
        })
    }

    /// Ends all connections, and says so to the agents.
    pub(crate) fn end(&mut self, now: Instant) {
        for id in self.dialled.drain().map(|(id, _)| id) {
            self.quic.close(now, id, CLOSE, "edge is shutting down");
        }
        self.quic.flush(now);
        self.quic.abandon();
    }
}
