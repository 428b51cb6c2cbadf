//! A game server and its agent, which is late, away, or gone in the middle.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::LONG;
use crate::conformance::driver::Driver;
use crate::conformance::play::{Host, Reply};
use crate::harness::wait::{until, when};

fn environment(url: &str) -> Value {
    json!({"server": "v", "env": {"MUSTER_SDK_URL": url, "MUSTER_SERVER_TOKEN": "secret",
        "MUSTER_SERVER_ID": "srv_01h455vb4pex5vsknk084sn02q", "MUSTER_NAMESPACE": "arena/test",
        "MUSTER_REGION": "local", "MUSTER_PORT_GAME_UDP": "7777"}})
}

fn server() -> Value {
    json!({"server": "v"})
}

pub(super) async fn server_environment(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|_| Reply::Stall(Vec::new())).await?;
    let opened = driver.ok("server.open", LONG, environment(&host.url())).await?;
    let expected = json!({"under_muster": true, "server_id": "srv_01h455vb4pex5vsknk084sn02q",
        "namespace": "arena/test", "region": "local", "ports": {"game-udp": 7777}});
    for (key, value) in expected.as_object().context("an object")? {
        ensure!(&opened[key] == value, "{key} is {}, not {value}", opened[key]);
    }
    let opened = driver.ok("server.open", LONG, json!({"server": "v", "env": {}})).await?;
    ensure!(opened["under_muster"] == false, "without variables: {opened}");
    driver.fails("not_under_muster", "server.ready", LONG, server()).await?;
    driver
        .fails("not_under_muster", "server.connected", LONG, json!({"server": "v", "seat": "seat_x"}))
        .await
        .map(drop)
}

fn no_content() -> Reply {
    Reply::Json(200, json!({}))
}

pub(super) async fn server_health(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|request| match request.line.as_str() {
        "GET /v1/events" => Reply::Texts(Vec::new(), false),
        _ => no_content(),
    })
    .await?;
    driver.ok("server.open", LONG, environment(&host.url())).await?;
    driver.ok("server.ready", LONG, server()).await?;
    until("a health call", Duration::from_secs(15), async || {
        let count = host.count("POST /v1/health");
        Ok(when(count > 0, || "there is none".to_owned()))
    })
    .await?;
    driver.ok("server.close", LONG, server()).await.map(drop)
}

pub(super) async fn server_late_seat(driver: &Driver) -> anyhow::Result<()> {
    let tries = std::sync::atomic::AtomicUsize::new(0);
    let host = Host::start(move |request| match request.line.as_str() {
        "POST /v1/seats/connected" if request.body["token"].is_string() => {
            Reply::problem(403, "forbidden", "session token: signature is wrong")
        }
        "POST /v1/seats/connected" => match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 | 1 => Reply::problem(409, "server_state", "it is no seat of this server"),
            _ => Reply::Json(200, json!({"seat": request.body["seat"], "player": "ann"})),
        },
        "GET /v1/events" => Reply::Texts(Vec::new(), false),
        _ => no_content(),
    })
    .await?;
    driver.ok("server.open", LONG, environment(&host.url())).await?;
    let seat = "seat_01h455vb4pex5vsknk084sn02r";
    let told = driver.ok("server.connected", LONG, json!({"server": "v", "seat": seat})).await?;
    ensure!(told["seat"] == seat && told["player"] == "ann", "it is {told}");
    let before = host.count("POST /v1/seats/connected");
    driver
        .fails("forbidden", "server.connected", LONG, json!({"server": "v", "token": "v4.public.bad"}))
        .await?;
    ensure!(host.count("POST /v1/seats/connected") == before + 1, "a token that is refused was said again");
    driver.ok("server.close", LONG, server()).await.map(drop)
}

pub(super) async fn server_away(driver: &Driver) -> anyhow::Result<()> {
    let url = Host::start(|_| no_content()).await?.url();
    driver.ok("server.open", LONG, environment(&url)).await?;
    driver.fails("unreachable", "server.ready", Duration::from_secs(1), server()).await?;
    driver.ok("server.close", LONG, server()).await.map(drop)
}

pub(super) async fn server_events(driver: &Driver) -> anyhow::Result<()> {
    let connections = std::sync::atomic::AtomicUsize::new(0);
    let state = json!({"type": "state", "id": "srv_01h455vb4pex5vsknk084sn02q", "state": "ready", "allocation": null,
        "connected_seats": [], "draining": false});
    let host = Host::start(move |request| match request.line.as_str() {
        "GET /v1/events" => match connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Reply::Texts(vec![state.to_string(), "this is no JSON".to_owned()], true),
            _ => Reply::Texts(
                vec![
                    state.to_string(),
                    json!({"type": "allocated", "match_id": "match_1", "seats": [{"seat": "seat_1", "player": "ann", "team": ""}],
                        "data": null}).to_string(),
                    json!({"type": "draining", "deadline_ms": 1_800_000_000_000_u64}).to_string(),
                ],
                false,
            ),
        },
        _ => no_content(),
    })
    .await?;
    let mark = driver.mark();
    driver.ok("server.open", LONG, environment(&host.url())).await?;
    for kind in ["state", "allocated", "draining"] {
        let told =
            |event: &Value| event["event"] == "server" && event["server"] == "v" && event["type"] == kind;
        driver.event(mark, &format!("the server is told {kind}"), Duration::from_secs(15), told).await?;
    }
    driver.ok("server.close", LONG, server()).await.map(drop)
}
