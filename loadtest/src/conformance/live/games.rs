//! Playing through a real edge: over each transport, with a clock that is wrong, and past an edge that is killed.

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::{LONG, QUEUE, REJOIN, TLS_FLEET, World, find};
use crate::harness::wait::{Look, until};

/// A day.
const DAY_MS: i64 = 86_400_000;

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

pub(super) async fn udp(world: &World) -> anyhow::Result<()> {
    play(world, QUEUE, "udp", "udp-player").await
}

pub(super) async fn tcp(world: &World) -> anyhow::Result<()> {
    play(world, QUEUE, "tcp", "tcp-player").await
}

pub(super) async fn ws(world: &World) -> anyhow::Result<()> {
    play(world, QUEUE, "ws", "ws-player").await
}

pub(super) async fn wss(world: &World) -> anyhow::Result<()> {
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

pub(super) async fn clock(world: &World) -> anyhow::Result<()> {
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

pub(super) async fn edge_killed(world: &World) -> anyhow::Result<()> {
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
