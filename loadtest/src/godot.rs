//! Players of an unmodified Godot game: each client runs in a container of its own, is told nothing
//! but an address, judges its answers itself, and what it says is checked here once more.
//!
//! This is about `examples/godot-plain`, whose client prints one line of JSON. Bots that speak the
//! example server's own messages are elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::try_join_all;
use muster_protocol::api::{Endpoint, PortProtocol};
use serde::Deserialize;
use tokio::process::Command;

use crate::latency::median;

/// Reliable calls of each client, one per frame: over a second, so that clients play at the same time
/// though their containers start one after the other.
pub const PINGS: u64 = 200;
/// How long a client's container may take. The client itself gives up after half of it.
const CLIENT_DEADLINE: Duration = Duration::from_mins(1);
/// Label of the clients' containers.
const LABEL: &str = "muster.test=godot-client";
/// Where a client finds the CA's certificate in its container.
const CA_IN_CONTAINER: &str = "/ca.pem";

/// How a client talks to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// `ENetMultiplayerPeer`, over UDP.
    Enet,
    /// `WebSocketMultiplayerPeer`, by `ws`.
    Ws,
    /// `WebSocketMultiplayerPeer`, by `wss`.
    Wss,
}

impl Transport {
    fn as_str(self) -> &'static str {
        match self {
            Self::Enet => "enet",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// What Docker is left with; taken away when this is dropped, whatever came in between.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Names of containers.
    pub containers: Vec<String>,
    /// Names of images.
    pub images: Vec<String>,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        // What is gone already is no failure, and there is nobody left to tell of any other.
        let run = |args: &[&str], names: &[String]| {
            if !names.is_empty() {
                let _ = std::process::Command::new("docker").args(args).args(names).output();
            }
        };
        run(&["rm", "--force", "--volumes"], &self.containers);
        run(&["image", "rm"], &self.images);
    }
}

/// Clients that play at the same time.
#[derive(Debug)]
pub struct Clients<'a> {
    /// Their image.
    pub image: &'a str,
    /// Directory for their logs, and for the CA's certificate.
    pub dir: &'a Path,
    /// The CA that `wss` endpoints are signed by, PEM.
    pub authority_pem: &'a str,
    /// Where each connects.
    pub endpoints: Vec<Endpoint>,
}

/// What came of one client.
#[derive(Debug)]
pub struct Outcome {
    /// `enet-1`; its log is `enet-1.log`.
    pub name: String,
    /// How it talked.
    pub transport: Transport,
    /// What it said if all is well, or what is wrong.
    pub verdict: Result<Said, String>,
}

/// A client's own account.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Said {
    /// Whether every answer came, in order, and was its own.
    pub ok: bool,
    /// What was not so.
    pub error: String,
    /// Milliseconds until it was connected, from its first frame.
    pub connect_ms: u64,
    /// Reliable calls sent.
    pub sent: u64,
    /// Reliable calls answered.
    pub returned: u64,
    /// Unreliable calls sent.
    pub moves_sent: u64,
    /// Unreliable calls answered before the last reliable one was. `ENet` leaves some out by itself when
    /// round trips swing.
    pub moves_returned: u64,
    /// Half of the reliable calls were answered within this, in milliseconds.
    pub p50_ms: f64,
}

impl Clients<'_> {
    /// Runs all of them to their end.
    ///
    /// # Errors
    /// If they could not be run. A client that fails is an [`Outcome`].
    pub async fn play(self) -> anyhow::Result<Vec<Outcome>> {
        // The engine wants the whole path of what it mounts.
        let dir = std::path::absolute(self.dir)?;
        let authority = dir.join("ca.pem");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        std::fs::write(&authority, self.authority_pem)
            .with_context(|| format!("cannot write {}", authority.display()))?;
        let mut numbers = BTreeMap::new();
        let clients: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| {
                let transport = transport_of(endpoint);
                let number = numbers.entry(transport).and_modify(|number| *number += 1).or_insert(1);
                Client {
                    name: format!("{}-{number}", transport.as_str()),
                    transport,
                    endpoint,
                    image: self.image,
                    log: dir.join(format!("{}-{number}.log", transport.as_str())),
                    authority: &authority,
                }
            })
            .collect();
        let containers = clients.iter().map(Client::container).collect();
        let _leftovers = Leftovers { containers, images: Vec::new() };
        try_join_all(clients.iter().map(Client::play)).await
    }
}

struct Client<'a> {
    name: String,
    transport: Transport,
    endpoint: &'a Endpoint,
    image: &'a str,
    log: PathBuf,
    authority: &'a Path,
}

impl Client<'_> {
    fn container(&self) -> String {
        format!("muster-godot-{}-{}", std::process::id(), self.name)
    }

    async fn play(&self) -> anyhow::Result<Outcome> {
        let output =
            File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut command = Command::new("docker");
        // The host's network, because the edge of a test listens on loopback alone. The init process is
        // for whoever interrupts: Godot as process 1 would not hear it.
        command
            .args(["run", "--rm", "--init", "--network", "host", "--label", LABEL])
            .args(["--name", &self.container(), "--volume"])
            .arg(format!("{}:{CA_IN_CONTAINER}:ro", self.authority.display()))
            .arg(self.image)
            .args(arguments(self.transport, self.endpoint))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let verdict = match tokio::time::timeout(CLIENT_DEADLINE, command.status()).await {
            Err(_) => Err(format!("not done after {} s", CLIENT_DEADLINE.as_secs())),
            Ok(status) => {
                let status = status.context("cannot run `docker`")?;
                let text = std::fs::read(&self.log)?;
                judge(&String::from_utf8_lossy(&text), status.success())
            }
        };
        Ok(Outcome { name: self.name.clone(), transport: self.transport, verdict })
    }
}

fn transport_of(endpoint: &Endpoint) -> Transport {
    let secure = endpoint.url.as_deref().is_some_and(|url| url.starts_with("wss:"));
    match endpoint.protocol {
        PortProtocol::Udp => Transport::Enet,
        PortProtocol::Tcp | PortProtocol::Ws if secure => Transport::Wss,
        PortProtocol::Tcp | PortProtocol::Ws => Transport::Ws,
    }
}

/// The client's arguments, as the game's README lists them.
fn arguments(transport: Transport, endpoint: &Endpoint) -> Vec<String> {
    let (pings, port) = (PINGS.to_string(), endpoint.port.to_string());
    let url = endpoint.url.as_deref().unwrap_or_default();
    let mut arguments = vec!["--client", "--pings", &pings, "--transport"];
    match transport {
        Transport::Enet => arguments.extend(["enet", "--address", &endpoint.host, "--port", &port]),
        Transport::Ws => arguments.extend(["ws", "--url", url]),
        Transport::Wss => arguments.extend(["ws", "--url", url, "--ca", CA_IN_CONTAINER]),
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// Whether a client that printed `text` and left with success or not got what it is due.
fn judge(text: &str, success: bool) -> Result<Said, String> {
    let mut accounts = text.lines().filter(|line| line.starts_with('{'));
    let line = accounts.next().ok_or_else(|| match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(last) => format!("said nothing of its game, and last: {last}"),
        None => "said nothing".to_owned(),
    })?;
    if accounts.next().is_some() {
        return Err("gave two accounts of one game".to_owned());
    }
    let said: Said =
        serde_json::from_str(line).map_err(|error| format!("said what is no account ({error}): {line}"))?;
    if !said.ok || !said.error.is_empty() {
        return Err(said.error);
    }
    if !success {
        return Err("said that all is well, and left with failure".to_owned());
    }
    if said.sent != PINGS || said.returned != PINGS {
        return Err(format!("{} of {} calls answered, {PINGS} were to be sent", said.returned, said.sent));
    }
    if said.moves_returned == 0 || said.moves_returned > said.moves_sent {
        return Err(format!("{} of {} positions answered", said.moves_returned, said.moves_sent));
    }
    Ok(said)
}

/// The outcomes as people read them: by transport, then what went wrong.
pub fn summary(outcomes: &[Outcome]) -> String {
    let mut text = format!(
        "\n  {:<11}{:>8}{:>8}{:>10}{:>10}{:>12}{:>12}{:>12}\n",
        "transport", "clients", "well", "calls", "answered", "positions", "connected", "call p50"
    );
    for transport in [Transport::Enet, Transport::Ws, Transport::Wss] {
        let of: Vec<_> = outcomes.iter().filter(|outcome| outcome.transport == transport).collect();
        let well: Vec<_> = of.iter().filter_map(|outcome| outcome.verdict.as_ref().ok()).collect();
        let sum = |field: fn(&Said) -> u64| well.iter().map(|said| field(said)).sum::<u64>();
        let middle = |field: fn(&Said) -> f64| {
            median(&well.iter().map(|said| field(said)).collect::<Vec<_>>())
                .map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"))
        };
        let _ = writeln!(
            text,
            "  {:<11}{:>8}{:>8}{:>10}{:>10}{:>12}{:>12}{:>12}",
            transport.as_str(),
            of.len(),
            well.len(),
            sum(|said| said.sent),
            sum(|said| said.returned),
            format!("{}/{}", sum(|said| said.moves_returned), sum(|said| said.moves_sent)),
            middle(|said| said.connect_ms as f64),
            middle(|said| said.p50_ms),
        );
    }
    for outcome in outcomes {
        if let Err(why) = &outcome.verdict {
            let _ = writeln!(text, "  ✗ {}: {why}", outcome.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const WELL: &str = r#"{"connect_ms":14,"error":"","moves_returned":198,"moves_sent":200,"ok":true,"p50_ms":6.9,"returned":200,"sent":200,"transport":"enet"}"#;

    #[test]
    fn an_account_among_other_lines_is_found() {
        let said = judge(&format!("Godot Engine v4.6\n\n{WELL}\n"), true).expect("all is well");
        assert_eq!((said.connect_ms, said.returned, said.p50_ms.to_bits()), (14, 200, 6.9_f64.to_bits()));
    }

    #[test]
    fn nothing_but_a_whole_game_is_well() {
        let without = |from: &str, to: &str| WELL.replace(from, to);
        for (text, success, why) in [
            (String::new(), true, "said nothing"),
            ("Killed\n".to_owned(), false, "last: Killed"),
            (format!("{WELL}\n{WELL}"), true, "two accounts"),
            (WELL.to_owned(), false, "left with failure"),
            (
                without(r#""ok":true"#, r#""ok":false"#).replace(r#""error":"""#, r#""error":"of peer 7""#),
                false,
                "of peer 7",
            ),
            (without(r#""returned":200"#, r#""returned":199"#), true, "199 of 200"),
            (
                without(r#""sent":200,"t"#, r#""sent":50,"t"#)
                    .replace(r#""returned":200"#, r#""returned":50"#),
                true,
                "50 of 50",
            ),
            (without("198", "0"), true, "0 of 200 positions"),
            (without(r#","sent":200"#, ""), true, "no account"),
        ] {
            let said = judge(&text, success).expect_err(why);
            assert!(said.contains(why), "{said:?} does not say {why:?}");
        }
    }

    #[test]
    fn clients_are_told_an_address_and_nothing_of_muster() {
        let endpoint = |protocol, url: Option<&str>| Endpoint {
            port_name: "any".to_owned(),
            protocol,
            host: "192.0.2.1".to_owned(),
            port: 20_001,
            url: url.map(str::to_owned),
            tls: false,
            token_mode: muster_protocol::api::TokenMode::Open,
            token: None,
            token_expires_at_ms: None,
        };
        let told = |endpoint: Endpoint| arguments(transport_of(&endpoint), &endpoint).split_off(4).join(" ");
        assert_eq!(told(endpoint(PortProtocol::Udp, None)), "enet --address 192.0.2.1 --port 20001");
        assert_eq!(
            told(endpoint(PortProtocol::Ws, Some("ws://192.0.2.1:20001"))),
            "ws --url ws://192.0.2.1:20001"
        );
        assert_eq!(
            told(endpoint(PortProtocol::Ws, Some("wss://192.0.2.1:20001"))),
            "ws --url wss://192.0.2.1:20001 --ca /ca.pem"
        );
    }

    #[test]
    fn a_failure_is_named_and_not_counted_as_well() {
        let outcome =
            |name: &str, verdict| Outcome { name: name.to_owned(), transport: Transport::Ws, verdict };
        let well = judge(WELL, true);
        let text =
            summary(&[outcome("ws-1", well), outcome("ws-2", Err("the connection failed".to_owned()))]);
        let row = text.lines().find(|line| line.starts_with("  ws ")).expect("a row");
        assert_eq!(row.split_whitespace().take(5).collect::<Vec<_>>(), ["ws", "2", "1", "200", "200"]);
        assert!(text.contains("✗ ws-2: the connection failed"), "{text}");
    }
}
