//! Holding what comes against the limits: per address, network, token and server. Pure: no clock, no I/O.
//!
//! Each who decides has a guard of its own: each UDP worker, and all TCP and WebSocket listeners together. A server and the
//! flows to it are one worker's, and so are what is used of their limits. Addresses and networks may send to servers
//! of several; what these have used is one memory of all workers ([`Sources`]), so that a rate is the same however many workers
//! there are. An address is told apart by itself and never by its port: a source has 65,535 of those. Who is on
//! the `allow` list is held to the limits of tokens and servers only.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Cache};
use muster_protocol::flow::FlowId;
use muster_protocol::id::ServerId;

use super::buckets::{Buckets, Cost, Over};
use super::{Limits, Rates};
use crate::drops::DropReason;

/// Addresses, networks, tokens and servers told apart; see [`super::buckets`] for what happens beyond.
const ADDRESSES: usize = 65_536;
const NETWORKS: usize = 16_384;
const TOKENS: usize = 65_536;
const SERVERS: usize = 4_096;

/// What a flow costs by beginning.
const NEW_FLOW: Cost = Cost { packets: 0, bytes: 0, new_flows: 1 };

/// What a limit is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Address,
    Network,
    Token,
    Server,
}

/// What addresses and networks have used of their limits; clones are one memory.
#[derive(Clone)]
pub(crate) struct Sources {
    addresses: Arc<Buckets>,
    networks: Arc<Buckets>,
}

impl Sources {
    /// Nothing yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self::telling_apart(ADDRESSES, NETWORKS, now)
    }

    fn telling_apart(addresses: usize, networks: usize, now: Instant) -> Self {
        let memory = |places| Arc::new(Buckets::new(places, now));
        Self { addresses: memory(addresses), networks: memory(networks) }
    }
}

/// The limits, and what was used of them.
pub(crate) struct Guard {
    limits: Cache<Arc<ArcSwap<Limits>>, Arc<Limits>>,
    sources: Sources,
    tokens: Buckets,
    servers: Buckets,
}

impl Guard {
    /// Holds to whatever `limits` are at the time, by itself.
    pub(crate) fn new(limits: Arc<ArcSwap<Limits>>, now: Instant) -> Self {
        Self::beside(Sources::new(now), limits, now)
    }

    /// As [`Guard::new`], but together with others that have the same `sources`.
    pub(crate) fn beside(sources: Sources, limits: Arc<ArcSwap<Limits>>, now: Instant) -> Self {
        let (tokens, servers) = (Buckets::new(TOKENS, now), Buckets::new(SERVERS, now));
        Self { limits: Cache::new(limits), sources, tokens, servers }
    }

    /// As [`Guard::new`], for another number of addresses, networks, tokens and servers: less memory to make.
    pub(crate) fn telling_apart(
        [addresses, networks, tokens, servers]: [usize; 4],
        limits: Arc<ArcSwap<Limits>>,
        now: Instant,
    ) -> Self {
        Self {
            limits: Cache::new(limits),
            sources: Sources::telling_apart(addresses, networks, now),
            tokens: Buckets::new(tokens, now),
            servers: Buckets::new(servers, now),
        }
    }

    /// A packet of `bytes` has come from `source`.
    pub(crate) fn packet(&mut self, now: Instant, source: IpAddr, bytes: usize) -> Result<(), DropReason> {
        self.source(now, source, Cost::packet(bytes))
    }

    /// That packet is of `flow`, to `server`.
    pub(crate) fn of_flow(
        &mut self,
        now: Instant,
        flow: FlowId,
        server: impl FnOnce() -> Option<ServerId>,
        bytes: usize,
    ) -> Result<(), DropReason> {
        let limits = self.limits.load();
        let cost = Cost::packet(bytes);
        take(&self.tokens, now, flow, &limits.token, cost, Of::Token)?;
        if limits.server == Rates::default() {
            return Ok(());
        }
        server().map_or(Ok(()), |server| take(&self.servers, now, server, &limits.server, cost, Of::Server))
    }

    /// `flow` is about to begin from `source` to `server`, or moves there.
    pub(crate) fn new_flow(
        &mut self,
        now: Instant,
        source: IpAddr,
        flow: FlowId,
        server: ServerId,
    ) -> Result<(), DropReason> {
        self.newcomer(now, source)?;
        self.newcomer_is(now, flow, server)
    }

    /// Something new has come from `source`, which has yet to say what it is.
    pub(crate) fn newcomer(&mut self, now: Instant, source: IpAddr) -> Result<(), DropReason> {
        self.source(now, source, NEW_FLOW)
    }

    /// That is `flow`, to `server`.
    pub(crate) fn newcomer_is(
        &mut self,
        now: Instant,
        flow: FlowId,
        server: ServerId,
    ) -> Result<(), DropReason> {
        let limits = self.limits.load();
        take(&self.tokens, now, flow, &limits.token, NEW_FLOW, Of::Token)?;
        take(&self.servers, now, server, &limits.server, NEW_FLOW, Of::Server)
    }

    /// A piece of `bytes` has come on the connection of `flow` from `source` to `server`. It counts as a packet, but
    /// cannot be left out: if it is too much for one of the limits, nothing is taken of any, and it is to be asked for
    /// again after as long as is returned. Who is denied is not looked at here.
    pub(crate) fn piece(
        &mut self,
        now: Instant,
        source: IpAddr,
        flow: FlowId,
        server: ServerId,
        bytes: usize,
    ) -> Result<(), Duration> {
        let limits = self.limits.load();
        let (cost, source) = (Cost::packet(bytes), source.to_canonical());
        let network = network(source);
        let unlimited = Rates::default();
        let (of_address, of_network) = if limits.allow.has(source) {
            (&unlimited, &unlimited)
        } else {
            (&limits.address, &limits.network)
        };
        let waits = [
            self.sources.addresses.wait(now, source, of_address, cost),
            self.sources.networks.wait(now, network, of_network, cost),
            self.tokens.wait(now, flow, &limits.token, cost),
            self.servers.wait(now, server, &limits.server, cost),
        ];
        if let Some(longest) = waits.into_iter().flatten().max() {
            return Err(longest);
        }
        let taken = [
            self.sources.addresses.take(now, source, of_address, cost),
            self.sources.networks.take(now, network, of_network, cost),
            self.tokens.take(now, flow, &limits.token, cost),
            self.servers.take(now, server, &limits.server, cost),
        ];
        debug_assert!(
            taken.iter().all(Result::is_ok),
            "each was there a moment ago, and connections share with nobody"
        );
        Ok(())
    }

    fn source(&mut self, now: Instant, source: IpAddr, cost: Cost) -> Result<(), DropReason> {
        let limits = self.limits.load();
        if !limits.any || limits.allow.has(source) {
            return Ok(());
        }
        if limits.deny.has(source) {
            return Err(DropReason::Denied);
        }
        let source = source.to_canonical();
        take(&self.sources.addresses, now, source, &limits.address, cost, Of::Address)?;
        take(&self.sources.networks, now, network(source), &limits.network, cost, Of::Network)
    }
}

fn take(
    buckets: &Buckets,
    now: Instant,
    key: impl std::hash::Hash,
    rates: &Rates,
    cost: Cost,
    of: Of,
) -> Result<(), DropReason> {
    buckets.take(now, key, rates, cost).map_err(|over| reason(of, over))
}

/// The /24 of an IPv4 address, the /64 of an IPv6 address.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 0])
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
    }
}

fn reason(of: Of, over: Over) -> DropReason {
    match (of, over) {
        (Of::Address, Over::Packets) => DropReason::AddressPackets,
        (Of::Address, Over::Bytes) => DropReason::AddressBytes,
        (Of::Address, Over::NewFlows) => DropReason::AddressNewFlows,
        (Of::Network, Over::Packets) => DropReason::NetworkPackets,
        (Of::Network, Over::Bytes) => DropReason::NetworkBytes,
        (Of::Network, Over::NewFlows) => DropReason::NetworkNewFlows,
        (Of::Token, Over::Packets) => DropReason::TokenPackets,
        (Of::Token, Over::Bytes) => DropReason::TokenBytes,
        (Of::Token, Over::NewFlows) => DropReason::TokenNewFlows,
        (Of::Server, Over::Packets) => DropReason::ServerPackets,
        (Of::Server, Over::Bytes) => DropReason::ServerBytes,
        (Of::Server, Over::NewFlows) => DropReason::ServerNewFlows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::edge as wire;

    fn guard(limits: wire::EdgeLimits) -> (Guard, Arc<ArcSwap<Limits>>, Instant) {
        let now = Instant::now();
        let limits = Arc::new(ArcSwap::from_pointee(Limits::from_wire(&limits).unwrap()));
        (Guard::new(limits.clone(), now), limits, now)
    }

    fn packets(packets_per_s: u32) -> wire::Rates {
        wire::Rates { packets_per_s, ..Default::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_one_whatever_its_form_and_a_network_is_shared() {
        let limits =
            wire::EdgeLimits { address: Some(packets(2)), network: Some(packets(3)), ..Default::default() };
        let (mut guard, _, now) = guard(limits);
        assert_eq!(guard.packet(now, ip("10.0.0.1"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("::ffff:10.0.0.1"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("10.0.0.1"), 9), Err(DropReason::AddressPackets));
        assert_eq!(guard.packet(now, ip("10.0.0.2"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("10.0.0.3"), 9), Err(DropReason::NetworkPackets));
        assert_eq!(guard.packet(now, ip("10.0.1.3"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("2001:db8::1"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("2001:db8::2"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("2001:db8::3"), 9), Ok(()));
        assert_eq!(guard.packet(now, ip("2001:db8::4"), 9), Err(DropReason::NetworkPackets));
    }

    #[test]
    fn workers_hold_an_address_to_its_rate_together_and_a_server_each_to_its_own() {
        let rates = Some(packets(10));
        let (_, limits, now) = guard(wire::EdgeLimits { address: rates, ..Default::default() });
        let sources = Sources::new(now);
        let mut workers: Vec<_> =
            (0..4).map(|_| Guard::beside(sources.clone(), limits.clone(), now)).collect();
        let passed = workers
            .iter_mut()
            .map(|worker| (0..50).filter(|_| worker.packet(now, ip("10.0.0.1"), 9).is_ok()).count());
        assert_eq!(passed.sum::<usize>(), 10);
        let of_server = wire::EdgeLimits { server: rates, ..Default::default() };
        limits.store(Arc::new(Limits::from_wire(&of_server).unwrap()));
        for worker in &mut workers {
            let server = ServerId::new();
            let passed = (0..50).filter(|_| worker.of_flow(now, FlowId(1), || Some(server), 9).is_ok());
            assert_eq!(passed.count(), 10);
        }
    }

    #[test]
    fn threads_that_count_at_once_let_no_more_through() {
        let (_, limits, now) =
            guard(wire::EdgeLimits { address: Some(packets(1_000)), ..Default::default() });
        let sources = Sources::new(now);
        let passed = || {
            let mut worker = Guard::beside(sources.clone(), limits.clone(), now);
            (0..2_000).filter(|_| worker.packet(now, ip("10.0.0.1"), 9).is_ok()).count()
        };
        let all: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(passed)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(all, 1_000);
    }

    #[test]
    fn allow_goes_before_deny_and_the_limits_of_sources() {
        let limits = wire::EdgeLimits {
            address: Some(packets(1)),
            deny: vec!["10.0.0.0/8".into()],
            allow: vec!["10.0.0.7".into()],
            ..Default::default()
        };
        let (mut guard, _, now) = guard(limits);
        assert_eq!(guard.packet(now, ip("10.0.0.8"), 9), Err(DropReason::Denied));
        assert_eq!(guard.newcomer(now, ip("10.0.0.8")), Err(DropReason::Denied));
        assert!((0..10).all(|_| guard.packet(now, ip("10.0.0.7"), 9).is_ok()));
    }

    #[test]
    fn a_token_and_a_server_have_limits_of_their_own() {
        let limits = wire::EdgeLimits {
            token: Some(wire::Rates { bytes_per_s: 100_000, ..Default::default() }),
            server: Some(wire::Rates { packets_per_s: 3, new_flows_per_s: 1, ..Default::default() }),
            ..Default::default()
        };
        let (mut guard, _, now) = guard(limits);
        let server = ServerId::new();
        assert_eq!(guard.of_flow(now, FlowId(1), || Some(server), 60_000), Ok(()));
        assert_eq!(guard.of_flow(now, FlowId(1), || Some(server), 60_000), Err(DropReason::TokenBytes));
        assert_eq!(guard.of_flow(now, FlowId(2), || Some(server), 60_000), Ok(()));
        assert_eq!(guard.of_flow(now, FlowId(3), || Some(server), 1), Ok(()));
        assert_eq!(guard.of_flow(now, FlowId(4), || Some(server), 1), Err(DropReason::ServerPackets));
        assert_eq!(guard.new_flow(now, ip("10.0.0.1"), FlowId(5), server), Ok(()));
        assert_eq!(guard.new_flow(now, ip("10.0.0.2"), FlowId(6), server), Err(DropReason::ServerNewFlows));
        assert_eq!(guard.new_flow(now, ip("10.0.0.2"), FlowId(6), ServerId::new()), Ok(()));
    }

    #[test]
    fn a_piece_that_waits_for_one_limit_uses_up_no_other() {
        let limits = wire::EdgeLimits {
            address: Some(packets(10)),
            network: Some(packets(10)),
            token: Some(packets(1)),
            server: Some(packets(10)),
            ..Default::default()
        };
        let (mut guard, _, now) = guard(limits);
        let (source, server) = (ip("10.0.0.1"), ServerId::new());
        assert_eq!(guard.piece(now, source, FlowId(1), server, 9), Ok(()));
        let waits = (0..100).map(|_| guard.piece(now, source, FlowId(1), server, 9));
        assert!(waits.into_iter().all(|wait| wait == Err(Duration::from_secs(1))));
        assert!((2..11).all(|flow| guard.piece(now, source, FlowId(flow), server, 9).is_ok()));
        let wait = guard.piece(now, source, FlowId(11), server, 9).expect_err("ten have passed");
        assert_eq!(guard.piece(now + wait, source, FlowId(11), server, 9), Ok(()));
    }

    #[test]
    fn pieces_of_who_is_allowed_are_held_to_tokens_and_servers_only() {
        let limits = wire::EdgeLimits {
            address: Some(packets(1)),
            network: Some(packets(1)),
            token: Some(packets(3)),
            allow: vec!["10.0.0.7".into()],
            ..Default::default()
        };
        let (mut guard, _, now) = guard(limits);
        let passed = |guard: &mut Guard, source| {
            (0..10).filter(|_| guard.piece(now, source, FlowId(1), ServerId::new(), 9).is_ok()).count()
        };
        assert_eq!(passed(&mut guard, ip("::ffff:10.0.0.7")), 3);
        assert_eq!(passed(&mut guard, ip("10.0.0.7")), 0);
    }

    #[test]
    fn new_limits_hold_from_the_next_packet_on() {
        let (mut guard, limits, now) = guard(wire::EdgeLimits::default());
        assert_eq!(guard.packet(now, ip("10.0.0.1"), 9), Ok(()));
        let denied = wire::EdgeLimits { deny: vec!["10.0.0.1".into()], ..Default::default() };
        limits.store(Arc::new(Limits::from_wire(&denied).unwrap()));
        assert_eq!(guard.packet(now, ip("10.0.0.1"), 9), Err(DropReason::Denied));
        limits.store(Arc::default());
        assert_eq!(guard.packet(now, ip("10.0.0.1"), 9), Ok(()));
    }
}
