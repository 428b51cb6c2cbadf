//! UDP sockets for QUIC, and dialling a peer by name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, EndpointConfig, TokioRuntime};
use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers asked for; the system may give less (`net.core.rmem_max`).
const SOCKET_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Addresses tried of one peer, at most.
const MAX_ADDRESSES: usize = 16;

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
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Less than asked for is no reason not to run.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Endpoint::new(EndpointConfig::default(), server, socket.into(), Arc::new(TokioRuntime))
}

/// Connects to the first of `addresses` (`host:port`) that answers as `server_name`.
///
/// Each resolved address gets `timeout`; they are tried in order.
///
/// # Errors
/// [`DialError`] of the last address tried.
pub async fn dial(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
    addresses: &[String],
    server_name: &str,
    timeout: Duration,
) -> Result<Connection, DialError> {
    let mut last = DialError::NoAddress;
    for text in addresses.iter().take(MAX_ADDRESSES) {
        let resolved = match tokio::net::lookup_host(text).await {
            Ok(resolved) => resolved.take(MAX_ADDRESSES).collect::<Vec<_>>(),
            Err(_) => Vec::new(),
        };
        if resolved.is_empty() {
            last = DialError::Unresolved(text.clone());
        }
        for address in resolved {
            match dial_one(endpoint, config.clone(), address, server_name, timeout).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
    }
    Err(last)
}

async fn dial_one(
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
