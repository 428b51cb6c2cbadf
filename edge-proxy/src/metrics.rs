//! Every metric of the edge: name, unit and description in one place.
//!
//! Handles are made once, so that the hot loop adds to a number and looks nothing up. They count into
//! whatever recorder is installed when the edge starts, and into nothing if there is none.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};

use crate::drops::DropReason;

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
}

/// The handles.
#[derive(Clone)]
pub(crate) struct Metrics {
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
}

impl Metrics {
    /// Handles into the recorder installed now.
    pub(crate) fn new() -> Self {
        Self {
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
        }
    }

    /// One drop.
    pub(crate) fn drop(&self, reason: DropReason) {
        self.drops[reason as usize].increment(1);
    }

    /// One UDP packet of `bytes` to its server.
    pub(crate) fn to_server(&self, bytes: usize) {
        self.packets_to_server.increment(1);
        self.bytes_to_server.increment(bytes as u64);
    }

    /// One UDP packet of `bytes` to its client.
    pub(crate) fn to_client(&self, bytes: usize) {
        self.packets_to_client.increment(1);
        self.bytes_to_client.increment(bytes as u64);
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
