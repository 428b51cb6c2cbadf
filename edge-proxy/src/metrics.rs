//! Every metric of the edge: name, unit and description in one place.
//!
//! Handles are made once, so that nothing is looked up. They count into
//! whatever recorder is installed when the edge starts, and into nothing if there is none. No label names a
//! server or an agent: those come and go, and their series would stay. What concerns one of them is in the reports
//! to the orchestrator (`traffic`).
//!
//! Packets, bytes and drops are counted elsewhere (`tally`); the recorder hears of them when it is about to be scraped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::drops::DropReason;
use crate::tally::{AllCounts, Tally};

const PACKETS: &str = "muster_edge_packets_total";
const BYTES: &str = "muster_edge_bytes_total";
const DROPS: &str = "muster_edge_drops_total";
const FLOWS: &str = "muster_edge_flows";
const CONNECTIONS: &str = "muster_edge_connections";
const ROUTES: &str = "muster_edge_routes";
const LISTENER_FAILURES: &str = "muster_edge_listener_failures";
const TUNNELS: &str = "muster_edge_tunnels";
const LINK_UP: &str = "muster_edge_link_up";
const BEACONS: &str = "muster_edge_beacons_total";
const REBINDS: &str = "muster_edge_flow_rebinds_total";
const RESTORED: &str = "muster_edge_flows_restored_total";
const INFO: &str = "muster_edge_info";
const ADDED: &str = "muster_edge_added_latency_seconds";
const QUEUE: &str = "muster_edge_tunnel_queue_seconds";
const RTT: &str = "muster_edge_tunnel_rtt_seconds";
const QUIC_SENT: &str = "muster_edge_tunnel_packets_sent_total";
const QUIC_LOST: &str = "muster_edge_tunnel_packets_lost_total";

/// Tells the installed recorder the units and descriptions. Call once per process, after installing it.
pub(crate) fn describe() {
    describe_counter!(PACKETS, Unit::Count, "UDP packets passed on, by direction (to_server, to_client)");
    describe_counter!(BYTES, Unit::Bytes, "Payload bytes of UDP packets passed on, by direction");
    describe_counter!(DROPS, Unit::Count, "Packets, flows and connections not passed on, by reason");
    describe_gauge!(FLOWS, Unit::Count, "UDP flows now");
    describe_gauge!(CONNECTIONS, Unit::Count, "TCP and WebSocket connections now");
    describe_gauge!(ROUTES, Unit::Count, "Routes whose listener is open");
    describe_gauge!(LISTENER_FAILURES, Unit::Count, "Routes that cannot be served");
    describe_gauge!(
        TUNNELS,
        Unit::Count,
        "Tunnel connections to agents that stand, by kind (datagrams, streams)"
    );
    describe_gauge!(LINK_UP, Unit::Count, "1 while the link to an orchestrator stands");
    describe_counter!(BEACONS, Unit::Count, "Latency beacons answered");
    describe_counter!(REBINDS, Unit::Count, "Flows that moved to a new client address with their token");
    describe_counter!(RESTORED, Unit::Count, "Flows of the process before that went on after a restart");
    describe_gauge!(INFO, Unit::Count, "1; its labels say which edge this is, of which region and version");
    describe_histogram!(
        ADDED,
        Unit::Seconds,
        "From receiving a UDP packet to its having left, of those measured, by direction"
    );
    describe_histogram!(
        QUEUE,
        Unit::Seconds,
        "From giving a UDP packet to the tunnel to its having left, of those measured"
    );
    describe_histogram!(
        RTT,
        Unit::Seconds,
        "Round trip to an agent, of each tunnel of datagrams once a second"
    );
    describe_counter!(QUIC_SENT, Unit::Count, "QUIC packets sent to agents by tunnels of datagrams");
    describe_counter!(QUIC_LOST, Unit::Count, "Those of them that never arrived");
}

/// Says in the installed recorder which edge this is, so that its figures can be summed by region.
pub(crate) fn introduce(edge: &str, region: &str) {
    let labels = [
        ("edge", edge.to_owned()),
        ("region", region.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    gauge!(INFO, &labels).set(1.0);
}

/// The handles.
#[derive(Clone)]
pub(crate) struct Metrics {
    counts: Arc<AllCounts>,
    // Of these the recorder knows.
    told: Arc<Mutex<Tally>>,
    drops: Vec<Counter>,
    packets_to_server: Counter,
    packets_to_client: Counter,
    bytes_to_server: Counter,
    bytes_to_client: Counter,
    pub(crate) flows: Gauge,
    pub(crate) connections: Gauge,
    pub(crate) routes: Gauge,
    pub(crate) listener_failures: Gauge,
    pub(crate) datagram_tunnels: Gauge,
    pub(crate) stream_tunnels: Gauge,
    pub(crate) link_up: Gauge,
    pub(crate) beacons: Counter,
    pub(crate) rebinds: Counter,
    pub(crate) restored: Counter,
    pub(crate) tunnel_rtt: Histogram,
    pub(crate) tunnel_queue: Histogram,
    added_to_server: Histogram,
    added_to_client: Histogram,
    tunnel_sent: Counter,
    tunnel_lost: Counter,
}

impl Metrics {
    /// Handles into the recorder installed now.
    pub(crate) fn new() -> Self {
        Self {
            counts: Arc::default(),
            told: Arc::default(),
            drops: DropReason::ALL
                .iter()
                .map(|reason| counter!(DROPS, "reason" => reason.as_str()))
                .collect(),
            packets_to_server: counter!(PACKETS, "direction" => "to_server"),
            packets_to_client: counter!(PACKETS, "direction" => "to_client"),
            bytes_to_server: counter!(BYTES, "direction" => "to_server"),
            bytes_to_client: counter!(BYTES, "direction" => "to_client"),
            flows: gauge!(FLOWS),
            connections: gauge!(CONNECTIONS),
            routes: gauge!(ROUTES),
            listener_failures: gauge!(LISTENER_FAILURES),
            datagram_tunnels: gauge!(TUNNELS, "kind" => "datagrams"),
            stream_tunnels: gauge!(TUNNELS, "kind" => "streams"),
            link_up: gauge!(LINK_UP),
            beacons: counter!(BEACONS),
            rebinds: counter!(REBINDS),
            restored: counter!(RESTORED),
            tunnel_rtt: histogram!(RTT),
            tunnel_queue: histogram!(QUEUE),
            added_to_server: histogram!(ADDED, "direction" => "to_server"),
            added_to_client: histogram!(ADDED, "direction" => "to_client"),
            tunnel_sent: counter!(QUIC_SENT),
            tunnel_lost: counter!(QUIC_LOST),
        }
    }

    /// One drop that is no UDP worker's.
    pub(crate) fn drop(&self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// So many of them.
    pub(crate) fn drop_many(&self, reason: DropReason, count: u64) {
        self.counts.shared.drop_many(reason, count);
    }

    /// All that is counted, which goes on to be.
    pub(crate) fn counts(&self) -> Arc<AllCounts> {
        self.counts.clone()
    }

    /// Tells the recorder what was counted since this was last called.
    pub(crate) fn tell_counts(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.counts.sum();
        let news = now.since(&told);
        *told = now;
        self.packets_to_server.increment(news.to_servers.packets);
        self.bytes_to_server.increment(news.to_servers.bytes);
        self.packets_to_client.increment(news.to_clients.packets);
        self.bytes_to_client.increment(news.to_clients.bytes);
        for (reason, count) in news.drops() {
            self.drops[reason as usize].increment(count);
        }
    }

    /// A packet to its server was here for as long.
    pub(crate) fn added_to_server(&self, measured: Duration) {
        self.added_to_server.record(measured);
    }

    /// A packet to its client was here for as long.
    pub(crate) fn added_to_client(&self, measured: Duration) {
        self.added_to_client.record(measured);
    }

    /// So many QUIC packets more were sent to agents, and so many of those sent were lost.
    pub(crate) fn tunnel_packets(&self, sent: u64, lost: u64) {
        self.tunnel_sent.increment(sent);
        self.tunnel_lost.increment(lost);
    }
}

/// One more in a gauge for as long as it is held.
pub(crate) struct Standing(Gauge);

impl Standing {
    /// Counts one more in `gauge` from now on.
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use metrics::{Key, KeyName, Metadata, Recorder, SharedString, with_local_recorder};

    use super::*;
    use crate::tally::Passed;

    /// Counters by name and label.
    #[derive(Default)]
    struct Counted(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Recorder for Counted {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            let labels = key.labels().map(|label| label.value().to_owned());
            let name = [key.name().to_owned()].into_iter().chain(labels).collect::<Vec<_>>().join(" ");
            Counter::from_arc(self.0.lock().unwrap().entry(name).or_default().clone())
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    impl Counted {
        fn of(&self, name: &str) -> u64 {
            self.0.lock().unwrap()[name].load(Relaxed)
        }
    }

    #[test]
    fn the_recorder_hears_of_all_workers_and_of_each_count_once() {
        let recorder = Counted::default();
        // Two edges of one process count into the same.
        let [one, other] = with_local_recorder(&recorder, || [Metrics::new(), Metrics::new()]);
        let tally = Tally { to_servers: Passed::one(100), to_clients: Passed::one(7), ..Tally::default() };
        one.counts().of_new_worker().publish(&tally);
        one.counts().of_new_worker().publish(&tally);
        one.drop_many(DropReason::Denied, 3);
        other.drop(DropReason::Denied);
        for _ in 0..2 {
            one.tell_counts();
            other.tell_counts();
        }
        assert_eq!(recorder.of("muster_edge_packets_total to_server"), 2);
        assert_eq!(recorder.of("muster_edge_bytes_total to_server"), 200);
        assert_eq!(recorder.of("muster_edge_bytes_total to_client"), 14);
        assert_eq!(recorder.of("muster_edge_drops_total denied"), 4);
        assert_eq!(recorder.of("muster_edge_drops_total unproven"), 0);
    }
}
