//! The recorded cases: this tool plays orchestrator, edge and agent, and does what they do on a bad day.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use muster_protocol::preface::{Answer, Refusal};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::cases::{Case, cases};
use super::driver::{Driver, Outcome, expect_error};
use super::play::{EdgePort, Host, Reply, assigned, desk, refusal, ticket};

/// A deadline that only a hang reaches.
const LONG: Duration = Duration::from_secs(10);
/// A deadline that the case wants to be reached.
const SHORT: Duration = Duration::from_millis(700);
/// Larger than any answer of the API's, in bytes.
const HUGE: usize = 32 * 1024 * 1024;

/// The cases, in their order.
pub fn all() -> Vec<Case<Driver>> {
    cases! {
        "vector.preface", "prefaces, claims and beacons byte for byte, by the golden vectors", [], vector_encode;
        "vector.answer", "every answer of an edge's is read, and nothing else is one", [], vector_decode;
        "vector.token", "claims of good tokens are read, and what is no token is refused", [], vector_token;
        "args.url", "a URL that is none is refused before anything is sent", [], args_url;
        "args.player", "an empty player is refused before anything is sent", [], args_player;
        "http.refused", "nobody listens", [], http_refused;
        "http.silent", "somebody listens and never answers", [], http_silent;
        "http.stalled", "an answer that never ends", [], http_stalled;
        "http.cut", "the connection ends in the middle of an answer", [], http_cut;
        "http.not_json", "an answer that is not JSON", [], http_not_json;
        "http.wrong_shape", "JSON that is not this API's", [], http_wrong_shape;
        "http.no_problem", "an error of a proxy's, without a problem document", [], http_no_problem;
        "http.too_large", "an answer of 32 MiB", [], http_too_large;
        "http.too_deep", "JSON nested 10,000 deep", [], http_too_deep;
        "http.problem", "a problem's code, text and retry_after_s are handed through", [], http_problem;
        "tls.untrusted", "a certificate that nobody trusts", [], tls_untrusted;
        "tls.own_ca", "a CA of one's own is trusted, and then only that", ["ca"], tls_own_ca;
        "tls.clock", "a certificate that is not valid yet by this clock", ["ca"], tls_clock;
        "match.progress", "each state and explanation is told, then the assignment", [], match_progress;
        "match.failed", "a match that cannot be had: code and reason", [], match_failed;
        "match.expired", "nobody found in time", [], match_expired;
        "match.cancelled", "withdrawn elsewhere", [], match_cancelled;
        "match.timeout", "a wait ends by its deadline, the next one goes on", [], match_timeout;
        "match.watch_cut", "the watching socket breaks, and says what is no JSON; the wait goes on", [], match_watch_cut;
        "connect.no_endpoint", "a transport that the server has not", [], connect_no_endpoint;
        "udp.proof", "the seat is proven from the playing socket; lost prefaces are repeated", ["udp"], udp_proof;
        "udp.refused", "each refusal of the edge's is its code", ["udp"], udp_refused;
        "udp.unavailable", "not possible now is tried again", ["udp"], udp_unavailable;
        "udp.expired", "an expired token is read again", ["udp"], udp_expired;
        "udp.silent", "an edge that never answers ends by the deadline", ["udp"], udp_silent;
        "udp.rejoin", "a socket that is gone is replaced, with a new token", ["udp"], udp_rejoin;
        "ws.refused", "each status of an edge's is its code", ["ws"], ws_refused;
        "ws.broken", "a WebSocket that ends in the middle is made anew", ["ws"], ws_broken;
        "server.environment", "what Muster's variables say; without them every call says so", ["server"], server_environment;
        "server.health", "after ready the agent is told by itself that the server is well", ["server"], server_health;
        "server.late_seat", "a seat whose news has not come is said again; one that is refused is not", ["server"], server_late_seat;
        "server.away", "an agent that stays away ends the call by its deadline", ["server"], server_away;
        "server.events", "events are heard, also after the connection broke or said what is no JSON", ["server"], server_events;
    }
}

async fn open(driver: &Driver, url: &str) -> anyhow::Result<()> {
    driver
        .ok("client.open", LONG, json!({"client": "a", "url": url, "token": "mst_recorded"}))
        .await
        .map(drop)
}

fn find() -> Value {
    json!({"client": "a", "match": "m", "request": {"queue": "quick", "player": "ann", "latencies_ms": {"local": 1}}})
}

/// A vector file of `protocol`, as it was when this was built.
fn vectors(name: &str) -> anyhow::Result<Value> {
    let text = match name {
        "preface" => include_str!("../../../protocol/vectors/preface.json"),
        _ => include_str!("../../../protocol/vectors/session_token.json"),
    };
    Ok(serde_json::from_str(text)?)
}

async fn vector_encode(driver: &Driver) -> anyhow::Result<()> {
    let vectors = vectors("preface")?;
    for what in ["udp_preface", "tcp_preface", "udp_claim"] {
        // Claims came later; an SDK says whether it has them.
        if vectors[what].is_null() || what == "udp_claim" && !driver.has("claim") {
            continue;
        }
        let made = driver.ok("vector.encode", LONG, json!({"what": what, "token": vectors["token"]})).await?;
        ensure!(made["hex"] == vectors[what], "{what} is {}, and should be {}", made["hex"], vectors[what]);
    }
    let nonce = json!({"what": "beacon_request", "nonce_hex": "6e6f6e63652d3031"});
    let made = driver.ok("vector.encode", LONG, nonce).await?;
    ensure!(made["hex"] == vectors["beacon_request"], "the beacon's request is {}", made["hex"]);
    Ok(())
}

async fn vector_decode(driver: &Driver) -> anyhow::Result<()> {
    let vectors = vectors("preface")?;
    for (name, hex) in vectors.as_object().context("vectors are an object")? {
        let is_answer = name == "accepted" || name.starts_with("refused_");
        let expected = if is_answer { json!(name) } else { Value::Null };
        let read = driver.ok("vector.decode", LONG, json!({"what": "answer", "hex": hex})).await;
        // The token's text is no hex, and no SDK has to read it.
        if name != "token" {
            let read = read?;
            ensure!(read["answer"] == expected, "{name} is read as {}", read["answer"]);
        }
    }
    let read = driver.ok("vector.decode", LONG, json!({"what": "answer", "hex": "4d5354520103"})).await?;
    ensure!(read["answer"].is_null(), "a refusal without a reason is read as {}", read["answer"]);
    let beacon = json!({"what": "beacon_answer", "hex": vectors["beacon_answer"]});
    let read = driver.ok("vector.decode", LONG, beacon).await?;
    ensure!(read["nonce_hex"] == "6e6f6e63652d3031", "the beacon's nonce is {}", read["nonce_hex"]);
    Ok(())
}

async fn vector_token(driver: &Driver) -> anyhow::Result<()> {
    for case in vectors("session_token")?["cases"].as_array().context("a list of cases")? {
        let fields = json!({"what": "session_token", "token": case["token"]});
        let outcome = driver.call("vector.decode", LONG, fields).await?;
        match (case["outcome"].as_str().unwrap_or(""), &outcome) {
            ("valid", Outcome::Ok(read)) => {
                for claim in ["namespace", "server", "port", "seat", "player", "expires_at_ms"] {
                    ensure!(read[claim] == case[claim], "{claim} is {}, not {}", read[claim], case[claim]);
                }
            }
            ("valid" | "malformed", outcome) => expect_error(outcome, &["refused_malformed"])?,
            // Whether a token is true is the edge's to say.
            _ => {}
        }
    }
    let fields = json!({"what": "session_token", "token": "no token"});
    driver.fails("refused_malformed", "vector.decode", LONG, fields).await.map(drop)
}

async fn args_url(driver: &Driver) -> anyhow::Result<()> {
    for url in ["", "muster.example.com", "ftp://example.com"] {
        let fields = json!({"client": "a", "url": url, "token": "t"});
        driver
            .fails("invalid_argument", "client.open", LONG, fields)
            .await
            .with_context(|| format!("{url:?}"))?;
    }
    Ok(())
}

async fn args_player(driver: &Driver) -> anyhow::Result<()> {
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

async fn http_refused(driver: &Driver) -> anyhow::Result<()> {
    let url = Host::start(|_| Reply::Json(200, json!({}))).await?.url();
    regions_fail(driver, &url, LONG, &["unreachable"]).await.map(drop)
}

async fn http_silent(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|_| Reply::Stall(Vec::new())).await?;
    regions_fail(driver, &host.url(), SHORT, &["timeout"]).await.map(drop)
}

async fn http_stalled(driver: &Driver) -> anyhow::Result<()> {
    let host =
        Host::start(|_| Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_vec())).await?;
    regions_fail(driver, &host.url(), SHORT, &["timeout"]).await.map(drop)
}

async fn http_cut(driver: &Driver) -> anyhow::Result<()> {
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

async fn http_not_json(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || page("<html>It works!</html>")).await
}

async fn http_wrong_shape(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || page("[1, 2]")).await?;
    answered(driver, &["bad_answer"], || page("{\"items\": 7}")).await
}

async fn http_no_problem(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || {
        Reply::Bytes(
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\noops".to_vec(),
        )
    })
    .await
}

async fn http_too_large(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || page(&format!("{{\"items\": [], \"x\": \"{}\"}}", "x".repeat(HUGE))))
        .await
}

async fn http_too_deep(driver: &Driver) -> anyhow::Result<()> {
    answered(driver, &["bad_answer"], || {
        page(&format!("{{\"items\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000)))
    })
    .await
}

async fn http_problem(driver: &Driver) -> anyhow::Result<()> {
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
fn tls(year: i32) -> anyhow::Result<(tokio_rustls::TlsAcceptor, String)> {
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

async fn tls_untrusted(driver: &Driver) -> anyhow::Result<()> {
    expect_error(&secure(driver, 2020, None).await?, &["tls_untrusted"])
}

async fn tls_own_ca(driver: &Driver) -> anyhow::Result<()> {
    let outcome = secure(driver, 2020, Some("")).await?;
    ensure!(matches!(outcome, Outcome::Ok(_)), "with its CA: {outcome:?}");
    let (_, other) = tls(2020)?;
    expect_error(&secure(driver, 2020, Some(&other)).await?, &["tls_untrusted"])
}

async fn tls_clock(driver: &Driver) -> anyhow::Result<()> {
    // As a clock that is off sees a good one.
    expect_error(&secure(driver, 2120, Some("")).await?, &["tls_untrusted"])
}

async fn match_progress(driver: &Driver) -> anyhow::Result<()> {
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
    match waiting.await? {
        Outcome::Ok(answer) => {
            let seat = &answer["ticket"]["assignment"]["seat_id"];
            ensure!(seat == "seat_01h455vb4pex5vsknk084sn02r", "the seat is {seat}");
        }
        outcome => expect_error(&outcome, &["nothing"])?,
    }
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

async fn match_failed(driver: &Driver) -> anyhow::Result<()> {
    ends(driver, "failed", "match_failed").await
}

async fn match_expired(driver: &Driver) -> anyhow::Result<()> {
    ends(driver, "expired", "match_expired").await
}

async fn match_cancelled(driver: &Driver) -> anyhow::Result<()> {
    ends(driver, "cancelled", "match_cancelled").await
}

async fn match_timeout(driver: &Driver) -> anyhow::Result<()> {
    let (sender, _) = watch::channel(ticket("searching", "waits for others"));
    let host = desk(&sender).await?;
    open(driver, &host.url()).await?;
    driver.ok("match.find", LONG, find()).await?;
    driver.fails("timeout", "match.wait", SHORT, json!({"match": "m"})).await?;
    sender.send_replace(assigned(Vec::new()));
    driver.ok("match.wait", LONG, json!({"match": "m"})).await.map(drop)
}

async fn match_watch_cut(driver: &Driver) -> anyhow::Result<()> {
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
    crate::harness::wait::until("the SDK to watch again", LONG, async || {
        let looks =
            host.requests().iter().filter(|request| request.line.starts_with("GET /v1/tickets/")).count();
        Ok(crate::harness::wait::when(looks > 3, || format!("it looked {looks} times")))
    })
    .await?;
    sender.send_replace(assigned(Vec::new()));
    match waiting.await? {
        Outcome::Ok(_) => Ok(()),
        outcome => expect_error(&outcome, &["nothing"]),
    }
}

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

async fn connect_no_endpoint(driver: &Driver) -> anyhow::Result<()> {
    let (ticket, _) = watch::channel(assigned(Vec::new()));
    let _host = seated(driver, &ticket).await?;
    driver.fails("no_endpoint", "connect", LONG, connect("auto")).await.map(drop)
}

async fn udp_proof(driver: &Driver) -> anyhow::Result<()> {
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

async fn udp_refused(driver: &Driver) -> anyhow::Result<()> {
    for name in ["refused_malformed", "refused_untrusted", "refused_wrong_port"] {
        let refusal = refusal(name).context("a name of the vectors")?;
        let edge = EdgePort::start(move |_, _| Some(Answer::Refused(refusal))).await?;
        let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.bad")]));
        let _host = seated(driver, &ticket).await?;
        driver.fails(name, "connect", LONG, connect("udp")).await?;
    }
    Ok(())
}

async fn udp_unavailable(driver: &Driver) -> anyhow::Result<()> {
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

async fn udp_expired(driver: &Driver) -> anyhow::Result<()> {
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

async fn udp_silent(driver: &Driver) -> anyhow::Result<()> {
    let edge = EdgePort::start(|_, _| None).await?;
    let (ticket, _) = watch::channel(assigned(vec![edge.endpoint("v4.public.good")]));
    let _host = seated(driver, &ticket).await?;
    driver.fails("timeout", "connect", SHORT, connect("udp")).await.map(drop)
}

async fn rejoins(driver: &Driver, mark: usize) -> anyhow::Result<()> {
    for state in ["lost", "rejoined"] {
        let told =
            |event: &Value| event["event"] == "session" && event["session"] == "s" && event["state"] == state;
        driver.event(mark, &format!("the session is {state}"), LONG, told).await?;
    }
    Ok(())
}

async fn udp_rejoin(driver: &Driver) -> anyhow::Result<()> {
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

async fn ws_refused(driver: &Driver) -> anyhow::Result<()> {
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

async fn ws_broken(driver: &Driver) -> anyhow::Result<()> {
    let connections = std::sync::atomic::AtomicUsize::new(0);
    let server = Host::start(move |_| match connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Reply::Texts(vec!["welcome".to_owned()], true),
        _ => Reply::Echo,
    })
    .await?;
    let (ticket, _) = watch::channel(assigned(vec![web(&server)]));
    let _host = seated(driver, &ticket).await?;
    let mark = driver.mark();
    driver.ok("connect", LONG, connect("ws")).await?;
    let first = driver.ok("session.receive", LONG, json!({"session": "s"})).await?;
    ensure!(first["text"] == "welcome", "the first message is {}", first["text"]);
    rejoins(driver, mark).await?;
    echoes(driver, "after").await?;
    driver.ok("session.close", LONG, json!({"session": "s"})).await.map(drop)
}

fn environment(url: &str) -> Value {
    json!({"server": "v", "env": {"MUSTER_SDK_URL": url, "MUSTER_SERVER_TOKEN": "secret",
        "MUSTER_SERVER_ID": "srv_01h455vb4pex5vsknk084sn02q", "MUSTER_NAMESPACE": "arena/test",
        "MUSTER_REGION": "local", "MUSTER_PORT_GAME_UDP": "7777"}})
}

fn server() -> Value {
    json!({"server": "v"})
}

async fn server_environment(driver: &Driver) -> anyhow::Result<()> {
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

async fn server_health(driver: &Driver) -> anyhow::Result<()> {
    let host = Host::start(|request| match request.line.as_str() {
        "GET /v1/events" => Reply::Texts(Vec::new(), false),
        _ => no_content(),
    })
    .await?;
    driver.ok("server.open", LONG, environment(&host.url())).await?;
    driver.ok("server.ready", LONG, server()).await?;
    crate::harness::wait::until("a health call", Duration::from_secs(15), async || {
        let count = host.count("POST /v1/health");
        Ok(crate::harness::wait::when(count > 0, || "there is none".to_owned()))
    })
    .await?;
    driver.ok("server.close", LONG, server()).await.map(drop)
}

async fn server_late_seat(driver: &Driver) -> anyhow::Result<()> {
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

async fn server_away(driver: &Driver) -> anyhow::Result<()> {
    let url = Host::start(|_| no_content()).await?.url();
    driver.ok("server.open", LONG, environment(&url)).await?;
    driver.fails("unreachable", "server.ready", Duration::from_secs(1), server()).await?;
    driver.ok("server.close", LONG, server()).await.map(drop)
}

async fn server_events(driver: &Driver) -> anyhow::Result<()> {
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
