//! What a worker does by the clock, beside its packets: forgets what is idle, and counts what was lost where no packet's way
//! passes.

use std::sync::Arc;
use std::time::Instant;

use muster_protocol::fragment::GivenUp;

use super::HotLoop;
use crate::clock::Now;
use crate::drops::DropReason;
use crate::traffic::Counters;
use crate::tunnel::{Condition, Look, TunnelId};

impl HotLoop {
    /// What is done every 50 ms: idle flows go, what is kept is brought up to date, and gauges are set.
    pub(crate) fn sweep(&mut self, now: Now) {
        self.forwarder.sweep(now.instant);
        self.kept.write(&self.forwarder.take_writes());
        self.kept.note_alive(now.unix_ms);
        // Other workers have theirs in the same gauge.
        let flows = self.forwarder.flows() as f64;
        self.metrics.flows.increment(flows - std::mem::replace(&mut self.flows_told, flows));
        self.metrics.rebinds.increment(self.forwarder.take_rebinds());
        self.metrics.restored.increment(self.forwarder.take_restored());
        self.count_missing_parts(now.instant);
        self.tell_agents(now.instant);
    }

    /// Says CLOSE for the flows that went.
    pub(crate) fn tell_agents(&mut self, now: Instant) {
        for (node, flow) in self.forwarder.take_gone() {
            let place = self.tunnels.find(node);
            if let Some((tunnel, quic)) = place.and_then(|place| self.tunnels.get(place)) {
                tunnel.close(quic, now, flow);
            }
        }
    }

    /// What is done once a second: counts what the system and QUIC have dropped by themselves. Says how those tunnels are
    /// that stand.
    pub(crate) fn look(&mut self) -> Vec<Condition> {
        for port in self.ports.values_mut() {
            // A buffer that has overflowed has been read from since.
            if !std::mem::take(&mut port.has_heard) {
                continue;
            }
            let lost = port.socket.take_overflow();
            port.counters.publish_drops(DropReason::PortFull, lost);
            self.turn.drop_many(DropReason::PortFull, lost);
        }
        self.turn.drop_many(DropReason::TunnelSocketFull, self.tunnels.quic.take_overflow());
        self.turn.drop_many(DropReason::TunnelStray, self.tunnels.take_strays());
        let looks: Vec<Look> = self.tunnels.look().collect();
        for Look { tunnel, news, .. } in &looks {
            self.metrics.tunnel_packets(news.sent, news.lost);
            self.count_of_tunnel(*tunnel, DropReason::TunnelFull, news.dropped);
            self.count_of_tunnel(*tunnel, DropReason::TunnelUnread, news.unread);
        }
        looks.into_iter().filter_map(|look| look.condition).collect()
    }

    fn count_missing_parts(&mut self, now: Instant) {
        for GivenUp { packets, flows } in self.tunnels.expire(now) {
            self.turn.drop_many(DropReason::PartsMissing, packets);
            for flow in flows {
                let port = self.forwarder.port_of(flow).and_then(|number| self.ports.get(number));
                if let Some(port) = port {
                    port.counters.publish_drops(DropReason::PartsMissing, 1);
                }
            }
        }
    }

    /// Counts what a tunnel lost; for its server, too, if there is only one: whose it was is not known.
    fn count_of_tunnel(&mut self, tunnel: TunnelId, reason: DropReason, count: u64) {
        if count == 0 {
            return;
        }
        self.turn.drop_many(reason, count);
        if let Some(server) = self.only_server_of(tunnel) {
            server.publish_drops(reason, count);
        }
    }

    fn only_server_of(&self, tunnel: TunnelId) -> Option<&Counters> {
        let mut servers = self.ports.values().filter(|port| port.tunnel == tunnel).map(|port| &port.counters);
        let first = servers.next()?;
        servers.all(|other| Arc::ptr_eq(first, other)).then_some(&**first)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use arc_swap::ArcSwap;
    use muster_transport::Quic;
    use socket2::SockRef;

    use super::*;
    use crate::limits::{Guard, Limits};
    use crate::metrics::Metrics;
    use crate::routes::{Proof, Protocol, Route, RouteKey};
    use crate::tally::Tally;
    use crate::traffic::Traffic;
    use crate::trust::Trust;
    use crate::tunnel::DatagramTunnels;
    use crate::udp::forward::Forwarder;
    use crate::udp::hot_loop::Port;
    use crate::udp::port::players_socket;

    const PORT: u16 = 20_000;
    const IDLE: Duration = Duration::from_mins(1);
    /// Many more than a small buffer holds.
    const SENT: u64 = 10_000;

    fn route() -> Route {
        Route::to_new_server(RouteKey { port: PORT, protocol: Protocol::Udp }, Proof::Preface)
    }

    #[test]
    fn a_packet_that_nobody_reads_is_counted_as_one_that_somebody_drops() {
        let (now, poll, route) = (Now::read(), mio::Poll::new().unwrap(), Arc::new(route()));
        let limits = Arc::new(ArcSwap::from_pointee(Limits::default()));
        let guard = Guard::new(limits, now.instant);
        let trust = Arc::new(ArcSwap::from_pointee(Trust::default()));
        let forwarder = Forwarder::new(trust, 1, IDLE, guard, now.instant);
        let tunnels = DatagramTunnels::new(Quic::dialling(poll.registry(), mio::Token(0)).unwrap());
        let metrics = Metrics::new();
        let (counts, traffic) = (metrics.counts(), Traffic::new(metrics.counts()));
        let mut hot_loop = HotLoop::new(forwarder, tunnels, metrics, now.instant);

        let (socket, client) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let address = socket.local_addr().unwrap();
        socket.set_nonblocking(true).unwrap();
        SockRef::from(&socket).set_recv_buffer_size(4_096).unwrap();
        let socket = players_socket(mio::net::UdpSocket::from_std(socket)).unwrap();
        let (tunnel, counters) = (hot_loop.tunnels.of_node(route.node), traffic.of(route.server));
        hot_loop.forwarder.open_port(now.instant, route, counters.clone());
        hot_loop.ports.insert(PORT, Port::new(socket, tunnel, counters));

        for _ in 0..SENT {
            client.send_to(b"let me in", address).unwrap();
        }
        while hot_loop.turn_in(now, PORT).is_ok() {}
        assert_eq!(counts.sum(), Tally::default(), "a turn is shown when it is over");
        hot_loop.look();
        hot_loop.flush(now.instant);
        let report = traffic.report();
        let told: Vec<_> = report.drops.iter().map(|drops| drops.reason.as_str()).collect();
        assert_eq!(told, ["unproven", "port_full"]);
        assert_eq!(report.drops.iter().map(|drops| drops.count).sum::<u64>(), SENT);
        assert_eq!(report.servers[0].drops, report.drops);
        hot_loop.look();
        hot_loop.flush(now.instant);
        assert_eq!(traffic.report(), report, "each is counted once");
    }
}
