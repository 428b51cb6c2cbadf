//! The live cases: a whole Muster with real containers, and an SDK that plays on it. What an orchestrator or an edge says on
//! a bad day is the recorded cases' matter; here it is what they really say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_protocol::api::{FleetSpec, LobbyRequest, QueueSpec, RegionSpec, ServerState};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::cases::{Case, cases};
use super::driver::{Driver, Outcome, expect_error};
use crate::harness::docker::{SERVER_LABEL, containers, docker};
use crate::harness::specs::arena_fleet;
use crate::harness::stack::{REGION, Stack, StackOptions};
use crate::harness::steps::Steps;
use crate::harness::wait::{Look, until, when};

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
/// A day.
const DAY_MS: i64 = 86_400_000;

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
        "live.regions", "regions are listed and measured", [], regions;
        "live.token", "an API token that is none", [], token;
        "live.queue_unknown", "a queue that nobody applied", [], queue_unknown;
        "live.cancel", "a ticket is withdrawn, and its wait says so", [], cancel;
        "live.explain", "why a ticket waits", [], explain;
        "live.accept", "a proposed match is accepted, and another declined", ["accept"], accept;
        "live.udp", "play over UDP; the socket changes, seat and peer stay", ["udp"], udp;
        "live.tcp", "play over TCP; the connection breaks and is made anew", ["tcp"], tcp;
        "live.ws", "play over WebSocket; the connection breaks and is made anew", ["ws"], ws;
        "live.wss", "play over a WebSocket behind TLS, signed by Muster's CA", ["ws", "ca"], wss;
        "live.clock", "a client whose clock is a day off plays as any other", [], clock;
        "live.lobby", "a lobby is made, listed, read, joined, full, and left", ["lobbies"], lobby;
        "live.server_join", "a server is joined by its id", ["lobbies"], server_join;
        "live.edge_killed", "the edge is killed and comes back; so does the session, to its seat", ["udp|tcp|ws"], edge_killed;
        "live.server", "a server's calls and events, from allocation to drain", ["server"], server;
    }
}

async fn regions(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    let answer = world.driver.ok("regions", LONG, json!({"client": "a"})).await?;
    let served =
        answer["regions"].as_array().context("a list")?.iter().any(|region| region["name"] == REGION);
    ensure!(served, "{REGION} is not among {answer}");
    if world.driver.has("udp") {
        let answer = world.driver.ok("measure", LONG, json!({"client": "a"})).await?;
        ensure!(answer["latencies_ms"][REGION].is_u64(), "{REGION} was not measured: {answer}");
    }
    Ok(())
}

async fn token(world: &World) -> anyhow::Result<()> {
    let fields = json!({"client": "a", "url": world.url, "token": "mst_wrong"});
    world.driver.ok("client.open", LONG, fields).await?;
    world.driver.fails("token_invalid", "match.find", LONG, find("m", QUEUE, "ann")).await.map(drop)
}

async fn queue_unknown(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    world.driver.fails("queue_unknown", "match.find", LONG, find("m", "nowhere", "ann")).await.map(drop)
}

async fn cancel(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    world.driver.ok("match.find", LONG, find("m", ACCEPT_QUEUE, "lonely")).await?;
    world.driver.fails("timeout", "match.wait", Duration::from_millis(500), json!({"match": "m"})).await?;
    let waiting = world.driver.begin("match.wait", LONG, json!({"match": "m"})).await?;
    world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
    expect_error(&waiting.await?, &["match_cancelled"])
}

async fn explain(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    world.driver.ok("match.find", LONG, find("m", ACCEPT_QUEUE, "curious")).await?;
    let answer = world.driver.ok("match.explain", LONG, json!({"match": "m"})).await?;
    ensure!(answer["words"].as_array().is_some_and(|words| !words.is_empty()), "it says {answer}");
    world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await.map(drop)
}

async fn accept(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    for (first, second, last) in [("ann", "bob", "match.accept"), ("cat", "dan", "match.decline")] {
        let mark = world.driver.mark();
        world.driver.ok("match.find", LONG, find("m", ACCEPT_QUEUE, first)).await?;
        world.driver.ok("match.find", LONG, find("n", ACCEPT_QUEUE, second)).await?;
        let one = world.driver.begin("match.wait", LONG, json!({"match": "m"})).await?;
        let other = world.driver.begin("match.wait", LONG, json!({"match": "n"})).await?;
        for name in ["m", "n"] {
            let proposed = |event: &Value| event["match"] == name && event["state"] == "matched";
            world.driver.event(mark, "a match is proposed", LONG, proposed).await?;
        }
        world.driver.ok("match.accept", LONG, json!({"match": "m"})).await?;
        world.driver.ok(last, LONG, json!({"match": "n"})).await?;
        if last == "match.accept" {
            for waiting in [one.await?, other.await?] {
                ensure!(matches!(waiting, Outcome::Ok(_)), "accepted by all: {waiting:?}");
            }
            world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
            world.driver.ok("match.cancel", LONG, json!({"match": "n"})).await?;
        } else {
            expect_error(&other.await?, &["match_cancelled"])?;
            world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
            expect_error(&one.await?, &["match_cancelled"])?;
        }
    }
    Ok(())
}

/// Plays over `transport`; breaks the connection; plays on, in the same seat.
async fn play(world: &World, queue: &str, transport: &str, player: &str) -> anyhow::Result<()> {
    let assignment = world.seated(queue, player).await?;
    let seat = &assignment["seat_id"];
    let fields = json!({"match": "m", "session": "s", "transport": transport});
    let connected = world.driver.ok("connect", LONG, fields).await?;
    ensure!(&connected["seat_id"] == seat, "it sits in {}, not in {seat}", connected["seat_id"]);
    ensure!(connected["transport"] == transport, "it went over {}", connected["transport"]);
    let before = world.play(player, seat, 1).await?;
    let mark = world.driver.mark();
    world.driver.ok("session.break", LONG, json!({"session": "s"})).await?;
    world.rejoined(mark).await?;
    let after = world.play(player, seat, 2).await?;
    if transport == "udp" {
        ensure!(before["peer"] == after["peer"], "the server sees another peer: {before}, then {after}");
        ensure!(after["count"].as_u64() > before["count"].as_u64(), "the server began anew: {after}");
    }
    world.leave().await
}

async fn udp(world: &World) -> anyhow::Result<()> {
    play(world, QUEUE, "udp", "udp-player").await
}

async fn tcp(world: &World) -> anyhow::Result<()> {
    play(world, QUEUE, "tcp", "tcp-player").await
}

async fn ws(world: &World) -> anyhow::Result<()> {
    play(world, QUEUE, "ws", "ws-player").await
}

async fn wss(world: &World) -> anyhow::Result<()> {
    let authority = world.stack.lock().await.player.authority_pem().await?;
    let fields = json!({"client": "a", "url": world.url, "token": world.token, "ca_pem": authority});
    let player = "wss-player";
    for is_trusted in [false, true] {
        let assignment = world.seated(TLS_FLEET, player).await?;
        if is_trusted {
            world.driver.ok("client.open", LONG, fields.clone()).await?;
            world.driver.ok("match.find", LONG, find("m", TLS_FLEET, player)).await?;
            world.driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
        }
        let connect = json!({"match": "m", "session": "s", "transport": "ws"});
        if is_trusted {
            world.driver.ok("connect", LONG, connect).await?;
            world.play(player, &assignment["seat_id"], 1).await?;
            world.leave().await?;
        } else {
            world.driver.fails("tls_untrusted", "connect", LONG, connect).await?;
            world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
        }
    }
    Ok(())
}

async fn clock(world: &World) -> anyhow::Result<()> {
    for offset in [-DAY_MS, DAY_MS] {
        let fields =
            json!({"client": "a", "url": world.url, "token": world.token, "clock_offset_ms": offset});
        world.driver.ok("client.open", LONG, fields).await?;
        world.driver.ok("match.find", LONG, find("m", QUEUE, "late")).await?;
        let answer = world.driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
        let connect = json!({"match": "m", "session": "s", "transport": "auto"});
        world.driver.ok("connect", LONG, connect).await?;
        world.play("late", &answer["ticket"]["assignment"]["seat_id"], 1).await?;
        world.leave().await?;
    }
    Ok(())
}

async fn lobby(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    let driver = &world.driver;
    let request =
        json!({"fleet": FLEET, "player": "host", "lobby": {"name": "Ours", "tags": {"map": "dust"}}});
    driver.ok("lobby.create", LONG, json!({"client": "a", "match": "m", "request": request})).await?;
    let made = driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
    let code = made["ticket"]["lobby"]["code"].as_str().context("a lobby has a code")?.to_owned();
    let listed = driver
        .ok("lobby.list", LONG, json!({"client": "a", "fleet": FLEET, "tags": {"map": "dust"}}))
        .await?;
    let has = listed["lobbies"].as_array().is_some_and(|all| all.iter().any(|lobby| lobby["code"] == code));
    ensure!(has, "{code} is not among {listed}");
    let read = driver.ok("lobby.read", LONG, json!({"client": "a", "lobby": code.to_lowercase()})).await?;
    ensure!(read["lobby"]["name"] == "Ours" && read["lobby"]["players"] == 1, "it reads {read}");
    let find = json!({"fleet": FLEET, "player": "guest", "tags": {"map": "dust"}});
    driver.ok("lobby.find", LONG, json!({"client": "a", "match": "n", "request": find})).await?;
    let joined = driver.ok("match.wait", LONG, json!({"match": "n"})).await?;
    ensure!(joined["ticket"]["lobby"]["code"] == code, "another lobby: {joined}");
    let join = json!({"client": "a", "match": "o", "lobby": code, "request": {"player": "third"}});
    driver.fails("lobby_full", "lobby.join", LONG, join.clone()).await?;
    driver.ok("match.cancel", LONG, json!({"match": "n"})).await?;
    driver.ok("lobby.join", LONG, join).await?;
    for name in ["o", "m"] {
        driver.ok("match.cancel", LONG, json!({"match": name})).await?;
    }
    let unknown = json!({"client": "a", "match": "o", "lobby": "ZZZZZZ", "request": {"player": "third"}});
    driver.fails("lobby_unknown", "lobby.join", LONG, unknown).await.map(drop)
}

async fn server_join(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    let ready = warm(world, FLEET).await?;
    let join = json!({"client": "a", "match": "m", "server_id": ready, "request": {"player": "direct"}});
    world.driver.ok("server.join", LONG, join).await?;
    let answer = world.driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
    ensure!(answer["ticket"]["assignment"]["server_id"] == ready, "another server: {answer}");
    world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
    let nowhere = json!({"client": "a", "match": "m", "server_id": "srv_01h455vb4pex5vsknk084sn02q", "request": {"player": "direct"}});
    world.driver.fails("server_unknown", "server.join", LONG, nowhere).await.map(drop)
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

async fn edge_killed(world: &World) -> anyhow::Result<()> {
    let player = "survivor";
    let assignment = world.seated(QUEUE, player).await?;
    let seat = &assignment["seat_id"];
    let connect = json!({"match": "m", "session": "s", "transport": "auto"});
    world.driver.ok("connect", LONG, connect).await?;
    let before = world.play(player, seat, 1).await?;
    {
        let mut stack = world.stack.lock().await;
        let edge = stack.edge.as_mut().context("the stack has an edge")?;
        edge.kill9().await?;
        edge.restart()?;
    }
    // Whether the session noticed, or the edge was back before it could, it plays on.
    let back = until("the session to play again", REJOIN, async || {
        Ok(match world.play(player, seat, 2).await {
            Ok(state) => Look::Holds(state),
            Err(error) => Look::NotYet(format!("{error:#}")),
        })
    });
    let after = back.await?;
    if before["peer"].as_str().is_some_and(|peer| after["peer"] == peer) {
        ensure!(after["count"].as_u64() > before["count"].as_u64(), "the server began anew: {after}");
    }
    world.stack.lock().await.wait_for_edge().await?;
    world.leave().await
}

async fn server(world: &World) -> anyhow::Result<()> {
    let driver = &world.driver;
    let id = warm(world, SILENT_FLEET).await?;
    let mark = driver.mark();
    let opened =
        driver.ok("server.open", LONG, json!({"server": "v", "env": environment(&id).await?})).await?;
    ensure!(opened["server_id"] == id && opened["ports"]["game-udp"] == 7777, "it says {opened}");
    driver.ok("server.ready", LONG, json!({"server": "v"})).await?;
    let state = world.server_event(mark, "state").await?;
    ensure!(state["data"]["id"] == id, "it is told of another: {state}");
    // A lobby, so that there is one to change.
    let player = world.stack.lock().await.player.clone();
    let request = LobbyRequest {
        fleet: SILENT_FLEET.to_owned(),
        player: "visitor".to_owned(),
        ..LobbyRequest::default()
    };
    let ticket = player.create_lobby(&request).await?;
    let assignment = ticket.assignment.context("a lobby on a warm server is assigned at once")?;
    ensure!(assignment.server_id.to_string() == id, "the lobby is on {}, not on {id}", assignment.server_id);
    let allocated = world.server_event(mark, "allocated").await?;
    let seat = assignment.seat_id.to_string();
    ensure!(allocated["data"]["seats"][0]["seat"] == seat, "the seat is not in {allocated}");
    let token = assignment.endpoints[0].token.clone().context("the endpoint has a token")?;
    let connected = driver.ok("server.connected", LONG, json!({"server": "v", "token": token})).await?;
    ensure!(connected["seat"] == seat && connected["player"] == "visitor", "the token is of {connected}");
    driver
        .fails("forbidden", "server.connected", LONG, json!({"server": "v", "token": format!("{token}x")}))
        .await?;
    driver.ok("server.connected", LONG, json!({"server": "v", "seat": seat})).await?;
    let view = until("the seat to be connected", LONG, async || {
        let view = driver.ok("server.read", LONG, json!({"server": "v"})).await?["server"].clone();
        let is_there = view["connected_seats"].as_array().is_some_and(|seats| seats.contains(&json!(seat)));
        Ok(if is_there { Look::Holds(view) } else { Look::NotYet(view.to_string()) })
    })
    .await?;
    ensure!(view["state"] == "allocated", "it is {}", view["state"]);
    driver.ok("server.backfill", LONG, json!({"server": "v", "open": true, "priority": "high"})).await?;
    driver.ok("server.backfill", LONG, json!({"server": "v", "open": false})).await?;
    driver.ok("server.disconnected", LONG, json!({"server": "v", "seat": seat})).await?;
    driver
        .ok("server.lobby", LONG, json!({"server": "v", "change": {"open": false, "tags": {"map": "ice"}}}))
        .await?;
    {
        let stack = world.stack.lock().await;
        stack.studio.stop_server(&id.parse()?, false).await?;
    }
    world.server_event(mark, "draining").await?;
    driver.ok("server.released", LONG, json!({"server": "v", "seat": seat})).await?;
    driver.ok("server.shutdown", LONG, json!({"server": "v"})).await?;
    driver.ok("server.close", LONG, json!({"server": "v"})).await?;
    let stack = world.stack.lock().await;
    until("the server to end", LONG, async || {
        let server = stack.studio.server(&id.parse()?).await?;
        Ok(when(server.state.is_final(), || format!("it is {}", server.state.as_str())))
    })
    .await
}

/// Muster's variables in the container of a server.
async fn environment(server: &str) -> anyhow::Result<Value> {
    let container =
        containers(SERVER_LABEL, server).await?.into_iter().next().context("it has no container")?;
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    let variables = docker(&["inspect", "--format", format, &container]).await?;
    let pairs = variables.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .filter(|(name, _)| name.starts_with("MUSTER_"))
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect())
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
