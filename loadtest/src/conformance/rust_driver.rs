//! The driver of the Rust client: the crate `client`, and links as this crate's bots have them, behind the conformance
//! protocol. It has no server's side, since a Rust game server calls the agent's endpoint by itself (`examples/arena-server`).

mod fault;
mod session;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use muster_client::{Client, LobbyFilter};
use muster_protocol::api::{JoinRequest, Ticket, TicketState};
use muster_protocol::preface::{Answer, decode_answer, encode_preface, encode_tcp_preface};
use muster_protocol::{beacon, preface::encode_claim};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use self::fault::{Fault, refused_code};
use self::session::{Events, Session, Way};
use super::driver::PROTOCOL;
use crate::beacons::measure;

/// One long poll, in seconds: as often as an explanation is looked at.
const POLL_S: u32 = 1;
/// Pause before a poll that failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest header and signature of a session token that is skipped when it is read.
const SIGNATURE_BYTES: usize = 64;

struct Game {
    client: Client,
    authority: Option<Arc<str>>,
}

struct Match {
    client: Client,
    authority: Option<Arc<str>>,
    ticket: Ticket,
}

/// What was opened, by the tool's names.
#[derive(Default)]
struct Things {
    clients: HashMap<String, Arc<Game>>,
    matches: HashMap<String, Match>,
    sessions: HashMap<String, Arc<Session>>,
}

type Shared = Arc<Mutex<Things>>;

fn lock(things: &Shared) -> std::sync::MutexGuard<'_, Things> {
    things.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what stdin says until it ends.
///
/// # Errors
/// If a line is no JSON.
pub async fn serve() -> anyhow::Result<()> {
    let things = Shared::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let request: Value = serde_json::from_str(&line)?;
        if request["call"] == "quit" {
            say(&json!({"id": request["id"], "ok": {}}));
            break;
        }
        let things = Arc::clone(&things);
        tokio::spawn(async move {
            let timeout = Duration::from_millis(request["timeout_ms"].as_u64().unwrap_or(10_000));
            // Each call that waits has the deadline itself; this holds the others to it.
            let outcome = match tokio::time::timeout(timeout, call(&things, &request, timeout)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Fault::timed_out(request["call"].as_str().unwrap_or("the call"))),
            };
            match outcome {
                Ok(value) => say(&json!({"id": request["id"], "ok": value})),
                Err(fault) => say(&json!({"id": request["id"], "error": fault.to_json()})),
            }
        });
    }
    Ok(())
}

fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    // The tool may be gone; then stdin ends, too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

async fn call(things: &Shared, request: &Value, timeout: Duration) -> Result<Value, Fault> {
    let call = request["call"].as_str().unwrap_or("");
    match call.split_once('.').map_or(call, |(group, _)| group) {
        "hello" => Ok(json!({"sdk": "rust", "version": env!("CARGO_PKG_VERSION"), "protocol": PROTOCOL,
            "features": ["udp", "tcp", "ws", "ws_status", "claim", "lobbies", "accept", "ca"]})),
        "vector" => vector(request),
        "client" => open(things, request),
        "regions" => {
            let regions = client(things, request)?.client.regions().await.map_err(Fault::of)?;
            Ok(json!({"regions": regions.items}))
        }
        "measure" => {
            let regions = client(things, request)?.client.regions().await.map_err(Fault::of)?;
            Ok(json!({"latencies_ms": measure(&regions.items).await}))
        }
        "match" if call == "match.find" => ask(things, request).await,
        "match" => of_match(things, request, timeout).await,
        "lobby" => lobby(things, request).await,
        "server" if call == "server.join" => ask(things, request).await,
        "connect" => connect(things, request, timeout).await,
        "session" => session(things, request).await,
        _ => Err(Fault::new("unsupported", format!("This driver has no call {call:?}."))),
    }
}

fn text<'a>(request: &'a Value, field: &str) -> &'a str {
    request[field].as_str().unwrap_or("")
}

fn open(things: &Shared, request: &Value) -> Result<Value, Fault> {
    let name = text(request, "client").to_owned();
    if request["call"] == "client.close" {
        lock(things).clients.remove(&name);
        return Ok(json!({}));
    }
    let authority = request["ca_pem"].as_str();
    let client = Client::new(
        text(request, "url"),
        request["token"].as_str(),
        request["namespace"].as_str(),
        authority.map(str::as_bytes),
    );
    let client = client.map_err(|error| Fault::new("invalid_argument", error.to_string()))?;
    lock(things).clients.insert(name, Arc::new(Game { client, authority: authority.map(Arc::from) }));
    Ok(json!({}))
}

fn client(things: &Shared, request: &Value) -> Result<Arc<Game>, Fault> {
    let name = text(request, "client");
    lock(things).clients.get(name).cloned().ok_or_else(|| Fault::no("client", name))
}

fn body<T: DeserializeOwned>(request: &Value) -> Result<T, Fault> {
    serde_json::from_value(request["request"].clone()).map_err(|error| {
        Fault::new("invalid_argument", format!("The request is not of the API's shape: {error}."))
    })
}

/// Asks for a seat, in one of the ways there are.
async fn ask(things: &Shared, request: &Value) -> Result<Value, Fault> {
    let game = client(things, request)?;
    let player = text(&request["request"], "player");
    if player.is_empty() {
        return Err(Fault::new(
            "invalid_argument",
            "The player's name is empty. Give the studio's name for them.",
        ));
    }
    let client = &game.client;
    let ticket = match text(request, "call") {
        "match.find" => client.create_ticket(&body(request)?).await,
        "lobby.create" => client.create_lobby(&body(request)?).await,
        "lobby.find" => client.find_lobby(&body(request)?).await,
        "lobby.join" => client.join_lobby(text(request, "lobby"), &body::<JoinRequest>(request)?).await,
        _ => {
            let id = text(request, "server_id").parse();
            let id =
                id.map_err(|_| Fault::new("invalid_argument", "That is no server's id; it is as srv_…"))?;
            client.join_server(&id, &body(request)?).await
        }
    }
    .map_err(Fault::of)?;
    let answer = json!({"ticket": ticket});
    let made = Match { client: game.client.clone(), authority: game.authority.clone(), ticket };
    lock(things).matches.insert(text(request, "match").to_owned(), made);
    Ok(answer)
}

async fn lobby(things: &Shared, request: &Value) -> Result<Value, Fault> {
    let client = client(things, request)?.client.clone();
    match text(request, "call") {
        "lobby.read" => {
            let lobby = client.lobby(text(request, "lobby")).await.map_err(Fault::of)?;
            Ok(json!({"lobby": lobby}))
        }
        "lobby.list" => {
            let mut filter = LobbyFilter {
                fleet: request["fleet"].as_str().map(str::to_owned),
                tags: serde_json::from_value(request["tags"].clone()).unwrap_or_default(),
                open: request["open"] == true,
                ..LobbyFilter::default()
            };
            let mut lobbies = Vec::new();
            loop {
                let page = client.lobbies(&filter).await.map_err(Fault::of)?;
                lobbies.extend(page.items);
                if page.next.is_none() {
                    return Ok(json!({"lobbies": lobbies}));
                }
                filter.after = page.next;
            }
        }
        _ => ask(things, request).await,
    }
}

/// The client and the ticket of a match, as it was told last.
fn found(things: &Shared, name: &str) -> Result<(Client, Ticket), Fault> {
    let things = lock(things);
    let found = things.matches.get(name).ok_or_else(|| Fault::no("match", name))?;
    Ok((found.client.clone(), found.ticket.clone()))
}

/// Keeps what was told, and tells what is news of it.
fn keep(things: &Shared, name: &str, ticket: &Ticket) {
    let mut things = lock(things);
    let Some(of) = things.matches.get_mut(name) else { return };
    let is_news = of.ticket.state != ticket.state || of.ticket.explanation != ticket.explanation;
    of.ticket = ticket.clone();
    if is_news {
        say(
            &json!({"event": "progress", "match": name, "state": ticket.state, "explanation": ticket.explanation}),
        );
    }
}

async fn of_match(things: &Shared, request: &Value, timeout: Duration) -> Result<Value, Fault> {
    let name = text(request, "match");
    let (client, ticket) = found(things, name)?;
    match text(request, "call") {
        "match.wait" => wait(things, name, timeout).await,
        "match.read" => {
            let ticket = client.ticket(&ticket.id).await.map_err(Fault::of)?;
            keep(things, name, &ticket);
            Ok(json!({"ticket": ticket}))
        }
        "match.cancel" => client.cancel_ticket(&ticket.id).await.map(|()| json!({})).map_err(Fault::of),
        "match.accept" => client.accept_ticket(&ticket.id).await.map(|_| json!({})).map_err(Fault::of),
        "match.decline" => client.decline_ticket(&ticket.id).await.map(|_| json!({})).map_err(Fault::of),
        "match.explain" => {
            let explained = client.explain_ticket(&ticket.id).await.map_err(Fault::of)?;
            Ok(json!({"words": explained.words}))
        }
        other => Err(Fault::new("unsupported", format!("This driver has no call {other:?}."))),
    }
}

async fn wait(things: &Shared, name: &str, timeout: Duration) -> Result<Value, Fault> {
    let began = Instant::now();
    loop {
        let (client, ticket) = found(things, name)?;
        match ticket.state {
            TicketState::Assigned => return Ok(json!({"ticket": ticket})),
            TicketState::Failed => return Err(Fault::ended("match_failed", &ticket)),
            TicketState::Expired => return Err(Fault::ended("match_expired", &ticket)),
            TicketState::Cancelled => return Err(Fault::ended("match_cancelled", &ticket)),
            TicketState::Searching | TicketState::Matched => {}
        }
        let left = timeout.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Err(Fault::timed_out("waiting for a match"));
        }
        let poll = tokio::time::timeout(left, client.wait_ticket(&ticket.id, ticket.state, POLL_S)).await;
        match poll {
            Err(_) => {}
            Ok(Ok(ticket)) => keep(things, name, &ticket),
            Ok(Err(error)) if error.is_transient() => tokio::time::sleep(AGAIN.min(left)).await,
            Ok(Err(error)) => return Err(Fault::of(error)),
        }
    }
}

async fn connect(things: &Shared, request: &Value, timeout: Duration) -> Result<Value, Fault> {
    let (name, session) = (text(request, "match"), text(request, "session").to_owned());
    let (client, ticket) = found(things, name)?;
    let authority = lock(things).matches.get(name).and_then(|of| of.authority.clone());
    let way = Way {
        client,
        ticket: ticket.id,
        transport: text(request, "transport").to_owned(),
        port: request["port"].as_str().map(str::to_owned),
        authority,
    };
    let told = session.clone();
    let events: Events = Arc::new(move |state, fault: Option<&Fault>| {
        let mut event = json!({"event": "session", "session": told, "state": state});
        if let Some(fault) = fault {
            event["error"] = fault.to_json();
        }
        say(&event);
    });
    // The call's own deadline comes first, so that what is told is why and not only that it is late.
    let made = Session::connect(way, &ticket, timeout.mul_f32(0.9), events).await?;
    let answer = json!({"transport": made.transport, "seat_id": made.seat});
    lock(things).sessions.insert(session, Arc::new(made));
    Ok(answer)
}

async fn session(things: &Shared, request: &Value) -> Result<Value, Fault> {
    let name = text(request, "session");
    let found = lock(things).sessions.get(name).cloned().ok_or_else(|| Fault::no("session", name))?;
    match text(request, "call") {
        "session.send" => found.send(text(request, "text")).await.map(|()| json!({})),
        "session.receive" => found.receive().await.map(|text| json!({"text": text})),
        "session.break" => {
            found.break_link();
            Ok(json!({}))
        }
        _ => {
            lock(things).sessions.remove(name);
            Ok(json!({}))
        }
    }
}

fn vector(request: &Value) -> Result<Value, Fault> {
    let what = text(request, "what");
    let token = text(request, "token");
    let made = match what {
        "udp_preface" => encode_preface(token),
        "udp_claim" => encode_claim(token),
        "tcp_preface" => encode_tcp_preface(token),
        "beacon_request" => beacon::encode_request(&bytes(text(request, "nonce_hex"))?),
        "beacon_answer" => {
            let given = bytes(text(request, "hex"))?;
            return Ok(json!({"nonce_hex": beacon::decode_answer(&given).map(hex)}));
        }
        "session_token" => return claims(token),
        _ => {
            let answer = match decode_answer(&bytes(text(request, "hex"))?) {
                None => Value::Null,
                Some(Answer::Accepted) => json!("accepted"),
                Some(Answer::Refused(refusal)) => json!(refused_code(refusal)),
            };
            return Ok(json!({"answer": answer}));
        }
    };
    Ok(json!({"hex": hex(&made)}))
}

/// What a session token says; nothing here proves it.
fn claims(token: &str) -> Result<Value, Fault> {
    let malformed = || {
        Fault::new("refused_malformed", "This is no session token. Take it from the assignment, unchanged.")
    };
    let body =
        token.strip_prefix("v4.public.").and_then(|rest| rest.split('.').next()).ok_or_else(malformed)?;
    let body = base64url(body).ok_or_else(malformed)?;
    let message = body.len().checked_sub(SIGNATURE_BYTES).map(|end| &body[..end]).ok_or_else(malformed)?;
    let claims: muster_protocol::token::SessionClaims =
        serde_json::from_slice(message).map_err(|_| malformed())?;
    Ok(
        json!({"namespace": claims.namespace, "server": claims.server, "port": claims.port, "seat": claims.seat,
        "player": claims.player, "expires_at_ms": claims.expires_at_ms}),
    )
}

fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

fn bytes(hex: &str) -> Result<Vec<u8>, Fault> {
    let wrong = || Fault::new("invalid_argument", "That is not hexadecimal; two digits make a byte.");
    if !hex.is_ascii() || !hex.len().is_multiple_of(2) {
        return Err(wrong());
    }
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).map_err(|_| wrong()))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_tokens_have_it() {
        assert_eq!(base64url("bXVzdGVy_-8").as_deref(), Some(&b"muster\xff\xef"[..]));
        assert_eq!(base64url("a+b"), None);
        assert_eq!(bytes("4d53").ok().as_deref(), Some(&b"MS"[..]));
        assert!(bytes("4d5").is_err() && bytes("zz").is_err());
    }
}
