//! `muster agent`: a node's agent, until it is told to stop.

use anyhow::Context as _;
use muster_agent::Config;
use tokio_util::sync::CancellationToken;

use super::{Key, Kind, Loaded, Options, block_on, key, until_stopped};
use crate::telemetry;

/// Keys of the agent's configuration.
pub(crate) struct Keys;

impl super::Keys for Keys {
    const KEYS: &'static [Key] = &[
        key(
            "state_dir",
            "state-dir",
            "MUSTER_STATE_DIR",
            Kind::Text,
            "Directory of the agent's identity, desired state and image transfers",
        ),
        key("region", "region", "MUSTER_REGION", Kind::Text, "Region this node belongs to"),
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
            "tunnel_listen",
            "tunnel-listen",
            "MUSTER_TUNNEL_LISTEN",
            Kind::Text,
            "UDP address on which edges reach this agent",
        ),
        key(
            "tunnel_advertise",
            "tunnel-advertise",
            "MUSTER_TUNNEL_ADVERTISE",
            Kind::List,
            "What edges are told to dial, host:port",
        ),
        key(
            "cpu_millis",
            "cpu-millis",
            "MUSTER_CPU_MILLIS",
            Kind::Number,
            "CPU offered to servers, in thousandths of a core",
        ),
        key(
            "memory_mib",
            "memory-mib",
            "MUSTER_MEMORY_MIB",
            Kind::Number,
            "Memory offered to servers, in MiB",
        ),
        key("docker_socket", "docker-socket", "MUSTER_DOCKER_SOCKET", Kind::Text, "Docker's socket"),
        key(
            "sdk_port",
            "sdk-port",
            "MUSTER_SDK_PORT",
            Kind::Number,
            "TCP port of the SDK endpoint on the containers' gateway",
        ),
        key("network", "network", "MUSTER_NETWORK", Kind::Text, "Docker network that containers are put on"),
        key(
            "container_reach",
            "container-reach",
            "MUSTER_CONTAINER_REACH",
            Kind::Text,
            "How containers are reached: auto, bridge or published",
        ),
        key(
            "image_cache_mib",
            "image-cache-mib",
            "MUSTER_IMAGE_CACHE_MIB",
            Kind::Number,
            "Disk space that loaded images may take, in MiB",
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
        let agent = muster_agent::start(own).await.context("the agent cannot start")?;
        until_stopped().await?;
        tracing::info!("stopping; containers go on");
        agent.shutdown().await;
        stop.cancel();
        Ok(())
    })
}
