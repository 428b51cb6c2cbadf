//! The edge's configuration: what an operator may set, with defaults that suit one machine.
//!
//! Values only: reading files, environment variables and flags is the caller's. [`Config::validate`]
//! finds what contradicts itself before a socket is opened.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use muster_transport::TunnelRate;
use serde::{Deserialize, Serialize};

/// UDP port of the latency beacon, unless set.
const DEFAULT_BEACON_PORT: u16 = 7403;
/// First port that routes may use, unless set.
const DEFAULT_PORT_FIRST: u16 = 20_000;
/// Last port that routes may use, unless set.
const DEFAULT_PORT_LAST: u16 = 20_999;

/// Most threads that carry UDP.
const MOST_UDP_WORKERS: u32 = 64;

/// Everything an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the edge's identity and its last routes. Made if missing.
    pub state_dir: PathBuf,
    /// Region this edge serves.
    pub region: String,
    /// Name a person recognises the machine by; empty: its host name.
    pub name: String,
    /// Where orchestrators take links, `host:port`: one is enough, and tells of the others; several are for when
    /// that one is away at the first start.
    pub orchestrator: Vec<String>,
    /// One-time token from `muster token create --join edge --region REGION`. Used at the first start
    /// only; afterwards the identity in `state_dir` counts.
    pub join_token: Option<String>,
    /// Address that players' sockets and the beacon listen on.
    pub listen_ip: IpAddr,
    /// Host name or address that players reach this edge by. At the first start it is put into the
    /// edge's own certificate, too; see `tls_certificate`.
    pub public_host: String,
    /// First port that routes may use.
    pub port_first: u16,
    /// Last port that routes may use, included.
    pub port_last: u16,
    /// UDP port of the latency beacon; 0 takes a free one.
    pub beacon_port: u16,
    /// PEM file of the certificate chain that TLS ports show, leaf first. Absent: they show the edge's own
    /// certificate, signed by Muster's CA, which clients get from the orchestrator's `GET /v1/ca.pem`.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file of the private key of `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// Seconds without a packet from its client after which a UDP flow is forgotten.
    pub udp_idle_timeout_s: u32,
    /// Seconds without a byte either way after which a TCP or WebSocket connection is closed.
    pub stream_idle_timeout_s: u32,
    /// UDP flows at once. The table is as large as its flows; each takes 250 to 380 bytes.
    pub max_flows: u32,
    /// Threads that carry UDP; each server's players are one thread's. 0: as many as there are cores.
    pub udp_workers: u32,
    /// Keeps each of these threads on a core of its own (Linux).
    pub pin_udp_workers: bool,
    /// Megabits per second of players' UDP packets that the tunnel to each agent is provisioned for, in each of these
    /// threads.
    pub tunnel_rate_mbit: u32,
    /// TCP and WebSocket connections at once to one port.
    pub max_connections_per_port: u32,
    /// Longest payload of a WebSocket frame from a client, in bytes.
    pub max_websocket_frame_bytes: u32,
    /// TCP and WebSocket connections at once from one IPv4 address or one IPv6 /64, to all ports together. Far fewer than
    /// a port takes: no source is to fill one by itself.
    pub max_connections_per_address: u32,
    /// Takes over from the edge that runs in `state_dir`, if one does: its sockets, and its players.
    pub take_over: bool,
    /// Seconds that connections of an edge which was taken over may go on.
    pub drain_timeout_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state_dir: PathBuf::from(".muster/edge"),
            region: "local".to_owned(),
            name: String::new(),
            orchestrator: vec!["127.0.0.1:7401".to_owned()],
            join_token: None,
            listen_ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            public_host: "127.0.0.1".to_owned(),
            port_first: DEFAULT_PORT_FIRST,
            port_last: DEFAULT_PORT_LAST,
            beacon_port: DEFAULT_BEACON_PORT,
            tls_certificate: None,
            tls_key: None,
            udp_idle_timeout_s: 60,
            stream_idle_timeout_s: 3_600,
            max_flows: 100_000,
            udp_workers: 0,
            pin_udp_workers: false,
            tunnel_rate_mbit: TunnelRate::DEFAULT_MBIT,
            max_connections_per_port: 1_024,
            max_connections_per_address: 64,
            max_websocket_frame_bytes: 1024 * 1024,
            take_over: false,
            drain_timeout_s: 3_600,
        }
    }
}

/// A configuration that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A key that must be set is empty.
    #[error("{0} is empty; set it in the edge's configuration")]
    Empty(&'static str),
    /// A number that must be positive is 0.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// The port range is upside down, or begins at 0.
    #[error("port_first {first} and port_last {last} make no range; set 1 <= port_first <= port_last")]
    PortRange {
        /// `port_first`.
        first: u16,
        /// `port_last`.
        last: u16,
    },
    /// More threads than are of use.
    #[error("udp_workers is {0}; it is at most {MOST_UDP_WORKERS}, and 0 takes one for each core")]
    Workers(u32),
    /// One of certificate and key is given without the other.
    #[error("tls_certificate and tls_key go together; set both, or neither for Muster's own certificate")]
    HalfTls,
}

impl Config {
    /// Finds what contradicts itself.
    ///
    /// # Errors
    /// [`ConfigError`], the first found, naming the key.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let texts = [("region", &self.region), ("public_host", &self.public_host)];
        if let Some((key, _)) = texts.iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(ConfigError::Empty(key));
        }
        if self.state_dir.as_os_str().is_empty() {
            return Err(ConfigError::Empty("state_dir"));
        }
        if self.orchestrator.is_empty() {
            return Err(ConfigError::Empty("orchestrator"));
        }
        let numbers = [
            ("udp_idle_timeout_s", self.udp_idle_timeout_s),
            ("stream_idle_timeout_s", self.stream_idle_timeout_s),
            ("max_flows", self.max_flows),
            ("tunnel_rate_mbit", self.tunnel_rate_mbit),
            ("max_connections_per_port", self.max_connections_per_port),
            ("max_connections_per_address", self.max_connections_per_address),
            ("max_websocket_frame_bytes", self.max_websocket_frame_bytes),
        ];
        if let Some((key, _)) = numbers.iter().find(|(_, number)| *number == 0) {
            return Err(ConfigError::Zero(key));
        }
        if self.port_first == 0 || self.port_first > self.port_last {
            return Err(ConfigError::PortRange { first: self.port_first, last: self.port_last });
        }
        if self.udp_workers > MOST_UDP_WORKERS {
            return Err(ConfigError::Workers(self.udp_workers));
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return Err(ConfigError::HalfTls);
        }
        Ok(())
    }

    /// How many UDP workers there are to be.
    pub(crate) fn udp_workers(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let workers = if self.udp_workers == 0 { cores() } else { self.udp_workers as usize };
        workers.min(MOST_UDP_WORKERS as usize)
    }

    pub(crate) fn udp_idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.udp_idle_timeout_s))
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_timeout_s))
    }

    pub(crate) fn stream_idle(&self) -> Duration {
        Duration::from_secs(u64::from(self.stream_idle_timeout_s))
    }

    /// The machine's name, as the operator or the system calls it.
    pub(crate) fn display_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let file = || std::fs::read_to_string("/etc/hostname").ok();
        let name = std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok().or_else(file);
        name.map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "edge".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid_and_survives_toml() {
        let config = Config::default();
        config.validate().unwrap();
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn by_default_no_source_fills_a_port() {
        let config = Config::default();
        assert!(config.max_connections_per_address <= config.max_connections_per_port / 16);
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = toml::from_str::<Config>("beacon_prot = 7").unwrap_err().to_string();
        assert!(error.contains("beacon_prot"), "{error}");
    }

    #[test]
    fn contradictions_name_their_key() {
        let bad = [
            (Config { region: " ".into(), ..Config::default() }, "region"),
            (Config { orchestrator: vec![], ..Config::default() }, "orchestrator"),
            (Config { port_first: 9, port_last: 8, ..Config::default() }, "port_first"),
            (Config { max_flows: 0, ..Config::default() }, "max_flows"),
            (Config { udp_workers: 65, ..Config::default() }, "udp_workers"),
            (Config { tls_key: Some("key.pem".into()), ..Config::default() }, "tls_certificate"),
        ];
        for (config, key) in bad {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
    }
}
