//! The driver of the Rust client: the crate `client`, links as this crate's bots have them, and the calls of a game server, behind
//! the conformance protocol.

mod fault;
mod matches;
mod server;
mod session;
mod vectors;

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_client::Client;
use muster_protocol::api::Ticket;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use self::fault::Fault;
use self::server::GameServer;
use self::session::{Events, Session, Way};
use super::driver::PROTOCOL;
use crate::beacons::measure;

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
    servers: HashMap<String, Arc<GameServer>>,
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
            "features": ["udp", "tcp", "ws", "ws_status", "claim", "lobbies", "accept", "server", "ca"]})),
        "vector" => vectors::vector(request),
        "client" => open(things, request),
        "regions" => {
            let regions = client(things, request)?.client.regions().await.map_err(Fault::of)?;
            Ok(json!({"regions": regions.items}))
        }
        "measure" => {
            let regions = client(things, request)?.client.regions().await.map_err(Fault::of)?;
            Ok(json!({"latencies_ms": measure(&regions.items).await}))
        }
        "match" if call == "match.find" => matches::ask(things, request).await,
        "match" => matches::of_match(things, request, timeout).await,
        "lobby" => matches::lobby(things, request).await,
        "server" if call == "server.join" => matches::ask(things, request).await,
        "server" => server(things, request, timeout).await,
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

async fn connect(things: &Shared, request: &Value, timeout: Duration) -> Result<Value, Fault> {
    let (name, session) = (text(request, "match"), text(request, "session").to_owned());
    let (client, ticket) = matches::found(things, name)?;
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

async fn server(things: &Shared, request: &Value, timeout: Duration) -> Result<Value, Fault> {
    let name = text(request, "server").to_owned();
    match text(request, "call").trim_start_matches("server.") {
        "open" => {
            let told = name.clone();
            let tell = move |event: Value| {
                say(&json!({"event": "server", "server": told, "type": event["type"], "data": event}));
            };
            let opened = GameServer::open(&request["env"], tell)?;
            let described = opened.described();
            lock(things).servers.insert(name, Arc::new(opened));
            Ok(described)
        }
        "close" => {
            lock(things).servers.remove(&name);
            Ok(json!({}))
        }
        call => {
            let found = lock(things).servers.get(&name).cloned();
            found.ok_or_else(|| Fault::no("server", &name))?.call(call, request, timeout).await
        }
    }
}
