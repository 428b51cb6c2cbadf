//! What the recorded cases play: an HTTP server that says what a case wants, byte for byte, a ticket that changes, and an
//! edge's UDP port. Not the live cases' world, which is a whole Muster.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use muster_protocol::preface::{Answer, Refusal, decode_preface, encode_answer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// What cuts an echoing WebSocket.
pub const CUT: &str = "cut";
/// Longest time a silent connection is held.
const SILENCE: Duration = Duration::from_secs(30);

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST /v1/tickets`.
    pub line: String,
    /// What follows the `?`.
    pub query: String,
    /// The body, if it is JSON.
    pub body: Value,
    key: String,
}

/// What is answered.
pub enum Reply {
    /// A status and JSON.
    Json(u16, Value),
    /// These bytes, and then the end.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing.
    Stall(Vec<u8>),
    /// A WebSocket that says these texts, and then is cut or stays.
    Texts(Vec<String>, bool),
    /// A WebSocket that sends every message back, and is cut when it gets [`CUT`].
    Echo,
    /// A WebSocket that tells a ticket whenever it changes.
    Watch(watch::Receiver<Value>),
    /// A ticket, once it is in another state than the query names.
    Poll(watch::Receiver<Value>),
}

impl Reply {
    /// A problem document.
    pub fn problem(status: u16, code: &str, detail: &str) -> Self {
        Self::Json(
            status,
            json!({"type": format!("urn:muster:problem:{code}"), "title": code, "status": status,
            "code": code, "detail": detail, "fix": "This is a recorded answer; there is nothing to mend."}),
        )
    }
}

type Answers = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server; gone when dropped.
pub struct Host {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Host {
    /// Serves `answers` over plain HTTP.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(answers: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> anyhow::Result<Self> {
        Self::serve(answers, None).await
    }

    /// The same over TLS.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start_tls(
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        tls: tokio_rustls::TlsAcceptor,
    ) -> anyhow::Result<Self> {
        Self::serve(answers, Some(tls)).await
    }

    async fn serve(
        answers: impl Fn(&Request) -> Reply + Send + Sync + 'static,
        tls: Option<tokio_rustls::TlsAcceptor>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answers, heard): (Arc<Answers>, _) = (Arc::new(answers), Arc::clone(&requests));
        let task = tokio::spawn(async move {
            // Those under way end with the host.
            let mut talks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, heard, tls) = (Arc::clone(&answers), Arc::clone(&heard), tls.clone());
                talks.spawn(async move {
                    match tls {
                        None => talk(stream, &*answers, &heard).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => talk(stream, &*answers, &heard).await,
                            Err(_) => None,
                        },
                    }
                });
            }
        });
        Ok(Self { address, requests, task })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often `line` was asked.
    pub fn count(&self, line: &str) -> usize {
        self.requests().iter().filter(|request| request.line == line).count()
    }
}

async fn talk(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answers: &Answers,
    heard: &Mutex<Vec<Request>>,
) -> Option<()> {
    loop {
        let request = read(&mut stream).await?;
        heard.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        match answers(&request) {
            Reply::Json(status, body) => json_answer(&mut stream, status, &body).await?,
            Reply::Bytes(bytes) => return stream.write_all(&bytes).await.ok(),
            Reply::Stall(bytes) => {
                stream.write_all(&bytes).await.ok()?;
                tokio::time::sleep(SILENCE).await;
                return None;
            }
            Reply::Poll(mut ticket) => {
                let same = |ticket: &Value| {
                    let state = format!("state={}", ticket["state"].as_str().unwrap_or(""));
                    request.query.split('&').any(|part| part == state)
                };
                let changed = async { ticket.wait_for(|ticket| !same(ticket)).await.map(drop) };
                let _ = tokio::time::timeout(Duration::from_secs(1), changed).await;
                let now = ticket.borrow().clone();
                json_answer(&mut stream, 200, &now).await?;
            }
            upgrade => return socket(stream, &request.key, upgrade).await,
        }
    }
}

async fn socket(mut stream: impl AsyncRead + AsyncWrite + Unpin, key: &str, reply: Reply) -> Option<()> {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    match reply {
        Reply::Texts(texts, is_cut) => {
            for text in texts {
                socket.send(Message::text(text)).await.ok()?;
            }
            if is_cut {
                return None;
            }
            while socket.next().await?.is_ok() {}
        }
        Reply::Echo => {
            while let Some(Ok(message)) = socket.next().await {
                if message.to_text().is_ok_and(|text| text == CUT) {
                    return None;
                }
                if message.is_text() || message.is_binary() {
                    socket.send(message).await.ok()?;
                }
            }
        }
        Reply::Watch(mut ticket) => loop {
            let now = ticket.borrow_and_update().to_string();
            socket.send(Message::text(now)).await.ok()?;
            tokio::select! {
                changed = ticket.changed() => changed.ok()?,
                // Closed, or broken: nothing else is said by clients.
                _ = socket.next() => return None,
            }
        },
        _ => {}
    }
    None
}

async fn json_answer(stream: &mut (impl AsyncWrite + Unpin), status: u16, body: &Value) -> Option<()> {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let body = body.to_string();
    let head =
        format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if bytes.len() > MAX_REQUEST_BYTES || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
    };
    let length: usize = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        if bytes.len() > MAX_REQUEST_BYTES || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some(Request {
        line: format!("{method} {path}"),
        query: query.to_owned(),
        body: serde_json::from_slice(&bytes[end..]).unwrap_or(Value::Null),
        key: header("sec-websocket-key").unwrap_or_default(),
    })
}

/// A ticket as an orchestrator tells it.
pub fn ticket(state: &str, explanation: &str) -> Value {
    json!({"id": "tkt_01h455vb4pex5vsknk084sn02q", "queue": "quick", "player": "ann", "state": state,
        "explanation": explanation, "created_at_ms": 1_800_000_000_000_u64})
}

/// An assigned ticket with these endpoints.
pub fn assigned(endpoints: Vec<Value>) -> Value {
    let mut ticket = ticket("assigned", "has a seat");
    ticket["assignment"] = json!({"match_id": "match_01h455vb4pex5vsknk084sn02q",
        "server_id": "srv_01h455vb4pex5vsknk084sn02q", "region": "local",
        "seat_id": "seat_01h455vb4pex5vsknk084sn02r", "team": "", "endpoints": endpoints});
    ticket
}

/// An orchestrator with one ticket, which the case changes through `ticket`.
///
/// # Errors
/// If there is no port.
pub async fn desk(ticket: &watch::Sender<Value>) -> anyhow::Result<Host> {
    let made = ticket.subscribe();
    Host::start(move |request| match request.line.as_str() {
        "POST /v1/tickets" => {
            let mut now = made.borrow().clone();
            now["token"] = json!("tt_recorded");
            Reply::Json(201, now)
        }
        "GET /v1/regions" => Reply::Json(200, json!({"items": []})),
        line if line.ends_with("/watch") => Reply::Watch(made.clone()),
        line if line.starts_with("GET /v1/tickets/") && request.query.contains("wait_s") => {
            Reply::Poll(made.clone())
        }
        line if line.starts_with("GET /v1/tickets/") => Reply::Json(200, made.borrow().clone()),
        _ => Reply::problem(404, "not_found", "the recorded orchestrator has no such path"),
    })
    .await
}

/// An edge's UDP port: answers prefaces as `judge` says of their token, `None` not at all, and echoes what proven sockets
/// send. Gone when dropped.
pub struct EdgePort {
    /// Where it is.
    pub address: SocketAddr,
    tokens: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Drop for EdgePort {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl EdgePort {
    /// Opens it.
    ///
    /// # Errors
    /// If there is no port.
    pub async fn start(
        judge: impl Fn(&str, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let tokens = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&tokens);
        let task = tokio::spawn(async move {
            let mut proven = std::collections::HashSet::new();
            let mut buffer = vec![0; 65_536];
            loop {
                let Ok((length, peer)) = socket.recv_from(&mut buffer).await else { continue };
                let packet = &buffer[..length];
                let Some(token) = decode_preface(packet) else {
                    if proven.contains(&peer) {
                        let _ = socket.send_to(packet, peer).await;
                    }
                    continue;
                };
                let count = {
                    let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                    shown.push(token.to_owned());
                    shown.len()
                };
                let Some(answer) = judge(token, count) else { continue };
                if answer == Answer::Accepted {
                    proven.insert(peer);
                }
                let _ = socket.send_to(&encode_answer(answer), peer).await;
            }
        });
        Ok(Self { address, tokens, task })
    }

    /// The endpoint that leads here.
    pub fn endpoint(&self, token: &str) -> Value {
        json!({"port_name": "game-udp", "protocol": "udp", "host": "127.0.0.1", "port": self.address.port(),
            "token_mode": "preface", "token": token, "token_expires_at_ms": 1_800_000_600_000_u64})
    }

    /// Tokens that were shown, in order.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The refusal that a golden vector's name means.
pub fn refusal(name: &str) -> Option<Refusal> {
    Some(match name {
        "refused_malformed" => Refusal::Malformed,
        "refused_untrusted" => Refusal::Untrusted,
        "refused_expired" => Refusal::Expired,
        "refused_wrong_port" => Refusal::WrongPort,
        "refused_unavailable" => Refusal::Unavailable,
        _ => return None,
    })
}
