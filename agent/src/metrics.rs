//! Every metric of the agent: names, units, descriptions. Handles are made once and kept, since looking
//! a metric up costs more than a packet may.

use metrics::{
    Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

const SERVERS: &str = "muster_agent_servers";
const PHASE_SECONDS: &str = "muster_agent_server_phase_seconds";
const LINK_UP: &str = "muster_agent_link_up";
const ENGINE_UP: &str = "muster_agent_docker_up";
const IMAGE_BYTES: &str = "muster_agent_image_received_bytes_total";
const SDK_REQUESTS: &str = "muster_agent_sdk_requests_total";
const SDK_REFUSED: &str = "muster_agent_sdk_connections_refused_total";
const TUNNELS: &str = "muster_agent_tunnel_connections";
const FLOWS: &str = "muster_agent_tunnel_flows";
const STREAMS: &str = "muster_agent_tunnel_streams";
const PACKETS: &str = "muster_agent_tunnel_packets_total";
const BYTES: &str = "muster_agent_tunnel_bytes_total";
const DROPPED: &str = "muster_agent_tunnel_packets_dropped_total";
const EVICTED: &str = "muster_agent_tunnel_flows_evicted_total";
const QUIC_SENT: &str = "muster_agent_tunnel_quic_packets_sent_total";
const QUIC_LOST: &str = "muster_agent_tunnel_quic_packets_lost_total";
const STREAM_BYTES: &str = "muster_agent_tunnel_stream_bytes_total";
const REFUSED: &str = "muster_agent_tunnel_refused_total";

/// Tells the recorder what each metric means. Called once per start; repeating it is harmless.
pub(crate) fn describe() {
    describe_gauge!(SERVERS, Unit::Count, "Servers this agent knows of, by state");
    describe_histogram!(PHASE_SECONDS, Unit::Seconds, "Time a starting server spent in a phase");
    describe_gauge!(LINK_UP, Unit::Count, "1 while the link to an orchestrator stands, else 0");
    describe_gauge!(ENGINE_UP, Unit::Count, "1 while the Docker engine answers, else 0");
    describe_counter!(IMAGE_BYTES, Unit::Bytes, "Bytes of images received from orchestrators");
    describe_counter!(SDK_REQUESTS, Unit::Count, "Requests to the SDK endpoint, by HTTP status");
    describe_counter!(SDK_REFUSED, Unit::Count, "Connections to the SDK endpoint over a bound");
    describe_gauge!(TUNNELS, Unit::Count, "Connections edges have to this agent's tunnel");
    describe_gauge!(FLOWS, Unit::Count, "UDP flows open");
    describe_gauge!(STREAMS, Unit::Count, "TCP and WebSocket connections open");
    describe_counter!(PACKETS, Unit::Count, "UDP packets carried, by direction (to_server, to_edge)");
    describe_counter!(BYTES, Unit::Bytes, "Payload of UDP packets carried, by direction");
    describe_counter!(DROPPED, Unit::Count, "UDP packets dropped, by reason");
    describe_counter!(EVICTED, Unit::Count, "Silent flows that made room for new ones");
    describe_counter!(QUIC_SENT, Unit::Count, "QUIC packets sent to edges, of all tunnels");
    describe_counter!(QUIC_LOST, Unit::Count, "Those of them that never arrived");
    describe_counter!(STREAM_BYTES, Unit::Bytes, "Bytes of TCP and WebSocket carried, by direction");
    describe_counter!(REFUSED, Unit::Count, "Flows and streams refused, by reason");
}

/// Sets how many servers are in each state.
pub(crate) fn servers(state: &'static str, count: u32) {
    gauge!(SERVERS, "state" => state).set(f64::from(count));
}

/// Records how long a starting server was in `phase`, in milliseconds.
pub(crate) fn phase(phase: &'static str, milliseconds: u64) {
    histogram!(PHASE_SECONDS, "phase" => phase).record(milliseconds as f64 / 1e3);
}

/// Sets whether the link stands.
pub(crate) fn link_up(up: bool) {
    gauge!(LINK_UP).set(f64::from(u8::from(up)));
}

/// Sets whether Docker answers.
pub(crate) fn engine_up(up: bool) {
    gauge!(ENGINE_UP).set(f64::from(u8::from(up)));
}

/// Counts bytes of an image.
pub(crate) fn image_received(bytes: usize) {
    counter!(IMAGE_BYTES).increment(bytes as u64);
}

/// Counts a request to the SDK endpoint.
pub(crate) fn sdk_request(status: u16) {
    counter!(SDK_REQUESTS, "status" => status.to_string()).increment(1);
}

/// Counts a connection to the SDK endpoint that was over a bound.
pub(crate) fn sdk_refused() {
    counter!(SDK_REFUSED).increment(1);
}

/// Counts a flow or stream that was refused.
pub(crate) fn tunnel_refused(reason: &'static str) {
    counter!(REFUSED, "reason" => reason).increment(1);
}

/// What the tunnel counts per packet.
pub(crate) struct TunnelMetrics {
    /// Connections from edges.
    pub(crate) tunnels: Gauge,
    /// Flows open.
    pub(crate) flows: Gauge,
    /// Streams open.
    pub(crate) streams: Gauge,
    /// Packets given to servers.
    pub(crate) packets_in: Counter,
    /// Their payload.
    pub(crate) bytes_in: Counter,
    /// Packets given to edges.
    pub(crate) packets_out: Counter,
    /// Their payload.
    pub(crate) bytes_out: Counter,
    /// Datagrams that are no tunnel datagrams.
    pub(crate) dropped_malformed: Counter,
    /// Packets of a flow not known here.
    pub(crate) dropped_unknown: Counter,
    /// Parts that found no room, or whose packet never became whole.
    pub(crate) dropped_fragment: Counter,
    /// Packets the server's socket did not take.
    pub(crate) dropped_socket: Counter,
    /// Packets the edge's connection did not take, or that made room for newer ones.
    pub(crate) dropped_tunnel: Counter,
    /// Datagrams of edges that made room for newer ones before they were read.
    pub(crate) dropped_unread: Counter,
    /// QUIC packets that found no room in the tunnel's socket.
    pub(crate) dropped_overflow: Counter,
    /// QUIC packets of no connection, and datagrams of no edge.
    pub(crate) dropped_stray: Counter,
    /// Flows that made room for new ones.
    pub(crate) evicted: Counter,
    /// QUIC packets sent to edges.
    pub(crate) quic_sent: Counter,
    /// Of these, lost on the way.
    pub(crate) quic_lost: Counter,
    /// Stream bytes given to servers.
    pub(crate) stream_bytes_in: Counter,
    /// Stream bytes given to edges.
    pub(crate) stream_bytes_out: Counter,
}

impl TunnelMetrics {
    /// The handles, from the recorder installed now.
    pub(crate) fn new() -> Self {
        let dropped = |reason: &'static str| counter!(DROPPED, "reason" => reason);
        Self {
            tunnels: gauge!(TUNNELS),
            flows: gauge!(FLOWS),
            streams: gauge!(STREAMS),
            packets_in: counter!(PACKETS, "direction" => "to_server"),
            bytes_in: counter!(BYTES, "direction" => "to_server"),
            packets_out: counter!(PACKETS, "direction" => "to_edge"),
            bytes_out: counter!(BYTES, "direction" => "to_edge"),
            dropped_malformed: dropped("malformed"),
            dropped_unknown: dropped("unknown_flow"),
            dropped_fragment: dropped("fragment"),
            dropped_socket: dropped("socket"),
            dropped_tunnel: dropped("tunnel"),
            dropped_unread: dropped("tunnel_unread"),
            dropped_overflow: dropped("tunnel_socket_full"),
            dropped_stray: dropped("tunnel_stray"),
            evicted: counter!(EVICTED),
            quic_sent: counter!(QUIC_SENT),
            quic_lost: counter!(QUIC_LOST),
            stream_bytes_in: counter!(STREAM_BYTES, "direction" => "to_server"),
            stream_bytes_out: counter!(STREAM_BYTES, "direction" => "to_edge"),
        }
    }
}
