//! A bound on the API's connections, and what every one of them is set to.
//!
//! Sits below TLS and HTTP: a connection beyond the bound is closed before anything is read from it, so
//! that clients who come in masses cost a socket each and no more. The last places are for those who do not stay:
//! clients by the thousand who wait for their matches must not keep an operator out. Handlers that wait ask for the
//! [`Room`] there is.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_layer::Layer;

/// Most connections at a time.
pub(crate) const MAX_CONNECTIONS: usize = 16_384;
/// So many of them, the last, are for requests that are answered soon.
const SHORT_ONLY: usize = 1_024;

/// How much room there was when a connection was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It may stay.
    Plenty,
    /// Requests on it are answered soon, and it is closed after the first.
    Scarce,
}

impl<S: Sync> FromRequestParts<S> for Room {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // What did not come over a listener, as in tests, is not bounded either.
        Ok(parts.extensions.get().copied().unwrap_or(Self::Plenty))
    }
}

/// Accepts connections within the bound.
#[derive(Clone)]
pub(crate) struct Bounded(Arc<Semaphore>);

impl Bounded {
    /// A bound of its own.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONNECTIONS)))
    }

    fn admit(&self, stream: TcpStream) -> io::Result<(Held, Room)> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| {
            tracing::warn!(limit = MAX_CONNECTIONS, "too many API connections; one is refused");
            io::Error::other("too many connections")
        })?;
        // Answers are small, and whoever waits for one should not wait for Nagle.
        stream.set_nodelay(true)?;
        let room = if self.0.available_permits() < SHORT_ONLY { Room::Scarce } else { Room::Plenty };
        Ok((Held { stream, _permit: permit }, room))
    }
}

impl<S> Accept<TcpStream, S> for Bounded
where
    S: Send + 'static,
{
    type Stream = Held;
    type Service = AddExtension<S, Room>;
    type Future = std::future::Ready<io::Result<(Held, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.admit(stream).map(|(held, room)| (held, Extension(room).layer(service))))
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
        let (first, _) = bounded.accept(connection().await, ()).await.expect("within the bound");
        assert!(bounded.accept(connection().await, ()).await.is_err());
        drop(first);
        assert!(bounded.accept(connection().await, ()).await.is_ok());
    }

    #[tokio::test]
    async fn the_last_places_are_for_those_who_do_not_stay() {
        let bounded = Bounded(Arc::new(Semaphore::new(SHORT_ONLY + 1)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut held = Vec::new();
        for expected in [Room::Plenty, Room::Scarce] {
            let client = TcpStream::connect(address).await.expect("connected");
            let (taken, room) =
                bounded.admit(listener.accept().await.expect("accepted").0).expect("within the bound");
            assert_eq!(room, expected);
            held.push((client, taken));
        }
        held.clear();
        let _client = TcpStream::connect(address).await.expect("connected");
        let again = bounded.admit(listener.accept().await.expect("accepted").0).expect("within the bound");
        assert_eq!(again.1, Room::Plenty);
    }
}
