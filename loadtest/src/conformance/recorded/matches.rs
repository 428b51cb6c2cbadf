//! A ticket on its way: told, ended, waited for while the connection breaks.

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{LONG, SHORT, find, open};
use crate::conformance::driver::{Driver, Outcome, expect_error, expect_ok};
use crate::conformance::play::{Host, Reply, assigned, desk, ticket};
use crate::harness::wait::{until, when};

pub(super) async fn match_progress(driver: &Driver) -> anyhow::Result<()> {
    let (sender, _) = watch::channel(ticket("searching", "waits for others"));
    let host = desk(&sender).await?;
    open(driver, &host.url()).await?;
    let mark = driver.mark();
    driver.ok("match.find", LONG, find()).await?;
    let waiting = driver.begin("match.wait", LONG, json!({"match": "m"})).await?;
    let steps = [("searching", "waits for a server"), ("matched", "its server starts")];
    for (state, explanation) in steps {
        sender.send_replace(ticket(state, explanation));
        let told = |event: &Value| {
            event["event"] == "progress"
                && event["match"] == "m"
                && event["state"] == state
                && event["explanation"] == explanation
        };
        driver.event(mark, &format!("it is {state}: {explanation}"), LONG, told).await?;
    }
    sender.send_replace(assigned(Vec::new()));
    let answer = expect_ok(waiting.await?)?;
    let seat = &answer["ticket"]["assignment"]["seat_id"];
    ensure!(seat == "seat_01h455vb4pex5vsknk084sn02r", "the seat is {seat}");
    Ok(())
}

async fn ends(driver: &Driver, state: &str, code: &str) -> anyhow::Result<()> {
    let (sender, _) = watch::channel(ticket("searching", "waits for others"));
    let host = desk(&sender).await?;
    open(driver, &host.url()).await?;
    driver.ok("match.find", LONG, find()).await?;
    let waiting = driver.begin("match.wait", LONG, json!({"match": "m"})).await?;
    sender.send_replace(ticket(state, "the fleet arena has no build"));
    let outcome = waiting.await?;
    expect_error(&outcome, &[code])?;
    let Outcome::Error { message, .. } = outcome else { return Ok(()) };
    ensure!(message.contains("arena has no build"), "the reason is not in {message:?}");
    Ok(())
}

pub(super) async fn match_failed(driver: &Driver) -> anyhow::Result<()> {
    ends(driver, "failed", "match_failed").await
}

pub(super) async fn match_expired(driver: &Driver) -> anyhow::Result<()> {
    ends(driver, "expired", "match_expired").await
}

pub(super) async fn match_cancelled(driver: &Driver) -> anyhow::Result<()> {
    ends(driver, "cancelled", "match_cancelled").await
}

pub(super) async fn match_timeout(driver: &Driver) -> anyhow::Result<()> {
    let (sender, _) = watch::channel(ticket("searching", "waits for others"));
    let host = desk(&sender).await?;
    open(driver, &host.url()).await?;
    driver.ok("match.find", LONG, find()).await?;
    driver.fails("timeout", "match.wait", SHORT, json!({"match": "m"})).await?;
    sender.send_replace(assigned(Vec::new()));
    driver.ok("match.wait", LONG, json!({"match": "m"})).await.map(drop)
}

pub(super) async fn match_watch_cut(driver: &Driver) -> anyhow::Result<()> {
    let (sender, made) = watch::channel(ticket("searching", "waits for others"));
    let watches = std::sync::atomic::AtomicUsize::new(0);
    let host = Host::start(move |request| match request.line.as_str() {
        "POST /v1/tickets" => Reply::Json(201, made.borrow().clone()),
        line if line.ends_with("/watch") => {
            match watches.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                0 => Reply::Bytes(Vec::new()),
                1 => Reply::Texts(vec!["this is no JSON".to_owned()], false),
                2 => Reply::Texts(vec![made.borrow().to_string()], true),
                _ => Reply::Watch(made.clone()),
            }
        }
        line if line.starts_with("GET /v1/tickets/") => Reply::Poll(made.clone()),
        _ => Reply::Json(200, json!({"items": []})),
    })
    .await?;
    open(driver, &host.url()).await?;
    driver.ok("match.find", LONG, find()).await?;
    let waiting = driver.begin("match.wait", LONG, json!({"match": "m"})).await?;
    // An SDK that polls never meets the broken socket, and passes as well: what counts is the wait.
    until("the SDK to watch again", LONG, async || {
        let looks =
            host.requests().iter().filter(|request| request.line.starts_with("GET /v1/tickets/")).count();
        Ok(when(looks > 3, || format!("it looked {looks} times")))
    })
    .await?;
    sender.send_replace(assigned(Vec::new()));
    expect_ok(waiting.await?).map(drop)
}
