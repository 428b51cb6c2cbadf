//! Socket buffers: what a burst finds room in while its reader is elsewhere.

use std::sync::Once;
use std::{fmt, io};

use socket2::Socket;

static TOLD: Once = Once::new();

/// Has `socket` keep `bytes` of what comes and of what is to leave, as far as the system lets it; says once per process
/// if that is less.
pub fn set_buffers(socket: &Socket, bytes: usize) {
    // Less than asked for is no reason not to run.
    let _ = force(socket, bytes).or_else(|_| {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)
    });
    // Linux says twice what it gives, since the half of it is for its own.
    let share = if cfg!(target_os = "linux") { 2 } else { 1 };
    let had = socket.recv_buffer_size().and_then(|receive| Ok(receive.min(socket.send_buffer_size()?)));
    if let Some(had) = had.ok().map(|had| had / share).filter(|had| *had < bytes) {
        TOLD.call_once(|| tracing::warn!("{}", Small { had, asked: bytes }));
    }
}

#[cfg(target_os = "linux")]
fn force(socket: &Socket, bytes: usize) -> io::Result<()> {
    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::{RcvBufForce, SndBufForce};

    setsockopt(socket, RcvBufForce, &bytes)?;
    Ok(setsockopt(socket, SndBufForce, &bytes)?)
}

#[cfg(not(target_os = "linux"))]
fn force(_socket: &Socket, _bytes: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

struct Small {
    had: usize,
    asked: usize,
}

impl fmt::Display for Small {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { had, asked } = self;
        write!(
            f,
            "the system gives UDP sockets {had} bytes of buffer instead of {asked}, and bursts of players' packets beyond \
             that are lost; raise it with `sysctl -w net.core.rmem_max={asked} net.core.wmem_max={asked}`, or give this \
             process CAP_NET_ADMIN"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_is_told_with_its_mend() {
        let text = Small { had: 212_992, asked: 8_388_608 }.to_string();
        assert!(text.contains("net.core.rmem_max=8388608"), "{text}");
    }
}
