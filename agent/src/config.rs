//! What an operator can set, and what is assumed where they set nothing. Reads no file: that is the CLI's.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use muster_transport::TunnelRate;
use serde::{Deserialize, Serialize};

/// Port the tunnel listens on if nothing else is configured.
pub const DEFAULT_TUNNEL_PORT: u16 = 7402;
/// Docker network that containers are put on if nothing else is configured.
pub const DEFAULT_NETWORK: &str = "muster";
/// Disk space kept for images if nothing else is configured, in MiB.
pub const DEFAULT_IMAGE_CACHE_MIB: u64 = 20 * 1024;

/// Configuration of an agent. Unknown keys are refused, so that a typing error does not go unnoticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Directory for the agent's identity, its desired state and image transfers. Made if missing.
    pub state_dir: PathBuf,
    /// Region this node belongs to, as fleets and players' latencies name it. Needed for joining.
    pub region: String,
    /// Name a person knows this machine by; empty: its host name.
    pub name: String,
    /// Where the orchestrators' links are reached, `host:port`: one is enough, and tells of the others; several
    /// are for when that one is away at the first start.
    pub orchestrator: Vec<String>,
    /// One-time join token; needed once, while `state_dir` holds no identity.
    pub join_token: Option<String>,
    /// UDP address on which edges reach this agent's tunnel; port 0 takes any free one.
    pub tunnel_listen: SocketAddr,
    /// What edges are told to dial, `host:port`, most preferred first; empty: this machine's addresses
    /// towards the orchestrator and towards the default route, with the tunnel's port.
    pub tunnel_advertise: Vec<String>,
    /// Megabits per second of players' UDP packets that the tunnel to each edge is provisioned for.
    pub tunnel_rate_mbit: u32,
    /// CPU offered to servers, in thousandths of a core; unset: all there is.
    pub cpu_millis: Option<u32>,
    /// Memory offered to servers, in MiB; unset: nine tenths of what there is.
    pub memory_mib: Option<u64>,
    /// Docker's socket: a path, a Windows pipe, or a URL (`unix://`, `npipe://`, `tcp://`); unset:
    /// `DOCKER_HOST` or the platform's default.
    pub docker_socket: Option<String>,
    /// TCP port of the SDK endpoint on the containers' gateway; 0: any free one, kept over restarts.
    pub sdk_port: u16,
    /// Name of the Docker network that containers are put on; made if missing.
    pub network: String,
    /// How containers are reached.
    pub container_reach: ContainerReach,
    /// Disk space that images loaded for builds may take together, in MiB; the least recently used that
    /// no server needs go first.
    pub image_cache_mib: u64,
}

/// How the agent reaches a container's ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerReach {
    /// By bridge address where this machine has the bridge, by published ports where it has not.
    #[default]
    Auto,
    /// Always by bridge address: nothing is published.
    Bridge,
    /// Always by ports published on 127.0.0.1.
    Published,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from(".muster/agent"),
            region: "local".to_owned(),
            name: String::new(),
            orchestrator: vec!["127.0.0.1:7401".to_owned()],
            join_token: None,
            tunnel_listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, DEFAULT_TUNNEL_PORT)),
            tunnel_advertise: Vec::new(),
            tunnel_rate_mbit: TunnelRate::DEFAULT_MBIT,
            cpu_millis: None,
            memory_mib: None,
            docker_socket: None,
            sdk_port: 0,
            network: DEFAULT_NETWORK.to_owned(),
            container_reach: ContainerReach::Auto,
            image_cache_mib: DEFAULT_IMAGE_CACHE_MIB,
        }
    }
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that must be set is not.
    #[error("`{key}` is not set; {fix}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What to write.
        fix: &'static str,
    },
    /// A key has a value that cannot be.
    #[error("`{key}` is {value:?}; {fix}")]
    Invalid {
        /// The key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What to write instead.
        fix: &'static str,
    },
}

impl Config {
    /// Checks what can be checked without touching the system.
    ///
    /// # Errors
    /// The first key that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.orchestrator.is_empty() {
            return Err(ConfigError::Missing {
                key: "orchestrator",
                fix: "write the orchestrator's link address, as [\"orchestrator.example:7401\"]",
            });
        }
        if self.region.is_empty() {
            return Err(ConfigError::Missing {
                key: "region",
                fix: "write the region this node serves, as \"eu-central\"",
            });
        }
        for address in self.orchestrator.iter().chain(&self.tunnel_advertise) {
            let port = address.rsplit_once(':').and_then(|(host, port)| {
                port.parse::<u16>().ok().filter(|&port| port != 0 && !host.is_empty())
            });
            if port.is_none() {
                let key =
                    if self.orchestrator.contains(address) { "orchestrator" } else { "tunnel_advertise" };
                return Err(ConfigError::Invalid {
                    key,
                    value: address.clone(),
                    fix: "write it as host:port",
                });
            }
        }
        if self.tunnel_rate_mbit == 0 {
            return Err(ConfigError::Invalid {
                key: "tunnel_rate_mbit",
                value: "0".to_owned(),
                fix: "write how many megabits per second the tunnel to each edge may need, at least 1",
            });
        }
        if self.network.is_empty() || matches!(self.network.as_str(), "bridge" | "host" | "none") {
            return Err(ConfigError::Invalid {
                key: "network",
                value: self.network.clone(),
                fix: "name a Docker network of its own; Docker's built-in ones cannot isolate servers",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Config {
        Config {
            region: "eu-central".into(),
            orchestrator: vec!["127.0.0.1:7401".into()],
            ..Config::default()
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        assert_eq!(valid().validate(), Ok(()));
        let cases: [(&str, Config); 6] = [
            ("orchestrator", Config { orchestrator: Vec::new(), ..valid() }),
            ("region", Config { region: String::new(), ..valid() }),
            ("orchestrator", Config { orchestrator: vec!["localhost".into()], ..valid() }),
            ("tunnel_rate_mbit", Config { tunnel_rate_mbit: 0, ..valid() }),
            ("tunnel_advertise", Config { tunnel_advertise: vec!["host:0".into()], ..valid() }),
            ("network", Config { network: "host".into(), ..valid() }),
        ];
        for (key, config) in cases {
            let error = config.validate().expect_err(key).to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = serde_json::from_str::<Config>(r#"{"regoin": "eu"}"#).expect_err("misspelt");
        assert!(error.to_string().contains("regoin"), "{error}");
    }
}
