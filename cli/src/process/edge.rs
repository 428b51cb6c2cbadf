//! `muster edge`: an edge proxy, until it is told to stop.

use anyhow::Context as _;
use muster_edge_proxy::Config;
use tokio_util::sync::CancellationToken;

use super::{Key, Kind, Loaded, Options, block_on, key, until_stopped};
use crate::telemetry;

/// Keys of the edge's configuration.
pub(crate) struct Keys;

impl super::Keys for Keys {
    const KEYS: &'static [Key] = &[
        key(
            "state_dir",
            "state-dir",
            "MUSTER_STATE_DIR",
            Kind::Text,
            "Directory of the edge's identity and its last routes",
        ),
        key("region", "region", "MUSTER_REGION", Kind::Text, "Region this edge serves"),
        key("name", "name", "MUSTER_NAME", Kind::Text, "Name a person knows this machine by"),
        key(
            "orchestrator",
            "orchestrator",
            "MUSTER_ORCHESTRATOR",
            Kind::List,
            "Where orchestrators take links, host:port",
        ),
        key(
            "join_token",
            "join-token",
            "MUSTER_JOIN_TOKEN",
            Kind::Text,
            "One-time join token, needed at the first start",
        ),
        key(
            "listen_ip",
            "listen-ip",
            "MUSTER_LISTEN_IP",
            Kind::Text,
            "Address that players' sockets and the beacon listen on",
        ),
        key(
            "public_host",
            "public-host",
            "MUSTER_PUBLIC_HOST",
            Kind::Text,
            "Host name or address that players reach this edge by",
        ),
        key("port_first", "port-first", "MUSTER_PORT_FIRST", Kind::Number, "First port that routes may use"),
        key("port_last", "port-last", "MUSTER_PORT_LAST", Kind::Number, "Last port that routes may use"),
        key(
            "beacon_port",
            "beacon-port",
            "MUSTER_BEACON_PORT",
            Kind::Number,
            "UDP port of the latency beacon",
        ),
        key(
            "tls_certificate",
            "tls-certificate",
            "MUSTER_TLS_CERTIFICATE",
            Kind::Text,
            "PEM file of the certificate that TLS ports show",
        ),
        key("tls_key", "tls-key", "MUSTER_TLS_KEY", Kind::Text, "PEM file of its private key"),
        key(
            "udp_idle_timeout_s",
            "udp-idle-timeout-s",
            "MUSTER_UDP_IDLE_TIMEOUT_S",
            Kind::Number,
            "Seconds without a packet from its client after which a UDP flow is forgotten",
        ),
        key(
            "stream_idle_timeout_s",
            "stream-idle-timeout-s",
            "MUSTER_STREAM_IDLE_TIMEOUT_S",
            Kind::Number,
            "Seconds without a byte after which a connection is closed",
        ),
        key("max_flows", "max-flows", "MUSTER_MAX_FLOWS", Kind::Number, "UDP flows at once"),
        key(
            "max_connections_per_port",
            "max-connections-per-port",
            "MUSTER_MAX_CONNECTIONS_PER_PORT",
            Kind::Number,
            "Connections at once to one port",
        ),
        key(
            "max_connections_per_address",
            "max-connections-per-address",
            "MUSTER_MAX_CONNECTIONS_PER_ADDRESS",
            Kind::Number,
            "Connections at once from one address",
        ),
        key(
            "metrics.listen",
            "metrics-listen",
            "MUSTER_METRICS_LISTEN",
            Kind::Text,
            "Address and TCP port of GET /metrics",
        ),
    ];
}

pub(crate) fn run(options: Options<Keys>) -> anyhow::Result<()> {
    let Loaded { own, log, metrics } = options.load::<Config>()?;
    telemetry::start_logs(&log)?;
    let recorder = telemetry::start_metrics()?;
    block_on(async move {
        let stop = CancellationToken::new();
        if let Some(listen) = metrics.listen {
            telemetry::serve_metrics(listen, recorder, stop.clone()).await?;
        }
        let edge = muster_edge_proxy::start(own).await.context("the edge cannot start")?;
        until_stopped().await?;
        tracing::info!("stopping");
        edge.shutdown().await;
        stop.cancel();
        Ok(())
    })
}
