//! Carrying bytes both ways between a client and its tunnel stream until both directions have ended.
//!
//! The end of one direction is passed on as an end and leaves the other open. Nothing is read before what
//! was read last has been taken, so memory per connection is one buffer and QUIC's window. A direction
//! that breaks breaks both, and so does the operator who denies the client's address.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use quinn::{ReadError, RecvStream, SendStream, WriteError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::connection::ClientStream;
use super::frames::{FrameError, Frames};
use super::throttle::Throttled;
use crate::limits::LEAST_BURST_BYTES;
use crate::tally::Passed;
use crate::traffic::Counters;
use crate::tunnel::TunnelStream;

/// Bytes read from a client at a time.
const CLIENT_BUFFER_BYTES: usize = 16 * 1024;
// Or a full buffer would wait forever where the operator's rate is low.
const _: () = assert!(CLIENT_BUFFER_BYTES as u64 <= LEAST_BURST_BYTES);
/// Bytes taken off a tunnel stream at a time.
const TUNNEL_CHUNK_BYTES: usize = 64 * 1024;
/// QUIC's code for a stream whose other side's connection broke.
const CODE_BROKEN: u32 = 1;

/// Why bytes are carried no further.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpliceError {
    #[error("the client's connection broke: {0}")]
    Client(io::Error),
    #[error("the tunnel stream broke: {0}")]
    FromServer(#[from] ReadError),
    #[error("the tunnel stream broke: {0}")]
    ToServer(#[from] WriteError),
    #[error("the client's WebSocket: {0}")]
    Frame(#[from] FrameError),
    #[error("no byte either way for {} s", .0.as_secs())]
    Idle(Duration),
    #[error("the operator has denied the client's address")]
    Denied,
}

/// Carries `first`, then everything, until both directions have ended. The client's bytes behind `first` pass by
/// `frames`, if there are to be any, and all of them as `throttled` lets them.
///
/// # Errors
/// [`SpliceError`]; the tunnel stream has then been reset.
pub(super) async fn splice<S: ClientStream>(
    client: &mut S,
    tunnel: TunnelStream,
    (first, frames): (&[u8], Option<Frames>),
    throttled: &Throttled<'_>,
    idle: Duration,
    counters: &Counters,
) -> Result<(), SpliceError> {
    let TunnelStream { mut send, mut receive, first: first_back } = tunnel;
    let (reader, mut writer) = tokio::io::split(client);
    let activity = Activity::new();
    let carrying = async {
        if !first_back.is_empty() {
            counters.to_client(Passed::one(first_back.len()));
            writer.write_all(&first_back).await.map_err(SpliceError::Client)?;
        }
        tokio::try_join!(
            to_server(reader, &mut send, (first, frames), throttled, counters, &activity),
            to_client(&mut receive, writer, counters, &activity),
        )?;
        Ok(())
    };
    let outcome = tokio::select! {
        outcome = carrying => outcome,
        () = activity.idle_for(idle) => Err(SpliceError::Idle(idle)),
        () = throttled.denied() => Err(SpliceError::Denied),
    };
    if outcome.is_err() {
        // Errors here say that the stream is over already.
        let _ = send.reset(CODE_BROKEN.into());
        let _ = receive.stop(CODE_BROKEN.into());
    }
    outcome
}

async fn to_server<S: ClientStream>(
    mut reader: ReadHalf<&mut S>,
    send: &mut SendStream,
    (first, mut frames): (&[u8], Option<Frames>),
    throttled: &Throttled<'_>,
    counters: &Counters,
    activity: &Activity,
) -> Result<(), SpliceError> {
    if !first.is_empty() {
        throttled.pass(first.len()).await;
        send.write_all(first).await?;
        counters.to_server(Passed::one(first.len()));
    }
    let mut buffer = vec![0; CLIENT_BUFFER_BYTES];
    loop {
        let read = read_some(&mut reader, &mut buffer).await.map_err(SpliceError::Client)?;
        activity.note();
        if read == 0 {
            // An error says that it has ended already.
            let _ = send.finish();
            return Ok(());
        }
        if let Some(frames) = &mut frames {
            frames.pass(&buffer[..read])?;
        }
        throttled.pass(read).await;
        send.write_all(&buffer[..read]).await?;
        counters.to_server(Passed::one(read));
        activity.note();
    }
}

/// Reads at least a byte, or none at the client's end.
async fn read_some(reader: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> io::Result<usize> {
    match reader.read(buffer).await {
        // A TLS client closed TCP and did not say so in TLS, as many do. Whether that is all it had to say, its game's
        // own protocol tells.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        outcome => outcome,
    }
}

async fn to_client<S: ClientStream>(
    receive: &mut RecvStream,
    mut writer: WriteHalf<&mut S>,
    counters: &Counters,
    activity: &Activity,
) -> Result<(), SpliceError> {
    while let Some(chunk) = receive.read_chunk(TUNNEL_CHUNK_BYTES, true).await? {
        activity.note();
        writer.write_all(&chunk.bytes).await.map_err(SpliceError::Client)?;
        writer.flush().await.map_err(SpliceError::Client)?;
        counters.to_client(Passed::one(chunk.bytes.len()));
        activity.note();
    }
    activity.note();
    writer.shutdown().await.map_err(SpliceError::Client)
}

/// When a byte last moved, either way.
struct Activity {
    since: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { since: Instant::now(), last_ms: AtomicU64::new(0) }
    }

    fn note(&self) {
        self.last_ms.store(self.since.elapsed().as_millis() as u64, Relaxed);
    }

    /// Waits until nothing has moved for `idle`.
    async fn idle_for(&self, idle: Duration) {
        loop {
            let due = self.since + Duration::from_millis(self.last_ms.load(Relaxed)) + idle;
            if Instant::now() >= due {
                return;
            }
            sleep_until(due).await;
        }
    }
}
