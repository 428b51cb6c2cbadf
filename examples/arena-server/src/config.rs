//! What the environment tells the server: ports, SDK, and switches for tests.

/// Ports where nothing else is said: as in `muster`'s examples.
const DEFAULT_UDP: u16 = 7777;
const DEFAULT_TCP: u16 = 7778;
const DEFAULT_WS: u16 = 7779;

/// How the server is to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// `MUSTER_PORT_GAME_UDP`.
    pub(crate) udp_port: u16,
    /// `MUSTER_PORT_GAME_TCP`.
    pub(crate) tcp_port: u16,
    /// `MUSTER_PORT_GAME_WS`.
    pub(crate) ws_port: u16,
    /// Where the SDK is; none without `MUSTER_SDK_URL` or with `ARENA_NO_SDK=1`.
    pub(crate) sdk: Option<SdkConfig>,
    /// `ARENA_EXIT_AT_START`: for tests of servers that do not come up.
    pub(crate) exit_at_start: Option<u8>,
}

/// Where the SDK endpoint is and how to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SdkConfig {
    /// `MUSTER_SDK_URL`.
    pub(crate) url: String,
    /// `MUSTER_SERVER_TOKEN`.
    pub(crate) token: String,
}

impl Config {
    /// Reads the configuration through `get`; the error names the variable to mend.
    pub(crate) fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let sdk_wanted = get("ARENA_NO_SDK").is_none_or(|value| value != "1");
        let sdk = get("MUSTER_SDK_URL").filter(|_| sdk_wanted).map(|url| SdkConfig {
            url: url.trim_end_matches('/').to_owned(),
            token: get("MUSTER_SERVER_TOKEN").unwrap_or_default(),
        });
        Ok(Self {
            udp_port: number(&get, "MUSTER_PORT_GAME_UDP")?.unwrap_or(DEFAULT_UDP),
            tcp_port: number(&get, "MUSTER_PORT_GAME_TCP")?.unwrap_or(DEFAULT_TCP),
            ws_port: number(&get, "MUSTER_PORT_GAME_WS")?.unwrap_or(DEFAULT_WS),
            sdk,
            exit_at_start: number(&get, "ARENA_EXIT_AT_START")?,
        })
    }
}

fn number<T: std::str::FromStr>(
    get: impl Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<T>, String> {
    match get(name) {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(None),
        Some(text) => {
            text.parse().map(Some).map_err(|_| format!("{name} is {text:?}; give a number in range"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Config, String> {
        Config::from_env(|name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn without_muster_the_defaults_hold() {
        let config = read(&[]).expect("valid");
        assert_eq!((config.udp_port, config.tcp_port, config.ws_port), (7777, 7778, 7779));
        assert_eq!(config.sdk, None);
    }

    #[test]
    fn muster_names_ports_and_sdk() {
        let muster = [("MUSTER_PORT_GAME_UDP", "9000"), ("MUSTER_SDK_URL", "http://a:1/")];
        let config = read(&muster).expect("valid");
        assert_eq!(config.udp_port, 9000);
        assert_eq!(config.sdk.map(|sdk| sdk.url).as_deref(), Some("http://a:1"));
        let refused = read(&[muster[0], muster[1], ("ARENA_NO_SDK", "1")]).expect("valid");
        assert_eq!(refused.sdk, None);
    }

    #[test]
    fn nonsense_names_its_variable() {
        let error = read(&[("MUSTER_PORT_GAME_TCP", "70000")]).expect_err("out of range");
        assert!(error.contains("MUSTER_PORT_GAME_TCP"), "{error}");
    }
}
