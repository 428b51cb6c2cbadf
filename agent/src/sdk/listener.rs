//! TCP connections to the SDK endpoint, bounded in all and per container: one that opens connections
//! without end takes nothing from the others.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::metrics;

/// Connections open at once, in all.
const MAX_CONNECTIONS: usize = 8_192;
/// Connections open at once from one address, that is from one container.
const MAX_PER_ADDRESS: usize = 32;

type Counts = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A listener that closes what is over its bounds.
pub(super) struct Bounded {
    inner: TcpListener,
    per_address: usize,
    counts: Counts,
}

impl Bounded {
    /// Bounds `inner`. `shared_address`: all containers come from one address, as through Docker
    /// Desktop's gateway, so that only the bound on all of them can be held.
    pub(super) fn new(inner: TcpListener, shared_address: bool) -> Self {
        let per_address = if shared_address { MAX_CONNECTIONS } else { MAX_PER_ADDRESS };
        Self { inner, per_address, counts: Counts::default() }
    }

    fn admit(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.values().sum::<usize>() >= MAX_CONNECTIONS {
            return None;
        }
        let count = counts.entry(address).or_default();
        if *count >= self.per_address {
            return None;
        }
        *count += 1;
        Some(Slot { address, counts: Arc::clone(&self.counts) })
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Axum's own listener waits out what the system refuses (too many open files).
            let (stream, address) = Listener::accept(&mut self.inner).await;
            match self.admit(address.ip()) {
                Some(slot) => {
                    // Calls are small and waited for.
                    let _ = stream.set_nodelay(true);
                    return (Connection { stream, _slot: slot }, address);
                }
                None => metrics::sdk_refused(),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A place among the bounded.
struct Slot {
    address: IpAddr,
    counts: Counts,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// A connection that holds its place.
pub(super) struct Connection {
    stream: TcpStream,
    _slot: Slot,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
