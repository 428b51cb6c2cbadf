//! Connections to a server: proven, refused, lost and made anew.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_protocol::preface::{Answer, Refusal};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::http::tls;
use super::{LONG, SHORT, find, open};
use crate::conformance::driver::{Driver, expect_error};
use crate::conformance::play::{CUT, EdgePort, Host, Reply, assigned, desk, refusal};

/// Asks for a match that is assigned at once, with these endpoints.
async fn seated(driver: &Driver, ticket: &watch::Sender<Value>) -> anyhow::Result<Host> {
    let host = desk(ticket).await?;
    open(driver, &host.url()).await?;
    driver.ok("match.find", LONG, find()).await?;
    driver.ok("match.wait", LONG, json!({"match": "m"})).await?;
    Ok(host)
}

fn connect(transport: &str) -> Value {
    json!({"match": "m", "session": "s", "transport": transport})
}

async fn echoes(driver: &Driver, text: &str) -> anyhow::Result<()> {
    driver.ok("session.send", LONG, json!({"session": "s", "text": text})).await?;
    let back = driver.ok("session.receive", LONG, json!({"session": "s"})).await?;
    ensure!(back["text"] == text, "{text:?} came back as {}", back["text"]);
    Ok(())
}

pub(super) async fn connect_no_endpoint(driver: &Driver) -> anyhow::Result<()> {
    let (ticket, _) = watch::channel(assigned(Vec::new()));
    let _host = seated(driver, &ticket).await?;
    driver.fails("no_endpoint", "connect", LONG, connect("auto")).await.map(drop)
}

pub(super) async fn udp_proof(driver: &Driver) -> anyhow::Result<()> {
    // The first two are lost.
    let edge = EdgePort::start(|_, count| (count > 2).then_some(Answer::Accepted)).await?;
    let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.good")]));
    let _host = seated(driver, &ticket).await?;
    let connected = driver.ok("connect", LONG, connect("udp")).await?;
    ensure!(connected["transport"] == "udp", "it went over {}", connected["transport"]);
    echoes(driver, "hello").await?;
    ensure!(edge.tokens().iter().all(|token| token == "v4.public.good"), "it showed {:?}", edge.tokens());
    driver.ok("session.close", LONG, json!({"session": "s"})).await.map(drop)
}

pub(super) async fn udp_refused(driver: &Driver) -> anyhow::Result<()> {
    for name in ["refused_malformed", "refused_untrusted", "refused_wrong_port"] {
        let refusal = refusal(name).context("a name of the vectors")?;
        let edge = EdgePort::start(move |_, _| Some(Answer::Refused(refusal))).await?;
        let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.bad")]));
        let _host = seated(driver, &ticket).await?;
        driver.fails(name, "connect", LONG, connect("udp")).await?;
    }
    Ok(())
}

pub(super) async fn udp_unavailable(driver: &Driver) -> anyhow::Result<()> {
    let edge = EdgePort::start(|_, count| {
        Some(if count > 2 { Answer::Accepted } else { Answer::Refused(Refusal::Unavailable) })
    })
    .await?;
    let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.good")]));
    let _host = seated(driver, &ticket).await?;
    driver.ok("connect", LONG, connect("udp")).await?;
    driver.ok("session.close", LONG, json!({"session": "s"})).await?;
    let edge = EdgePort::start(|_, _| Some(Answer::Refused(Refusal::Unavailable))).await?;
    ticket.send_replace(assigned(vec![edge.endpoint("v4.public.good")]));
    driver.ok("match.read", LONG, json!({"match": "m"})).await?;
    let outcome = driver.call("connect", Duration::from_secs(2), connect("udp")).await?;
    expect_error(&outcome, &["refused_unavailable"])
}

pub(super) async fn udp_expired(driver: &Driver) -> anyhow::Result<()> {
    let edge = EdgePort::start(|token, _| {
        Some(if token == "v4.public.new" { Answer::Accepted } else { Answer::Refused(Refusal::Expired) })
    })
    .await?;
    let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.old")]));
    let _host = seated(driver, &ticket).await?;
    ticket.send_replace(assigned(vec![edge.endpoint("v4.public.new")]));
    driver.ok("connect", LONG, connect("udp")).await?;
    driver.ok("session.close", LONG, json!({"session": "s"})).await?;
    ticket.send_replace(assigned(vec![edge.endpoint("v4.public.older")]));
    driver.ok("match.read", LONG, json!({"match": "m"})).await?;
    driver.fails("refused_expired", "connect", LONG, connect("udp")).await.map(drop)
}

pub(super) async fn udp_clock(driver: &Driver) -> anyhow::Result<()> {
    let edge = EdgePort::start(|_, _| Some(Answer::Accepted)).await?;
    let mut endpoint = edge.endpoint("v4.public.good");
    // As a client sees a good one whose clock is ahead by more than a token's time.
    endpoint["token_expires_at_ms"] = json!(1);
    let (ticket, _) = watch::channel(assigned(vec![endpoint]));
    let host = seated(driver, &ticket).await?;
    let asked = host.requests().len();
    driver.ok("connect", LONG, connect("udp")).await?;
    echoes(driver, "hello").await?;
    ensure!(host.requests().len() == asked, "the ticket was read again, by this machine's clock");
    driver.ok("session.close", LONG, json!({"session": "s"})).await.map(drop)
}

pub(super) async fn udp_silent(driver: &Driver) -> anyhow::Result<()> {
    let edge = EdgePort::start(|_, _| None).await?;
    let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.good")]));
    let _host = seated(driver, &ticket).await?;
    let outcome = driver.call("connect", SHORT, connect("udp")).await?;
    // Of UDP nobody can tell whether it was lost or nobody is there.
    expect_error(&outcome, &["timeout", "unreachable"])
}

async fn rejoins(driver: &Driver, mark: usize) -> anyhow::Result<()> {
    for state in ["lost", "rejoined"] {
        let told =
            |event: &Value| event["event"] == "session" && event["session"] == "s" && event["state"] == state;
        driver.event(mark, &format!("the session is {state}"), LONG, told).await?;
    }
    Ok(())
}

pub(super) async fn udp_rejoin(driver: &Driver) -> anyhow::Result<()> {
    let edge = EdgePort::start(|_, _| Some(Answer::Accepted)).await?;
    let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.first")]));
    let _host = seated(driver, &ticket).await?;
    driver.ok("connect", LONG, connect("udp")).await?;
    echoes(driver, "before").await?;
    ticket.send_replace(assigned(vec![edge.endpoint("v4.public.second")]));
    let mark = driver.mark();
    driver.ok("session.break", LONG, json!({"session": "s"})).await?;
    rejoins(driver, mark).await?;
    echoes(driver, "after").await?;
    ensure!(edge.tokens().iter().any(|token| token == "v4.public.second"), "the old token was shown again");
    driver.ok("session.close", LONG, json!({"session": "s"})).await.map(drop)
}

fn web(host: &Host) -> Value {
    json!({"port_name": "game-ws", "protocol": "ws", "host": "127.0.0.1", "port": host.address.port(),
        "url": format!("ws://{}/?token=v4.public.good", host.address), "token_mode": "preface",
        "token": "v4.public.good", "token_expires_at_ms": 1_800_000_600_000_u64})
}

pub(super) async fn ws_refused(driver: &Driver) -> anyhow::Result<()> {
    for (status, code) in [
        (401, "refused_untrusted"),
        (403, "refused_wrong_port"),
        (503, "refused_unavailable"),
        (404, "bad_answer"),
    ] {
        let server = Host::start(move |_| Reply::Json(status, json!({}))).await?;
        let (ticket, _) = watch::channel(assigned(vec![web(&server)]));
        let _host = seated(driver, &ticket).await?;
        driver
            .fails(code, "connect", Duration::from_secs(2), connect("ws"))
            .await
            .with_context(|| format!("status {status}"))?;
    }
    Ok(())
}

pub(super) async fn ws_down(driver: &Driver) -> anyhow::Result<()> {
    let gone = web(&Host::start(|_| Reply::Echo).await?);
    let (ticket, _) = watch::channel(assigned(vec![gone]));
    let _host = seated(driver, &ticket).await?;
    driver.fails("unreachable", "connect", Duration::from_secs(2), connect("ws")).await.map(drop)
}

pub(super) async fn ws_untrusted(driver: &Driver) -> anyhow::Result<()> {
    let (acceptor, _) = tls(2020)?;
    let server = Host::start_tls(|_| Reply::Echo, acceptor).await?;
    let mut endpoint = web(&server);
    endpoint["url"] = json!(format!("wss://{}/?token=v4.public.good", server.address));
    let (ticket, _) = watch::channel(assigned(vec![endpoint]));
    let _host = seated(driver, &ticket).await?;
    driver.fails("tls_untrusted", "connect", LONG, connect("ws")).await.map(drop)
}

pub(super) async fn ws_broken(driver: &Driver) -> anyhow::Result<()> {
    let server = Host::start(|_| Reply::Echo).await?;
    let (ticket, _) = watch::channel(assigned(vec![web(&server)]));
    let _host = seated(driver, &ticket).await?;
    driver.ok("connect", LONG, connect("ws")).await?;
    echoes(driver, "before").await?;
    let mark = driver.mark();
    driver.ok("session.send", LONG, json!({"session": "s", "text": CUT})).await?;
    rejoins(driver, mark).await?;
    echoes(driver, "after").await?;
    driver.ok("session.close", LONG, json!({"session": "s"})).await.map(drop)
}
