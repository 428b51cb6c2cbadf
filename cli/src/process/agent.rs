//! `muster agent`: a node's agent, until it is told to stop.

use anyhow::Context as _;

use super::{Key, Kind, Options, key, run_node, until_stopped};

/// Keys of the agent's configuration.
pub(crate) struct Keys;

impl super::Keys for Keys {
    const KEYS: &'static [Key] = &[
        key("state_dir", Kind::Text, "Directory of the agent's identity, desired state and image transfers"),
        key("region", Kind::Text, "Region this node belongs to"),
        key("name", Kind::Text, "Name a person knows this machine by"),
        key("orchestrator", Kind::List, "Where orchestrators take links, host:port"),
        key("join_token", Kind::Text, "One-time join token, needed at the first start"),
        key("tunnel_listen", Kind::Text, "UDP address on which edges reach this agent"),
        key("tunnel_advertise", Kind::List, "What edges are told to dial, host:port"),
        key("tunnel_rate_mbit", Kind::Number, "Mbit/s of UDP that each tunnel is provisioned for"),
        key("cpu_millis", Kind::Number, "CPU offered to servers, in thousandths of a core"),
        key("memory_mib", Kind::Number, "Memory offered to servers, in MiB"),
        key("docker_socket", Kind::Text, "Docker's socket"),
        key("sdk_port", Kind::Number, "TCP port of the SDK endpoint on the containers' gateway"),
        key("network", Kind::Text, "Docker network that containers are put on"),
        key("container_reach", Kind::Text, "How containers are reached: auto, bridge or published"),
        key("image_cache_mib", Kind::Number, "Disk space that loaded images may take, in MiB"),
        key("metrics.listen", Kind::Text, "Address and TCP port of GET /metrics"),
    ];
}

pub(crate) fn run(options: &Options<Keys>) -> anyhow::Result<()> {
    run_node(options, async |config, metrics| {
        metrics.start().await?;
        let agent = muster_agent::start(config).await.context("the agent cannot start")?;
        until_stopped().await?;
        tracing::info!("stopping; containers go on");
        agent.shutdown().await;
        Ok(())
    })
}
