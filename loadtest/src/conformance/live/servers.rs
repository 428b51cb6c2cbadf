//! A game server's calls and events, in the place of one that leaves them to whoever has its token.

use anyhow::{Context as _, ensure};
use muster_protocol::api::LobbyRequest;
use serde_json::{Value, json};

use super::{LONG, SILENT_FLEET, World, warm};
use crate::harness::docker::{SERVER_LABEL, containers, docker};
use crate::harness::wait::{Look, until, when};

pub(super) async fn server(world: &World) -> anyhow::Result<()> {
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
