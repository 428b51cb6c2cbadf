//! A bound on the API's connections, and what every one of them is set to.
//!
//! Sits below TLS and HTTP: a connection beyond the bound is closed before anything is read from it, so
//! that clients who come in masses cost a socket each and no more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most connections at a time.
pub(crate) const MAX_CONNECTIONS: usize = 16_384;

/// Accepts connections within the bound.
#[derive(Clone)]
pub(crate) struct Bounded(Arc<Semaphore>);

impl Bounded {
    /// A bound of its own.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONNECTIONS)))
    }

    fn admit(&self, stream: TcpStream) -> io::Result<Held> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            tracing::warn!(limit = MAX_CONNECTIONS, "too many API connections; one is refused");
            io::Error::other("too many connections")
        })?;
        // Answers are small, and whoever waits for one should not wait for Nagle.
        stream.set_nodelay(true)?;
        Ok(Held { stream, _permit: permit })
    }
}

impl<S> Accept<TcpStream, S> for Bounded
where
    S: Send + 'static,
{
    type Stream = Held;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Held, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.admit(stream).map(|stream| (stream, service)))
    }
}

/// A connection that counts until it is closed.
pub(crate) struct Held {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn a_connection_beyond_the_bound_is_closed_until_another_goes() {
        let bounded = Bounded(Arc::new(Semaphore::new(1)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut clients = Vec::new();
        let mut connection = async || {
            clients.push(TcpStream::connect(address).await.expect("connected"));
            listener.accept().await.expect("accepted").0
        };
        let (first, ()) = bounded.accept(connection().await, ()).await.expect("within the bound");
        assert!(bounded.accept(connection().await, ()).await.is_err());
        drop(first);
        assert!(bounded.accept(connection().await, ()).await.is_ok());
    }
}
