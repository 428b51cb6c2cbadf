//! The orchestrator's configuration: what an operator may set, with defaults that suit one machine.
//!
//! Values only: reading files, environment variables and flags is the caller's. [`Config::validate`]
//! finds what contradicts itself before anything is started. Limits that protect the installation
//! are not here: they are named constants beside what they bound.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use muster_store::StoreLocation;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// TCP port of the HTTP API, unless set.
pub const DEFAULT_API_PORT: u16 = 7400;
/// UDP port that agents and edges dial, unless set.
pub const DEFAULT_LINK_PORT: u16 = 7401;
/// Shortest node-loss timeout: a link is only known to be down after six seconds of silence.
pub const MIN_NODE_LOSS_TIMEOUT_S: u32 = 8;
/// Shortest and longest life of a session token.
pub const SESSION_TOKEN_TTL_S: std::ops::RangeInclusive<u32> = 30..=86_400;
/// Shortest and longest time that what is over is kept.
pub const RETENTION_S: std::ops::RangeInclusive<u32> = 60..=30 * 86_400;

/// Everything an operator may set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Directory of the embedded store, the builds and the first admin token. Made if missing.
    pub data_dir: PathBuf,
    /// Where the state is: `embedded`, or `fdb:CLUSTER_FILE`.
    pub store: StoreConfig,
    /// Seconds a node's link may be down before its servers count as lost and are replaced.
    pub node_loss_timeout_s: u32,
    /// Seconds a session token is valid from when it is read; a client that asks again gets a new one.
    pub session_token_ttl_s: u32,
    /// Seconds that servers, tickets and matches are kept after their end.
    pub retention_s: u32,
    /// The HTTP API.
    pub api: ApiConfig,
    /// Where agents and edges connect.
    pub link: LinkConfig,
}

/// A [`StoreLocation`] as the configuration writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreConfig(pub StoreLocation);

impl Serialize for StoreConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StoreConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Address and TCP port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS: `"own"`, or a table of `certificate` and `key`; absent: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ApiTls>,
    /// Allow plain HTTP on an address that other machines reach, as behind a proxy that ends TLS.
    pub insecure: bool,
    /// With `tls = "own"`: host names and addresses to put into the certificate, besides `localhost`
    /// and the address listened on.
    pub names: Vec<String>,
    /// Matches that game clients of one address (IPv6: one /64) may ask for in a second, with ten times as many at
    /// once; 0: no limit, as behind a proxy that all come through.
    pub tickets_per_s_per_address: u32,
    /// The same, of one API token of the role `client`.
    pub tickets_per_s_per_token: u32,
    /// Calls about tickets (read, wait, watch, accept, decline, withdraw) that game clients of one address may make in a
    /// second, with ten times as many at once; 0: no limit.
    pub ticket_calls_per_s_per_address: u32,
    /// The same, of one API token of the role `client`. A ticket's own token has a bound of its own.
    pub ticket_calls_per_s_per_token: u32,
    /// Explanations of tickets, which read many others, that game clients of one address may ask for in a second, with ten
    /// times as many at once; 0: no limit.
    pub explains_per_s_per_address: u32,
    /// The same, of one API token of the role `client`. A ticket's own token has a bound of its own.
    pub explains_per_s_per_token: u32,
}

/// Where the API's certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiTls {
    /// Signed by Muster's own CA, which clients get from `GET /v1/ca.pem`; renewed at every start.
    Own,
    /// Given by the operator.
    Given(TlsFiles),
}

/// A certificate and its key on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM file of the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// Where agents and edges connect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkConfig {
    /// Address and UDP port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// `host:port` under which machines and other orchestrators reach this one's links. Unset: the address
    /// listened on, which must then be one of this machine if the store is shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from(".muster/orchestrator"),
            store: StoreConfig::default(),
            node_loss_timeout_s: 20,
            session_token_ttl_s: 600,
            retention_s: 3_600,
            api: ApiConfig::default(),
            link: LinkConfig::default(),
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_API_PORT),
            tls: None,
            insecure: false,
            names: Vec::new(),
            tickets_per_s_per_address: 100,
            tickets_per_s_per_token: 5_000,
            ticket_calls_per_s_per_address: 1_000,
            ticket_calls_per_s_per_token: 50_000,
            explains_per_s_per_address: 10,
            explains_per_s_per_token: 100,
        }
    }
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_LINK_PORT),
            advertise: None,
        }
    }
}

/// A configuration that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `data_dir` is empty.
    #[error("data_dir is empty; name a directory for the store and the builds")]
    NoDataDir,
    /// A number is outside its range.
    #[error("{key} is {value}; it must be from {min} to {max}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What was given.
        value: u32,
        /// Least.
        min: u32,
        /// Most.
        max: u32,
    },
    /// Plain HTTP would be open to other machines.
    #[error(
        "api.listen is {listen}, which other machines reach, without TLS; set api.tls to \"own\" or to a \
         certificate and key, listen on 127.0.0.1, or set api.insecure = true behind a proxy that ends TLS"
    )]
    PlainHttpInTheOpen {
        /// The address.
        listen: SocketAddr,
    },
    /// `api.names` only mean something with `tls = "own"`.
    #[error("api.names are given, but api.tls is not \"own\"; remove the names or set api.tls = \"own\"")]
    NamesWithoutOwnTls,
    /// Others on the same store could not reach this orchestrator.
    #[error(
        "the store is shared by orchestrators, and link.listen {listen} says nothing of where this one is reached; \
         set link.advertise to its host:port, as \"orchestrator-1.example:7401\""
    )]
    NotAdvertised {
        /// The address listened on.
        listen: SocketAddr,
    },
    /// Not `host:port`.
    #[error("link.advertise is {0:?}; write it as host:port")]
    Advertise(String),
}

impl Config {
    /// Finds what contradicts itself or a bound.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::NoDataDir);
        }
        within("node_loss_timeout_s", self.node_loss_timeout_s, &(MIN_NODE_LOSS_TIMEOUT_S..=86_400))?;
        within("session_token_ttl_s", self.session_token_ttl_s, &SESSION_TOKEN_TTL_S)?;
        within("retention_s", self.retention_s, &RETENTION_S)?;
        if self.api.tls.is_none() && !self.api.insecure && !self.api.listen.ip().to_canonical().is_loopback()
        {
            return Err(ConfigError::PlainHttpInTheOpen { listen: self.api.listen });
        }
        if !self.api.names.is_empty() && self.api.tls != Some(ApiTls::Own) {
            return Err(ConfigError::NamesWithoutOwnTls);
        }
        match &self.link.advertise {
            Some(address) if !is_host_and_port(address) => Err(ConfigError::Advertise(address.clone())),
            None if self.is_shared() && self.link.listen.ip().is_unspecified() => {
                Err(ConfigError::NotAdvertised { listen: self.link.listen })
            }
            _ => Ok(()),
        }
    }

    /// Whether other orchestrators may work on the same store.
    pub fn is_shared(&self) -> bool {
        !matches!(self.store.0, StoreLocation::Embedded)
    }

    /// How long a node's link may be down before its servers are replaced, in milliseconds.
    pub fn node_loss_timeout_ms(&self) -> u64 {
        u64::from(self.node_loss_timeout_s) * 1_000
    }

    /// How long a session token is valid, in milliseconds.
    pub fn session_token_ttl_ms(&self) -> u64 {
        u64::from(self.session_token_ttl_s) * 1_000
    }

    /// How long what is over is kept, in milliseconds.
    pub fn retention_ms(&self) -> u64 {
        u64::from(self.retention_s) * 1_000
    }
}

fn is_host_and_port(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn within(key: &'static str, value: u32, range: &std::ops::RangeInclusive<u32>) -> Result<(), ConfigError> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::OutOfRange { key, value, min: *range.start(), max: *range.end() })
    }
}

const OWN: &str = "own";

impl Serialize for ApiTls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Own => serializer.serialize_str(OWN),
            Self::Given(files) => files.serialize(serializer),
        }
    }
}

// By hand, because serde's untagged enums only ever say that nothing matched.
impl<'de> Deserialize<'de> for ApiTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordOrTable;

        impl<'de> Visitor<'de> for WordOrTable {
            type Value = ApiTls;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"own\", or a table of certificate and key")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<ApiTls, E> {
                if word == OWN {
                    Ok(ApiTls::Own)
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(word), &self))
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<ApiTls, A::Error> {
                TlsFiles::deserialize(MapAccessDeserializer::new(table)).map(ApiTls::Given)
            }
        }

        deserializer.deserialize_any(WordOrTable)
    }
}

impl std::str::FromStr for ApiTls {
    type Err = de::value::Error;

    /// The word form, as a flag or environment variable gives it.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::deserialize(StrDeserializer::new(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_survive_their_text() {
        let defaults = Config::default();
        defaults.validate().expect("the defaults are valid");
        let text = toml::to_string(&defaults).expect("text");
        assert_eq!(toml::from_str::<Config>(&text).expect("parses"), defaults);
        assert_eq!(toml::from_str::<Config>("").expect("nothing set"), defaults);
    }

    #[test]
    fn tls_is_a_word_or_files() {
        let of = |value: &str| toml::from_str::<ApiConfig>(&format!("tls = {value}"));
        assert_eq!(of("\"own\"").expect("own").tls, Some(ApiTls::Own));
        let files = of("{ certificate = \"a.pem\", key = \"b.pem\" }").expect("files").tls;
        assert_eq!(files, Some(ApiTls::Given(TlsFiles { certificate: "a.pem".into(), key: "b.pem".into() })));
        let error = of("\"mine\"").expect_err("no such word").to_string();
        assert!(error.contains("certificate and key"), "{error}");
        assert!(of("{ certificate = \"a.pem\" }").expect_err("no key").to_string().contains("key"));
    }

    #[test]
    fn plain_http_stays_on_loopback_unless_said() {
        let mut config = Config::default();
        config.api.listen = "0.0.0.0:7400".parse().expect("an address");
        let error = config.validate().expect_err("plain HTTP in the open").to_string();
        assert!(error.contains("api.tls") && error.contains("api.insecure"), "{error}");
        config.api.insecure = true;
        config.validate().expect("said");
        config.api.insecure = false;
        config.api.tls = Some(ApiTls::Own);
        config.validate().expect("TLS");
        config.api.tls = None;
        config.api.listen = "[::1]:7400".parse().expect("an address");
        config.validate().expect("loopback");
    }

    #[test]
    fn on_a_shared_store_an_orchestrator_says_where_it_is() {
        let store = StoreConfig("fdb:/etc/fdb.cluster".parse().expect("a location"));
        let mut config = Config { store, ..Config::default() };
        let error = config.validate().expect_err("reached nowhere").to_string();
        assert!(error.contains("link.advertise"), "{error}");
        config.link.advertise = Some("orchestrator-1".into());
        let error = config.validate().expect_err("no port").to_string();
        assert!(error.contains("host:port"), "{error}");
        config.link.advertise = Some("orchestrator-1:7401".into());
        config.validate().expect("said");
        config.link.advertise = None;
        config.link.listen = "127.0.0.1:7401".parse().expect("an address");
        config.validate().expect("an address of this machine");
    }

    #[test]
    fn a_typo_is_an_error() {
        let error = toml::from_str::<Config>("data_dri = \"x\"").expect_err("unknown key").to_string();
        assert!(error.contains("data_dri"), "{error}");
        let short = Config { node_loss_timeout_s: 1, ..Config::default() };
        let error = short.validate().expect_err("too short").to_string();
        assert!(error.contains("node_loss_timeout_s") && error.contains('8'), "{error}");
    }
}
