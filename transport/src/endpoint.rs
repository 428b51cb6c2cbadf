//! UDP sockets for QUIC, and dialling a peer by name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinSet;

use crate::buffers::set_buffers;
use crate::mark::Marked;
use crate::profile::{Profile, take_jumbo};

/// Socket buffers asked for; the system may give less (`net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Names tried, and addresses of each, at most.
const MAX_ADDRESSES: usize = 32;
/// An address that has not answered after this long is no longer waited for alone.
pub const STAGGER: Duration = Duration::from_millis(500);

/// Why a peer was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No address resolved.
    #[error("{0} does not resolve; check the name and this machine's DNS")]
    Unresolved(String),
    /// No address was given.
    #[error("no address to dial; name at least one as host:port")]
    NoAddress,
    /// The last address tried did not answer in time.
    #[error("{address} did not answer within {seconds} s; check that it runs and that UDP reaches it")]
    Timeout {
        /// The address.
        address: SocketAddr,
        /// Seconds waited.
        seconds: u64,
    },
    /// The endpoint cannot dial that address (wrong family, or it is shut down).
    #[error("cannot dial {address}: {source}")]
    Connect {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: quinn::ConnectError,
    },
    /// The handshake failed.
    #[error("{address} refused the connection: {source}")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: quinn::ConnectionError,
    },
}

/// A QUIC endpoint on `address`; it listens if `server` is given.
///
/// A v6 wildcard takes v4 too. Must be called within a tokio runtime.
///
/// # Errors
/// What the system says of the socket, such as an address in use.
pub fn bind(address: SocketAddr, server: Option<quinn::ServerConfig>) -> io::Result<Endpoint> {
    open(address, server, EndpointConfig::default())
}

/// As [`bind`], for a listener that is found at its address again after a crash. Whoever is still connected to
/// the process before is told at once that the connection is gone (QUIC's stateless reset), and need not wait
/// for silence. `secret` makes the answer one that only this listener can give: it has to be the same after a
/// restart, and no other listener's.
///
/// # Errors
/// As [`bind`].
pub fn listen(address: SocketAddr, server: quinn::ServerConfig, secret: &[u8]) -> io::Result<Endpoint> {
    open(address, Some(server), listener_config(secret, None))
}

/// Of a listener as [`listen`] makes it, whose ids bear the mark of `profile`, if there is one.
pub(crate) fn listener_config(secret: &[u8], profile: Option<Profile>) -> EndpointConfig {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let connection_ids = hmac::sign(&key, b"muster connection ids");
    let connection_ids = connection_ids.as_ref().first_chunk::<8>().copied().unwrap_or_default();
    let connection_ids = u64::from_be_bytes(connection_ids);
    let reset = hmac::sign(&key, b"muster stateless reset");
    let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, reset.as_ref())));
    // The ids of the process before have to be known as our own.
    config.cid_generator(move || {
        let ids = HashedConnectionIdGenerator::from_key(connection_ids);
        match profile {
            None => Box::new(ids),
            Some(profile) => Box::new(Marked::new(profile, ids)),
        }
    });
    take_jumbo(&mut config);
    config
}

fn open(
    address: SocketAddr,
    server: Option<quinn::ServerConfig>,
    config: EndpointConfig,
) -> io::Result<Endpoint> {
    Endpoint::new(config, server, udp_socket(address, false)?, Arc::new(TokioRuntime))
}

/// A UDP socket on `address` that does not block, with large buffers. A v6 wildcard takes v4 too, unless it is to be
/// `only_v6`.
pub(crate) fn udp_socket(address: SocketAddr, only_v6: bool) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    set_buffers(&socket, SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Connects to the first of `addresses` (`host:port`) that answers as `server_name`; tried as [`dial_each`] does, `timeout`
/// for each.
///
/// # Errors
/// [`DialError`] of the last address to fail.
pub async fn dial(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
    addresses: &[String],
    server_name: &str,
    timeout: Duration,
) -> Result<Connection, DialError> {
    dial_each(addresses, |address| {
        let (endpoint, config, name) = (endpoint.clone(), config.clone(), server_name.to_owned());
        async move { dial_address(&endpoint, config, address, &name, timeout).await }
    })
    .await
}

/// The first of `addresses` (`host:port`) that `attempt` succeeds at.
///
/// They are tried in order, but one that has not answered within [`STAGGER`] does not keep the next waiting: whichever
/// answers first is taken, the others are let go. How long an attempt may take is its own to say.
///
/// # Errors
/// [`DialError`] of the last address to fail.
pub async fn dial_each<C, A>(addresses: &[String], attempt: impl Fn(SocketAddr) -> A) -> Result<C, DialError>
where
    C: Send + 'static,
    A: Future<Output = Result<C, DialError>> + Send + 'static,
{
    let mut last = DialError::NoAddress;
    // Dropped with this future, and the attempts with it.
    let mut attempts = JoinSet::new();
    for text in addresses.iter().take(MAX_ADDRESSES) {
        let resolved = match tokio::net::lookup_host(text).await {
            Ok(resolved) => resolved.take(MAX_ADDRESSES).collect::<Vec<_>>(),
            Err(_) => Vec::new(),
        };
        if resolved.is_empty() {
            last = DialError::Unresolved(text.clone());
        }
        for address in resolved {
            attempts.spawn(attempt(address));
            match tokio::time::timeout(STAGGER, attempts.join_next()).await {
                Ok(Some(Ok(Ok(connection)))) => return Ok(connection),
                Ok(Some(Ok(Err(error)))) => last = error,
                // Not answered yet, or an attempt that panicked and was reported: on to the next.
                Ok(Some(Err(_)) | None) | Err(_) => {}
            }
        }
    }
    while let Some(ended) = attempts.join_next().await {
        match ended {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Connects to `address`, which has `timeout` to answer as `server_name`.
///
/// # Errors
/// [`DialError`], which names the address.
pub async fn dial_address(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
    address: SocketAddr,
    server_name: &str,
    timeout: Duration,
) -> Result<Connection, DialError> {
    let connecting = endpoint
        .connect_with(config, address, server_name)
        .map_err(|source| DialError::Connect { address, source })?;
    match tokio::time::timeout(timeout, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(source)) => Err(DialError::Refused { address, source }),
        Err(_) => Err(DialError::Timeout { address, seconds: timeout.as_secs() }),
    }
}
