//! Every metric of the edge: name, unit and description in one place.
//!
//! Handles are made once, so that the hot loop adds to a number and looks nothing up. They count into
//! whatever recorder is installed when the edge starts, and into nothing if there is none. No label names a
//! server or an agent: those come and go, and their series would stay. What concerns one of them is in the reports
//! to the orchestrator (`traffic`).

use std::sync::Arc;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};

use crate::drops::{DropCounts, DropReason};

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
    drops: Vec<Counter>,
    drop_counts: Arc<DropCounts>,
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
            drops: DropReason::ALL
                .iter()
                .map(|reason| counter!(DROPS, "reason" => reason.as_str()))
                .collect(),
            drop_counts: Arc::default(),
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

    /// One drop.
    pub(crate) fn drop(&self, reason: DropReason) {
        self.drop_many(reason, 1);
    }

    /// So many drops.
    pub(crate) fn drop_many(&self, reason: DropReason, count: u64) {
        self.drops[reason as usize].increment(count);
        self.drop_counts.add(reason, count);
    }

    /// All drops so far, which go on to be counted.
    pub(crate) fn drop_counts(&self) -> Arc<DropCounts> {
        self.drop_counts.clone()
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

    /// UDP packets to their servers.
    pub(crate) fn to_server(&self, passed: Passed) {
        self.packets_to_server.increment(passed.packets);
        self.bytes_to_server.increment(passed.bytes);
    }

    /// UDP packets to their clients.
    pub(crate) fn to_client(&self, passed: Passed) {
        self.packets_to_client.increment(passed.packets);
        self.bytes_to_client.increment(passed.bytes);
    }
}

/// Packets, or pieces of streams, that went on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// How many.
    pub(crate) packets: u64,
    /// Bytes of payload in all of them.
    pub(crate) bytes: u64,
}

impl Passed {
    /// One of `bytes`.
    pub(crate) fn one(bytes: usize) -> Self {
        Self { packets: 1, bytes: bytes as u64 }
    }

    /// One of `bytes` more.
    pub(crate) fn note(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
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
