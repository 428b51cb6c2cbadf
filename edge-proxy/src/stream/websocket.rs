//! WebSocket's way of proving a seat: `?token=` in the request that opens it, or a subprotocol. Refusals are HTTP
//! errors.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use muster_protocol::preface::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::{ClientStream, Ended, Introduction};
use super::frames::Frames;
use super::http_head::{Head, HeadError, MAX_HEAD_BYTES, parse};
use super::listener::StreamSetup;
use super::proof::Declined;
use crate::clock::Now;
use crate::routes::{Proof, Route};
use crate::tunnel::OpenError;

/// How long a client that is refused may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTP error: status line, stable code, and what to do.
struct HttpError {
    status: &'static str,
    code: &'static str,
    detail: &'static str,
}

const NO_TOKEN: HttpError = HttpError {
    status: "401 Unauthorized",
    code: "token_missing",
    detail: "This port asks for a session token; append ?token=TOKEN to the URL, or offer the subprotocol \
             muster.token.TOKEN beside the game's own.",
};
const NO_WEBSOCKET: HttpError = HttpError {
    status: "400 Bad Request",
    code: "websocket_expected",
    detail: "This port speaks WebSocket; connect with a WebSocket client (HTTP/1.1, Upgrade: websocket).",
};
const HEAD_TOO_LARGE: HttpError = HttpError {
    status: "431 Request Header Fields Too Large",
    code: "head_too_large",
    detail: "The request's head is over 8 KiB or 64 fields; send fewer or shorter headers.",
};

/// Takes the request's head and the proof in it by `deadline`. The head goes on to the server as it came.
pub(super) async fn introduce<S: ClientStream>(
    setup: &StreamSetup,
    route: &Route,
    stream: &mut S,
    source: IpAddr,
    deadline: Instant,
) -> Result<Introduction, Ended> {
    let mut first = Vec::with_capacity(1_024);
    let reading = timeout_at(deadline, read_head(stream, &mut first));
    let head = match reading.await.map_err(|_| Ended::TooSlow)?? {
        Ok(head) => head,
        Err(HeadError::NoHttp) => return refuse(stream, &NO_WEBSOCKET, Ended::Malformed("no HTTP")).await,
        Err(HeadError::NoWebSocket) => {
            return refuse(stream, &NO_WEBSOCKET, Ended::Malformed("no WebSocket")).await;
        }
        Err(HeadError::TooLarge) => {
            return refuse(stream, &HEAD_TOO_LARGE, Ended::Malformed("head too large")).await;
        }
    };
    let mut frames = Frames::new(setup.max_frame_bytes);
    if let Some(beyond) = first.get(head.length..) {
        frames.pass(beyond)?;
    }
    let frames = Some(frames);
    if route.proof == Proof::Open {
        return Ok(Introduction { seat: None, first, frames });
    }
    let Some(token) = &head.token else {
        return refuse(stream, &NO_TOKEN, Declined::from(Refusal::Malformed).into()).await;
    };
    match setup.proofs.check(Now::read(), source, route, token) {
        Ok(seat) => {
            head.without_token(&mut first);
            Ok(Introduction { seat: Some(seat), first, frames })
        }
        Err(declined) => refuse(stream, &http_error(declined.told), declined.into()).await,
    }
}

/// Tells the client that it is not taken in.
pub(super) async fn tell_declined<S: ClientStream>(stream: &mut S, told: Refusal) -> io::Result<()> {
    respond(stream, &http_error(told)).await
}

/// Tells the client that its server is not reached.
pub(super) async fn tell_unreachable<S: ClientStream>(stream: &mut S, error: &OpenError) -> io::Result<()> {
    let (code, detail) = match error {
        OpenError::Refused { .. } => (
            "server_unavailable",
            "The game server takes no connection; it may have ended. Ask for a new match.",
        ),
        _ => ("agent_unreachable", "The game server's machine is not reachable now; try again shortly."),
    };
    respond(stream, &HttpError { status: "502 Bad Gateway", code, detail }).await
}

async fn read_head<S: ClientStream>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> io::Result<Result<Head, HeadError>> {
    loop {
        match parse(bytes) {
            Ok(Some(head)) => return Ok(Ok(head)),
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
        let room = MAX_HEAD_BYTES - bytes.len();
        if (&mut *stream).take(room as u64).read_buf(bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn http_error(refusal: Refusal) -> HttpError {
    let (status, detail) = match refusal {
        Refusal::Malformed => ("401 Unauthorized", "The token is no session token; pass it on unchanged."),
        Refusal::Untrusted => {
            ("401 Unauthorized", "The token is not signed by this installation; ask its API for one.")
        }
        Refusal::Expired => {
            ("401 Unauthorized", "The token has expired; read the ticket again for a fresh one.")
        }
        Refusal::WrongPort => (
            "403 Forbidden",
            "The token is for another server or port; connect to the endpoint it came with.",
        ),
        Refusal::Unavailable => ("503 Service Unavailable", "The edge takes no connection now; try again."),
    };
    HttpError { status, code: refusal.as_str(), detail }
}

async fn refuse<S: ClientStream, T>(stream: &mut S, error: &HttpError, ended: Ended) -> Result<T, Ended> {
    respond(stream, error).await?;
    Err(ended)
}

async fn respond<S: ClientStream>(stream: &mut S, error: &HttpError) -> io::Result<()> {
    let HttpError { status, code, detail } = error;
    let number = status.split(' ').next().unwrap_or_default();
    let body = format!(r#"{{"status":{number},"code":"{code}","detail":"{detail}"}}"#);
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    let saying = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(REFUSAL_TIMEOUT, saying).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
