//! A bulk flow: one TCP connection that carries bytes both ways at an even rate, and its end at the game server.
//!
//! The client proves itself as any player does, and says how many bytes a second it wants; it sends as many. What it
//! wants is no more than a path carries: how much of it came is reported.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_protocol::preface::{Answer, decode_answer, encode_answer, encode_tcp_preface};
use serde::{Deserialize, Serialize};

use super::pace::Pace;
use super::udp::now_ns;
use crate::report::write_file;

/// Bytes of one write.
const CHUNK_BYTES: usize = 16 * 1024;
/// Pause between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// How long connecting may take, and how long the other end may be silent.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::bench::edge) struct BulkPlan {
    /// Where to connect.
    pub(in crate::bench::edge) to: SocketAddrV4,
    /// What it shows first, if it must.
    pub(in crate::bench::edge) token: Option<String>,
    /// Bytes a second, each way.
    pub(in crate::bench::edge) bytes_per_s: u64,
    /// File that is made when the first bytes have come.
    pub(in crate::bench::edge) began: PathBuf,
    /// File that ends it once it is there.
    pub(in crate::bench::edge) over: PathBuf,
}

/// What was carried.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench::edge) struct BulkReport {
    /// Bytes that the connection took.
    pub(in crate::bench::edge) sent: u64,
    /// Bytes that came.
    pub(in crate::bench::edge) received: u64,
    /// How long it was, in seconds.
    pub(in crate::bench::edge) seconds: f64,
}

/// Carries bytes until it is told that it is over, or the connection breaks.
pub(super) fn run(plan: &BulkPlan) -> anyhow::Result<BulkReport> {
    let mut stream = TcpStream::connect_timeout(&plan.to.into(), PATIENCE)
        .with_context(|| format!("cannot connect to {}", plan.to))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    if let Some(token) = &plan.token {
        stream.write_all(&encode_tcp_preface(token))?;
        let mut answer = encode_answer(Answer::Accepted);
        stream.read_exact(&mut answer).context("the token was not answered")?;
        if decode_answer(&answer) != Some(Answer::Accepted) {
            bail!("the token was refused");
        }
    }
    stream.write_all(&plan.bytes_per_s.to_be_bytes())?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = stream.read(&mut chunk).context("no byte came")? as u64;
    write_file(&plan.began, "it stands")?;
    let began = Instant::now();
    let is_over = Arc::new(AtomicBool::new(false));
    let writing = pour(stream.try_clone()?, plan.bytes_per_s, is_over.clone());
    while !plan.over.exists() {
        match stream.read(&mut chunk).context("the connection broke")? {
            0 => bail!("the server closed the connection"),
            bytes => received += bytes as u64,
        }
    }
    is_over.store(true, Ordering::Relaxed);
    let seconds = began.elapsed().as_secs_f64();
    // A writer that waits for room is woken by this.
    stream.shutdown(Shutdown::Both)?;
    let sent = writing.join().ok().context("the writer ended")?;
    Ok(BulkReport { sent, received, seconds })
}

/// Takes connections until it is killed: what comes is thrown away, as much as is wanted is sent.
pub(super) fn serve(listen: SocketAddrV4) -> anyhow::Result<()> {
    accept(&TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?)
}

fn accept(listener: &TcpListener) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            // However it ends, its client says so.
            let _ = attend(stream);
        });
    }
}

fn attend(mut stream: TcpStream) -> io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted)?;
    let is_over = Arc::new(AtomicBool::new(false));
    pour(stream.try_clone()?, u64::from_be_bytes(wanted), is_over.clone());
    let mut chunk = vec![0; CHUNK_BYTES];
    while stream.read(&mut chunk)? > 0 {}
    is_over.store(true, Ordering::Relaxed);
    stream.shutdown(Shutdown::Both)
}

/// Writes so many bytes a second to `stream` until it breaks or is over; how many it took.
fn pour(mut stream: TcpStream, bytes_per_s: u64, is_over: Arc<AtomicBool>) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let (chunk, mut sent) = (vec![0; CHUNK_BYTES], 0);
        let mut pace = Pace::new(now_ns(), bytes_per_s as f64 / CHUNK_BYTES as f64);
        while !is_over.load(Ordering::Relaxed) {
            for _ in 0..pace.take(now_ns()) {
                if stream.write_all(&chunk).is_err() {
                    return sent;
                }
                sent += CHUNK_BYTES as u64;
            }
            std::thread::sleep(TICK);
        }
        sent
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_both_ways_until_it_is_over() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        std::thread::spawn(move || accept(&listener));
        let file =
            |what: &str| std::env::temp_dir().join(format!("muster-bulk-{}.{what}", std::process::id()));
        let plan = BulkPlan {
            to: SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, port),
            token: None,
            bytes_per_s: 100 * CHUNK_BYTES as u64,
            began: file("began"),
            over: file("over"),
        };
        let (began, over) = (plan.began.clone(), plan.over.clone());
        let ending = std::thread::spawn(move || {
            while !began.exists() {
                std::thread::sleep(TICK);
            }
            std::fs::write(over, "").expect("written");
        });
        let report = run(&plan).expect("carried");
        ending.join().expect("it had begun");
        assert!(report.received > 0 && report.seconds > 0.0, "{report:?}");
        for file in [&plan.began, &plan.over] {
            std::fs::remove_file(file).expect("it was made");
        }
    }
}
