//! Calls of the API that go wrong: arguments, HTTP, TLS.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;

use super::{HUGE, LONG, SHORT, open};
use crate::conformance::driver::{Driver, Outcome, expect_error};
use crate::conformance::play::{Host, Reply};

pub(super) async fn args_url(driver: &Driver) -> anyhow::Result<()> {
    for url in ["muster.example.com", "ftp://example.com"] {
        let fields = json!({"client": "a", "url": url, "token": "t"});
        driver
            .fails("invalid_argument", "client.open", LONG, fields)
            .await
            .with_context(|| format!("{url:?}"))?;
    }
    Ok(())
}

pub(super) async fn args_player(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|_| Reply::Json(200, json!({"items": []}))).await?;
    open(driver, &host.url()).await?;
    let fields = json!({"client": "a", "match": "m", "request": {"queue": "quick", "player": "", "latencies_ms": {"local": 1}}});
    driver.fails("invalid_argument", "match.find", LONG, fields).await?;
    ensure!(host.count("POST /v1/tickets") == 0, "it was sent all the same");
    Ok(())
}

async fn regions_fail(
    driver: &Driver,
    url: &str,
    timeout: Duration,
    codes: &[&str],
) -> anyhow::Result<Outcome> {
    open(driver, url).await?;
    let outcome = driver.call("regions", timeout, json!({"client": "a"})).await?;
    expect_error(&outcome, codes)?;
    Ok(outcome)
}

async fn answered(driver: &Driver, codes: &[&str], reply: fn() -> Reply) -> anyhow::Result<()> {
    let host = Host::start(move |_| reply()).await?;
    regions_fail(driver, &host.url(), LONG, codes).await.map(drop)
}

pub(super) async fn http_refused(driver: &Driver) -> anyhow::Result<()> {
    let url = Host::start(|_| Reply::Json(200, json!({}))).await?.url();
    regions_fail(driver, &url, LONG, &["unreachable"]).await.map(drop)
}

pub(super) async fn http_silent(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|_| Reply::Stall(Vec::new())).await?;
    regions_fail(driver, &host.url(), SHORT, &["timeout"]).await.map(drop)
}

pub(super) async fn http_stalled(driver: &Driver) -> anyhow::Result<()> {
    let host =
        Host::start(|_| Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec())).await?;
    regions_fail(driver, &host.url(), SHORT, &["timeout"]).await.map(drop)
}

pub(super) async fn http_cut(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["connection_lost"], || {
        Reply::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec())
    })
    .await
}

fn page(body: &str) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Reply::Bytes(format!("{head}{body}").into_bytes())
}

pub(super) async fn http_not_json(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || page("<html>It works!</html>")).await
}

pub(super) async fn http_wrong_shape(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || page("[1, 2]")).await?;
    answered(driver, &["bad_answer"], || page("{\"items\": 7}")).await
}

pub(super) async fn http_no_problem(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || {
        Reply::Bytes(
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\noops".to_vec(),
        )
    })
    .await
}

pub(super) async fn http_too_large(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || page(&format!("{{\"items\": [], \"x\": \"{}\"}}", "x".repeat(HUGE))))
        .await
}

pub(super) async fn http_too_deep(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || {
        page(&format!("{{\"items\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000)))
    })
    .await
}

pub(super) async fn http_problem(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|_| {
        let mut problem = json!({"type": "urn:muster:problem:too_many", "title": "Too many", "status": 429,
            "detail": "this address asks too often", "code": "too_many", "fix": "wait a little"});
        problem["retry_after_s"] = json!(3);
        Reply::Json(429, problem)
    })
    .await?;
    let outcome = regions_fail(driver, &host.url(), LONG, &["too_many"]).await?;
    let Outcome::Error { message, retry_after_s, .. } = outcome else { return Ok(()) };
    ensure!(retry_after_s == Some(3), "retry_after_s is {retry_after_s:?}");
    let message = message.to_lowercase();
    ensure!(
        message.contains("asks too often") && message.contains("wait a little"),
        "the text is {message:?}"
    );
    Ok(())
}

/// An acceptor for 127.0.0.1 whose certificate a CA of its own signed, and that CA; valid from `year` on.
pub(super) fn tls(year: i32) -> anyhow::Result<(tokio_rustls::TlsAcceptor, String)> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &authority)?;
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
    Ok((Arc::new(config).into(), authority.pem()))
}

async fn secure(driver: &Driver, year: i32, trusted: Option<&str>) -> anyhow::Result<Outcome> {
    let (acceptor, authority) = tls(year)?;
    let host = Host::start_tls(|_| Reply::Json(200, json!({"items": []})), acceptor).await?;
    let mut fields = json!({"client": "a", "url": format!("https://{}", host.address), "token": "t"});
    if let Some(trusted) = trusted {
        fields["ca_pem"] = json!(if trusted.is_empty() { &authority } else { trusted });
    }
    driver.ok("client.open", LONG, fields).await?;
    driver.call("regions", LONG, json!({"client": "a"})).await
}

pub(super) async fn tls_untrusted(driver: &Driver) -> anyhow::Result<()> {
    expect_error(&secure(driver, 2020, None).await?, &["tls_untrusted"])
}

pub(super) async fn tls_own_ca(driver: &Driver) -> anyhow::Result<()> {
    let outcome = secure(driver, 2020, Some("")).await?;
    ensure!(matches!(outcome, Outcome::Ok(_)), "with its CA: {outcome:?}");
    let (_, other) = tls(2020)?;
    expect_error(&secure(driver, 2020, Some(&other)).await?, &["tls_untrusted"])
}

pub(super) async fn tls_clock(driver: &Driver) -> anyhow::Result<()> {
    // As a clock that is off sees a good one.
    expect_error(&secure(driver, 2120, Some("")).await?, &["tls_untrusted"])
}
