//! `muster edge`: an edge proxy, until it is told to stop.

use anyhow::Context as _;
use muster_edge_proxy::Config;

use super::{Key, Kind, Options, key, run_node, until_stopped};

/// Keys of the edge's configuration.
pub(crate) struct Keys;

impl super::Keys for Keys {
    const KEYS: &'static [Key] = &[
        key("state_dir", Kind::Text, "Directory of the edge's identity and its last routes"),
        key("region", Kind::Text, "Region this edge serves"),
        key("name", Kind::Text, "Name a person knows this machine by"),
        key("orchestrator", Kind::List, "Where orchestrators take links, host:port"),
        key("join_token", Kind::Text, "One-time join token, needed at the first start"),
        key("listen_ip", Kind::Text, "Address that players' sockets and the beacon listen on"),
        key("public_host", Kind::Text, "Host name or address that players reach this edge by"),
        key("port_first", Kind::Number, "First port that routes may use"),
        key("port_last", Kind::Number, "Last port that routes may use"),
        key("beacon_port", Kind::Number, "UDP port of the latency beacon"),
        key("tls_certificate", Kind::Text, "PEM file of the certificate that TLS ports show"),
        key("tls_key", Kind::Text, "PEM file of its private key"),
        key(
            "udp_idle_timeout_s",
            Kind::Number,
            "Seconds without a packet from its client after which a UDP flow is forgotten",
        ),
        key(
            "stream_idle_timeout_s",
            Kind::Number,
            "Seconds without a byte after which a connection is closed",
        ),
        key("max_flows", Kind::Number, "UDP flows at once"),
        key("udp_workers", Kind::Number, "Threads that carry UDP; 0: one for each core"),
        key("pin_udp_workers", Kind::Switch, "Keep each of these threads on a core of its own"),
        key("tunnel_rate_mbit", Kind::Number, "Mbit/s of UDP that each tunnel is provisioned for"),
        key("max_connections_per_port", Kind::Number, "Connections at once to one port"),
        key("max_connections_per_address", Kind::Number, "Connections at once from one address"),
        key("max_websocket_frame_bytes", Kind::Number, "Longest payload of a client's WebSocket frame"),
        key("take_over", Kind::Switch, "Take over from the edge that runs in state_dir, if one does"),
        key(
            "drain_timeout_s",
            Kind::Number,
            "Seconds that connections of an edge that was taken over may go on",
        ),
        key("metrics.listen", Kind::Text, "Address and TCP port of GET /metrics"),
    ];
}

pub(crate) fn run(options: &Options<Keys>) -> anyhow::Result<()> {
    run_node(options, async |config: Config, metrics| {
        let takes_over = config.take_over;
        if !takes_over {
            metrics.start().await?;
        }
        let mut edge = muster_edge_proxy::start(config).await.context("the edge cannot start")?;
        metrics.before_shown(edge.count_teller());
        let handed_over = {
            let serving = async {
                if takes_over {
                    metrics.start_after_another().await;
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                stopped = until_stopped() => { stopped?; false }
                () = edge.handed_over() => true,
                () = serving => false,
            }
        };
        if handed_over {
            // The next edge shows its own there.
            drop(metrics);
            tokio::select! {
                stopped = until_stopped() => stopped?,
                () = edge.drain() => tracing::info!("the last connection has ended"),
            }
        }
        tracing::info!("stopping");
        edge.shutdown().await;
        Ok(())
    })
}
