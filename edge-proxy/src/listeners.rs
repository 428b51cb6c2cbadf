//! The listeners that are open, brought to what a route table says: closes what is over, opens what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use muster_protocol::edge::RouteFailure;
use tracing::{info, warn};

use crate::handover::{Handed, Players};
use crate::routes::{Protocol, Route, RouteKey, RouteTable, changes, listener_failure};
use crate::sockets::{bind_tcp, bind_udp};
use crate::stream::{StreamListener, StreamSetup};
use crate::traffic::Traffic;
use crate::udp::UdpWorkers;

/// How long an edge that is to take over waits for its tunnels: players wait for nothing meanwhile.
const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// What is open, and what is needed to open more.
pub(crate) struct Listeners {
    listen_ip: IpAddr,
    udp: UdpWorkers,
    streams: Arc<StreamSetup>,
    traffic: Arc<Traffic>,
    open: BTreeMap<RouteKey, Arc<Route>>,
    accepting: BTreeMap<RouteKey, StreamListener>,
    // Those that failed when last tried, so that trying again says nothing new twice.
    failing: BTreeSet<RouteKey>,
    // Of the edge before, until the first table has been followed.
    inherited: (BTreeMap<u16, UdpSocket>, BTreeMap<u16, TcpListener>),
}

impl Listeners {
    /// Nothing open yet.
    pub(crate) fn new(
        listen_ip: IpAddr,
        udp: UdpWorkers,
        streams: Arc<StreamSetup>,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self {
            listen_ip,
            udp,
            streams,
            traffic,
            open: BTreeMap::new(),
            accepting: BTreeMap::new(),
            failing: BTreeSet::new(),
            inherited: Default::default(),
        }
    }

    /// Dials the agents of `table`, and waits until all are reached, or have not been for long enough.
    pub(crate) async fn dial(&mut self, table: &RouteTable) {
        self.streams.tunnels.follow(&table.agents());
        self.udp.follow(table).await;
        if tokio::time::timeout(DIAL_PATIENCE, self.udp.reached()).await.is_err() {
            warn!("not every agent is reached; taking over all the same");
        }
    }

    /// Begins, with the sockets and players of the edge before, and what is on disk. To be called once, before any table is
    /// followed.
    pub(crate) async fn begin(
        &mut self,
        udp: BTreeMap<u16, UdpSocket>,
        tcp: BTreeMap<u16, TcpListener>,
        players: Players,
    ) {
        self.inherited = (udp, tcp);
        self.udp.take_up(players).await;
    }

    /// Stands still: what comes waits in the sockets, which are returned once more, with what is known of players.
    pub(crate) async fn freeze(&mut self) -> Handed {
        let mut tcp = BTreeMap::new();
        for (key, listener) in &mut self.accepting {
            match listener.pause().await {
                Ok(socket) => drop(tcp.insert(key.port, socket)),
                Err(error) => warn!(route = %key, %error, "the socket cannot be handed over"),
            }
        }
        let (udp, players) = self.udp.freeze().await;
        Handed { udp, tcp, beacon: None, players }
    }

    /// Goes on after [`Listeners::freeze`].
    pub(crate) async fn resume(&mut self) {
        self.udp.resume().await;
        self.accepting.values_mut().for_each(StreamListener::resume);
    }

    /// Leaves the sockets to the next edge for good. Connections go on, and what comes on the tunnels is passed on.
    pub(crate) async fn release(&mut self) {
        self.udp.release().await;
        self.accepting.values_mut().for_each(StreamListener::release);
    }

    /// Returns when, after [`Listeners::release`], nothing goes on here any more, or `longest` has passed. By the time
    /// that a flow may be `idle` each that lives has gone over to the next edge. When `alone`, which is when the next edge is
    /// gone, UDP ends at once: whoever is started in its place is to have the ports.
    pub(crate) async fn drained(
        &mut self,
        longest: Duration,
        idle: Duration,
        alone: impl Future<Output = ()>,
    ) {
        let has_udp = self.open.keys().any(|key| key.protocol == Protocol::Udp);
        let flows = tokio::time::sleep(if has_udp { idle } else { Duration::ZERO });
        let connections = self.streams.connections.clone();
        connections.close();
        let udp = &mut self.udp;
        let flows = async {
            tokio::select! {
                () = flows => {}
                () = alone => info!("the next edge is gone; the UDP ports are for whoever comes in its place"),
            }
            udp.shutdown().await;
        };
        if tokio::time::timeout(longest, async { tokio::join!(flows, connections.wait()) }).await.is_err() {
            warn!(connections = connections.len(), "connections end: drain_timeout_s is over");
        }
    }

    /// Listeners open now.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Serves exactly the routes of `table`. Returns those that could not be served; the others are.
    pub(crate) async fn follow(&mut self, table: &RouteTable) -> Vec<RouteFailure> {
        let changes = changes(&self.open, table.routes());
        for key in changes.close {
            self.close(key).await;
        }
        self.streams.tunnels.follow(&table.agents());
        self.udp.follow(table).await;
        let mut failures = Vec::new();
        let failed_before = std::mem::take(&mut self.failing);
        for route in changes.open {
            match self.open(&route).await {
                Ok(()) => {
                    info!(route = %route.key, server = %route.server, "listening");
                    self.open.insert(route.key, route);
                }
                Err(failure) => {
                    if !failed_before.contains(&route.key) {
                        let RouteFailure { code, detail, .. } = &failure;
                        warn!(route = %route.key, code, detail, "not listening; trying again until it is free");
                    }
                    self.failing.insert(route.key);
                    failures.push(failure);
                }
            }
        }
        self.inherited = Default::default();
        self.traffic.retain(|server| table.routes().values().any(|route| route.server == *server));
        failures
    }

    /// Closes everything. Flows stand at the agents; connections end.
    pub(crate) async fn shutdown(mut self) {
        while let Some((_, listener)) = self.accepting.pop_first() {
            listener.close().await;
        }
        self.streams.connections.close();
        self.streams.connections.wait().await;
        self.udp.shutdown().await;
    }

    async fn open(&mut self, route: &Arc<Route>) -> Result<(), RouteFailure> {
        let address = SocketAddr::new(self.listen_ip, route.key.port);
        let counters = self.traffic.of(route.server);
        match route.key.protocol {
            Protocol::Udp => {
                let inherited = self.inherited.0.remove(&address.port());
                let socket = inherited
                    .filter(|socket| socket.local_addr().is_ok_and(|local| local == address))
                    .map_or_else(|| bind_udp(address), Ok)
                    .map_err(|error| listener_failure(route, error.code(), error.to_string()))?;
                self.udp.open(route.clone(), counters, socket).await;
            }
            Protocol::Tcp | Protocol::WebSocket => {
                let inherited = self.inherited.1.remove(&address.port());
                let listener = inherited
                    .filter(|socket| socket.local_addr().is_ok_and(|local| local == address))
                    .map_or_else(|| bind_tcp(address), Ok)
                    .map_err(|error| listener_failure(route, error.code(), error.to_string()))?;
                let listener = StreamListener::start(&self.streams, route.clone(), counters, listener)
                    .map_err(|error| listener_failure(route, "port_unavailable", error.to_string()))?;
                self.accepting.insert(route.key, listener);
            }
        }
        Ok(())
    }

    async fn close(&mut self, key: RouteKey) {
        let Some(route) = self.open.remove(&key) else { return };
        match key.protocol {
            Protocol::Udp => self.udp.close(&route).await,
            Protocol::Tcp | Protocol::WebSocket => {
                if let Some(listener) = self.accepting.remove(&key) {
                    listener.close().await;
                }
            }
        }
        info!(route = %key, "no longer listening");
    }
}
