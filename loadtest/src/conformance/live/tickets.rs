//! Tickets on a whole Muster: regions, what is refused, what waits, what is accepted.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{ACCEPT_QUEUE, LONG, QUEUE, World, find};
use crate::conformance::driver::{Outcome, expect_error};
use crate::harness::stack::REGION;

pub(super) async fn regions(world: &World) -> anyhow::Result<()> {
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

pub(super) async fn token(world: &World) -> anyhow::Result<()> {
    let fields = json!({"client": "a", "url": world.url, "token": "mst_wrong"});
    world.driver.ok("client.open", LONG, fields).await?;
    world.driver.fails("token_invalid", "match.find", LONG, find("m", QUEUE, "ann")).await.map(drop)
}

pub(super) async fn queue_unknown(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    world.driver.fails("queue_unknown", "match.find", LONG, find("m", "nowhere", "ann")).await.map(drop)
}

pub(super) async fn cancel(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    world.driver.ok("match.find", LONG, find("m", ACCEPT_QUEUE, "lonely")).await?;
    world.driver.fails("timeout", "match.wait", Duration::from_millis(500), json!({"match": "m"})).await?;
    let waiting = world.driver.begin("match.wait", LONG, json!({"match": "m"})).await?;
    world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await?;
    expect_error(&waiting.await?, &["match_cancelled"])
}

pub(super) async fn explain(world: &World) -> anyhow::Result<()> {
    world.open().await?;
    world.driver.ok("match.find", LONG, find("m", ACCEPT_QUEUE, "curious")).await?;
    let answer = world.driver.ok("match.explain", LONG, json!({"match": "m"})).await?;
    ensure!(answer["words"].as_array().is_some_and(|words| !words.is_empty()), "it says {answer}");
    world.driver.ok("match.cancel", LONG, json!({"match": "m"})).await.map(drop)
}

pub(super) async fn accept(world: &World) -> anyhow::Result<()> {
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
