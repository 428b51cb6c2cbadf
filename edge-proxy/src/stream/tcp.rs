//! TCP's way of proving a seat: a preface behind its length, answered before the game's first byte.

use std::io;
use std::net::IpAddr;

use muster_protocol::preface::{Answer, MAX_PREFACE_BYTES, decode_preface, encode_answer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::connection::{ClientStream, Ended, Introduction};
use super::listener::StreamSetup;
use crate::clock::Now;
use crate::routes::{Proof, Route};

/// Takes the client's proof by `deadline`, if the port asks for one, and not a byte more.
pub(super) async fn introduce<S: ClientStream>(
    setup: &StreamSetup,
    route: &Route,
    stream: &mut S,
    source: IpAddr,
    deadline: Instant,
) -> Result<Introduction, Ended> {
    if route.proof == Proof::Open {
        return Ok(Introduction { seat: None, first: Vec::new(), frames: None });
    }
    let preface = timeout_at(deadline, read_preface(stream)).await.map_err(|_| Ended::TooSlow)??;
    let Some(token) = decode_preface(&preface) else {
        return Err(Ended::Malformed("the preface is none"));
    };
    match setup.proofs.check(Now::read(), source, route, token) {
        Ok(seat) => Ok(Introduction { seat: Some(seat), first: Vec::new(), frames: None }),
        Err(declined) => {
            say(stream, Answer::Refused(declined.told)).await?;
            Err(declined.into())
        }
    }
}

/// Tells the client, on a port that asks for proof, whether its connection stands.
pub(super) async fn answer<S: ClientStream>(route: &Route, stream: &mut S, answer: Answer) -> io::Result<()> {
    match route.proof {
        Proof::Open => Ok(()),
        Proof::Preface | Proof::Claim => say(stream, answer).await,
    }
}

/// What stands behind the length, and not a byte more.
pub(super) async fn read_preface(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, Ended> {
    let length = usize::from(stream.read_u16().await?);
    if length > MAX_PREFACE_BYTES {
        return Err(Ended::Malformed("the preface is longer than any token"));
    }
    let mut preface = vec![0; length];
    stream.read_exact(&mut preface).await?;
    Ok(preface)
}

async fn say<S: ClientStream>(stream: &mut S, answer: Answer) -> io::Result<()> {
    // Seven bytes into an empty send buffer: this does not wait for the client.
    stream.write_all(&encode_answer(answer)).await?;
    stream.flush().await
}
