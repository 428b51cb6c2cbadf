//! The listeners that are open, brought to what a route table says: closes what is over, opens what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use muster_protocol::edge::RouteFailure;
use tracing::{info, warn};

use crate::routes::{Protocol, Route, RouteKey, RouteTable, changes, listener_failure};
use crate::sockets::{bind_tcp, bind_udp};
use crate::stream::{StreamListener, StreamSetup};
use crate::traffic::Traffic;
use crate::udp::UdpWorker;

/// What is open, and what is needed to open more.
pub(crate) struct Listeners {
    listen_ip: IpAddr,
    udp: UdpWorker,
    streams: Arc<StreamSetup>,
    traffic: Arc<Traffic>,
    open: BTreeMap<RouteKey, Arc<Route>>,
    accepting: BTreeMap<RouteKey, StreamListener>,
    // Those that failed when last tried, so that trying again says nothing new twice.
    failing: BTreeSet<RouteKey>,
}

impl Listeners {
    /// Nothing open yet.
    pub(crate) fn new(
        listen_ip: IpAddr,
        udp: UdpWorker,
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
        let agents = table.agents();
        self.streams.tunnels.follow(&agents);
        self.udp.follow(agents).await;
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
                let socket = bind_udp(address)
                    .map_err(|error| listener_failure(route, error.code(), error.to_string()))?;
                self.udp.open(route.clone(), counters, socket).await;
            }
            Protocol::Tcp | Protocol::WebSocket => {
                let listener = bind_tcp(address)
                    .map_err(|error| listener_failure(route, error.code(), error.to_string()))?;
                let listener = StreamListener::start(&self.streams, route.clone(), counters, listener)
                    .map_err(|error| listener_failure(route, "port_unavailable", error.to_string()))?;
                self.accepting.insert(route.key, listener);
            }
        }
        Ok(())
    }

    async fn close(&mut self, key: RouteKey) {
        self.open.remove(&key);
        match key.protocol {
            Protocol::Udp => self.udp.close(key.port).await,
            Protocol::Tcp | Protocol::WebSocket => {
                if let Some(listener) = self.accepting.remove(&key) {
                    listener.close().await;
                }
            }
        }
        info!(route = %key, "no longer listening");
    }
}
