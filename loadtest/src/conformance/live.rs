//! The live cases: a whole Muster with real containers, and an SDK that plays on it. What an orchestrator or an edge says on
//! a bad day is the recorded cases' matter; here it is what they really say.

mod games;
mod lobbies;
mod servers;
mod tickets;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_protocol::api::{FleetSpec, QueueSpec, RegionSpec, ServerState};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::cases::{Case, cases};
use super::driver::{Driver, Outcome};
use crate::harness::specs::arena_fleet;
use crate::harness::stack::{REGION, Stack, StackOptions};
use crate::harness::steps::Steps;
use crate::harness::wait::{Look, until};

/// A deadline that only a hang reaches.
const LONG: Duration = Duration::from_secs(30);
/// How soon a session has to be back after what it went through is there again. What is measured is told, not judged.
const REJOIN: Duration = Duration::from_secs(20);
/// The fleet, its queue of matches of one, and the build.
const FLEET: &str = "arena";
const QUEUE: &str = "solo";
/// A queue of two who have to accept.
const ACCEPT_QUEUE: &str = "accepted";
const BUILD: &str = "arena:conformance";
/// A fleet whose servers leave the SDK to whoever shows their token, and its queue.
const SILENT_FLEET: &str = "silent";
/// A fleet with a WebSocket port behind TLS.
const TLS_FLEET: &str = "secure";

/// A Muster, and the SDK that plays on it.
pub struct World {
    driver: Driver,
    stack: Mutex<Stack>,
    url: String,
    token: String,
}

impl World {
    /// Starts all of it.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn start(driver: &str, muster: PathBuf, image: &str, dir: PathBuf) -> anyhow::Result<Self> {
        let mut steps = Steps::shown();
        let options = StackOptions { cpu_millis: Some(8_000), ..StackOptions::new(muster, dir) };
        let stack = Stack::start(options, &mut steps).await?;
        steps.run("push", "push the example's image", stack.push_image(image, BUILD)).await?;
        let fleets = async {
            for (name, warm) in [(FLEET, 2), (SILENT_FLEET, 1), (TLS_FLEET, 1)] {
                stack.studio.apply_fleet(&fleet(name, warm)).await?;
                stack.studio.apply_queue(&QueueSpec::simple(queue_of(name), name, 1)).await?;
            }
            let accepted = QueueSpec { accept_s: 30, ..QueueSpec::simple(ACCEPT_QUEUE, FLEET, 2) };
            stack.studio.apply_queue(&accepted).await?;
            for name in [FLEET, SILENT_FLEET, TLS_FLEET] {
                stack.wait_for_warm(name).await?;
            }
            Ok(())
        };
        steps.run("fleets", "apply fleets and queues; servers become ready", fleets).await?;
        let request = muster_protocol::api::ApiTokenRequest {
            role: muster_protocol::api::Role::Client,
            namespace: stack.admin.namespace().map(str::to_owned),
            name: "the SDK under test".to_owned(),
            ttl_s: None,
        };
        let token = stack.admin.create_token(&request).await?.token.context("a new token has its text")?;
        let url = stack.url().to_owned();
        Ok(Self { driver: Driver::start(driver).await?, stack: Mutex::new(stack), url, token })
    }

    /// The driver.
    pub fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Stops all of it, in order.
    ///
    /// # Errors
    /// If the driver does not end, or something is left behind.
    pub async fn stop(self) -> anyhow::Result<()> {
        let driver = self.driver.quit().await;
        let stack = self.stack.into_inner().stop(&[FLEET, SILENT_FLEET, TLS_FLEET]).await;
        driver.and(stack)
    }

    async fn open(&self) -> anyhow::Result<()> {
        let fields = json!({"client": "a", "url": self.url, "token": self.token});
        self.driver.ok("client.open", LONG, fields).await.map(drop)
    }

    /// Opens a client, finds a match of one, and waits for its seat.
    async fn seated(&self, queue: &str, player: &str) -> anyhow::Result<Value> {
        self.open().await?;
        self.driver.ok("match.find", LONG, find("m", queue, player)).await?;
        let answer = self.driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
        Ok(answer["ticket"]["assignment"].clone())
    }

    /// Plays one move; what the arena says.
    async fn play(&self, player: &str, seat: &Value, seq: u64) -> anyhow::Result<Value> {
        let message = json!({"player": player, "seat": seat, "seq": seq, "nonce": seq, "move": [1, 0]});
        let fields = json!({"session": "s", "text": message.to_string()});
        // UDP may lose either way; a game would say it again, too.
        let mut said = Outcome::Ok(Value::Null);
        for _ in 0..10 {
            self.driver.ok("session.send", LONG, fields.clone()).await?;
            let wait = Duration::from_secs(1);
            said = self.driver.call("session.receive", wait, json!({"session": "s"})).await?;
            if let Outcome::Ok(answer) = &said {
                let text = answer["text"].as_str().context("a message has a text")?;
                let state: Value = serde_json::from_str(text).with_context(|| format!("{text:?}"))?;
                if state["seq"] == seq {
                    ensure!(state["player"] == player, "another's session: {state}");
                    return Ok(state);
                }
            }
        }
        anyhow::bail!("the arena does not answer: {said:?}")
    }

    async fn leave(&self) -> anyhow::Result<()> {
        self.driver.ok("session.close", LONG, json!({"session": "s"})).await?;
        self.driver.ok("match.cancel", LONG, json!({"match": "m"})).await.map(drop)
    }

    async fn rejoined(&self, mark: usize) -> anyhow::Result<()> {
        let told = |event: &Value| {
            event["event"] == "session" && event["session"] == "s" && event["state"] == "rejoined"
        };
        self.driver.event(mark, "the session is back", REJOIN, told).await.map(drop)
    }

    async fn server_event(&self, mark: usize, kind: &str) -> anyhow::Result<Value> {
        let told = |event: &Value| event["event"] == "server" && event["type"] == kind;
        self.driver.event(mark, &format!("the server is told {kind}"), LONG, told).await
    }
}

fn queue_of(fleet: &str) -> &str {
    if fleet == FLEET { QUEUE } else { fleet }
}

fn fleet(name: &str, warm: u32) -> FleetSpec {
    let mut spec = arena_fleet(name, BUILD, REGION, warm, 12);
    for port in &mut spec.ports {
        port.tls &= name == TLS_FLEET;
    }
    if name == SILENT_FLEET {
        spec.env = BTreeMap::from([("ARENA_NO_SDK".to_owned(), "1".to_owned())]);
    }
    spec.regions = BTreeMap::from([(REGION.to_owned(), RegionSpec { warm, max: 12 })]);
    spec.max_players = 2;
    spec
}

fn find(name: &str, queue: &str, player: &str) -> Value {
    json!({"client": "a", "match": name, "request": {"queue": queue, "player": player, "latencies_ms": {REGION: 1}}})
}

/// The cases, in their order.
pub fn all() -> Vec<Case<World>> {
    cases! {
        "live.regions", "regions are listed and measured", [], tickets::regions;
        "live.token", "an API token that is none", [], tickets::token;
        "live.queue_unknown", "a queue that nobody applied", [], tickets::queue_unknown;
        "live.cancel", "a ticket is withdrawn, and its wait says so", [], tickets::cancel;
        "live.explain", "why a ticket waits", [], tickets::explain;
        "live.accept", "a proposed match is accepted, and another declined", ["accept"], tickets::accept;
        "live.udp", "play over UDP; the socket changes, seat and peer stay", ["udp"], games::udp;
        "live.tcp", "play over TCP; the connection breaks and is made anew", ["tcp"], games::tcp;
        "live.ws", "play over WebSocket; the connection breaks and is made anew", ["ws"], games::ws;
        "live.wss", "play over a WebSocket behind TLS, signed by Muster's CA", ["ws", "ca"], games::wss;
        "live.clock", "a client whose clock is a day off plays as any other", [], games::clock;
        "live.lobby", "a lobby is made, listed, read, joined, full, and left", ["lobbies"], lobbies::lobby;
        "live.server_join", "a server is joined by its id", ["lobbies"], lobbies::server_join;
        "live.edge_killed", "the edge is killed and comes back; so does the session, to its seat", ["udp|tcp|ws"], games::edge_killed;
        "live.server", "a server's calls and events, from allocation to drain", ["server"], servers::server;
    }
}

/// A ready server of `fleet`.
async fn warm(world: &World, fleet: &str) -> anyhow::Result<String> {
    let stack = world.stack.lock().await;
    until("a ready server", LONG, async || {
        let servers = stack.servers(fleet).await?;
        Ok(match servers.iter().find(|server| server.state == ServerState::Ready) {
            Some(server) => Look::Holds(server.id.to_string()),
            None => Look::NotYet("there is none".to_owned()),
        })
    })
    .await
}

#[cfg(test)]
mod tests {
    use muster_protocol::api::TicketRequest;

    use super::*;

    #[test]
    fn a_request_of_the_cases_is_one_of_the_apis() {
        let request: TicketRequest =
            serde_json::from_value(find("m", QUEUE, "ann")["request"].clone()).expect("of the API's shape");
        assert_eq!((request.queue.as_str(), request.latencies_ms[REGION]), (QUEUE, 1));
    }
}
