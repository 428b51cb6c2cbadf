//! The API's listener: TCP, TLS where the configuration asks for it, bounds on slow clients, shutdown.
//!
//! What is served is a router made elsewhere. Whether plain HTTP may be open to other machines is the
//! configuration's own check.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;

use super::connections::Bounded;
use crate::authority::{Authority, AuthorityError};
use crate::config::{ApiConfig, ApiTls, TlsFiles};

/// How long a client may take to send the head of a request, idle time on a kept connection included.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a new connection may take to send its first request.
pub(crate) const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Most requests at once on one HTTP/2 connection.
pub(crate) const MAX_STREAMS: u32 = 256;
/// How long requests may go on once the server is told to stop.
pub(crate) const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another program listens there.
    #[error("api.listen {0} is taken by another program; stop that one, or set api.listen to another port")]
    Taken(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on api.listen {address}: {source}; set api.listen to an address of this machine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file of `api.tls` cannot be used.
    #[error("{key} {path}: {reason}; it must be a PEM file that the orchestrator can read")]
    File {
        /// Key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not make a TLS server.
    #[error("api.tls: {0}; check that the key belongs to the certificate")]
    Tls(#[from] rustls::Error),
    /// The own CA does not sign.
    #[error("api.tls = \"own\": {0}")]
    Own(#[from] AuthorityError),
}

/// The API being served.
pub(crate) struct ApiServer {
    address: SocketAddr,
    scheme: &'static str,
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
}

impl ApiServer {
    /// Listens as `config` says and serves `router`. `authority` signs the certificate if TLS is `own`.
    ///
    /// # Errors
    /// [`ServeError`]; nothing is served then.
    pub(crate) fn start(
        config: &ApiConfig,
        authority: &Authority,
        router: Router,
        now_ms: u64,
    ) -> Result<Self, ServeError> {
        let tls = match &config.tls {
            None => None,
            Some(ApiTls::Own) => Some(own_tls(config, authority, now_ms)?),
            Some(ApiTls::Given(files)) => Some(given_tls(files)?),
        };
        let (listener, address) = listen(config.listen)?;
        let handle = Handle::new();
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let failed = |source| ServeError::Listen { address, source };
        let mut server = axum_server::from_tcp(listener).map_err(failed)?.handle(handle.clone());
        server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
        server.http_builder().http2().max_concurrent_streams(MAX_STREAMS);
        let server = server.first_request_timeout(FIRST_REQUEST_TIMEOUT);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = match tls {
            None => tokio::spawn(server.acceptor(Bounded::new()).serve(service)),
            Some(tls) => {
                let acceptor = RustlsAcceptor::new(tls).acceptor(Bounded::new());
                tokio::spawn(server.acceptor(acceptor).serve(service))
            }
        };
        Ok(Self { address, scheme, handle, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL that programs on this machine reach it by.
    pub(crate) fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ip => ip,
        };
        format!("{}://{}", self.scheme, SocketAddr::new(ip, self.address.port()))
    }

    /// Takes no more requests, and ends those under way after [`SHUTDOWN_GRACE`] at the latest.
    pub(crate) async fn shutdown(self) {
        self.handle.graceful_shutdown(Some(SHUTDOWN_GRACE));
        match self.task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the API ended with an error"),
            Err(error) => tracing::error!(%error, "the API's task ended badly"),
        }
    }
}

fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), ServeError> {
    let failed = |source: io::Error| {
        if source.kind() == io::ErrorKind::AddrInUse {
            ServeError::Taken(address)
        } else {
            ServeError::Listen { address, source }
        }
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn own_tls(config: &ApiConfig, authority: &Authority, now_ms: u64) -> Result<RustlsConfig, ServeError> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let ip = config.listen.ip().to_canonical();
    if !ip.is_unspecified() && !ip.is_loopback() {
        names.push(ip.to_string());
    }
    names.extend(config.names.iter().cloned());
    let certificate = authority.api_certificate(&names, now_ms)?;
    server_config(certificate.chain, certificate.key)
}

fn given_tls(files: &TlsFiles) -> Result<RustlsConfig, ServeError> {
    let refuse = |key, path: &Path, reason: String| ServeError::File { key, path: path.to_owned(), reason };
    let certificate = |reason| refuse("api.tls.certificate", &files.certificate, reason);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(certificate("it holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| refuse("api.tls.key", &files.key, error.to_string()))?;
    server_config(chain, key)
}

fn server_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<RustlsConfig, ServeError> {
    let mut config = ServerConfig::builder_with_provider(muster_transport::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_way_out() {
        let (listener, address) = listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let error = listen(address).expect_err("taken");
        assert!(matches!(error, ServeError::Taken(_)), "{error}");
        assert!(error.to_string().contains("api.listen"));
        drop(listener);
    }

    #[test]
    fn a_file_that_is_no_pem_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let certificate = directory.path().join("cert.pem");
        let files = TlsFiles { certificate: certificate.clone(), key: certificate.clone() };
        let missing = given_tls(&files).expect_err("missing").to_string();
        assert!(missing.contains("api.tls.certificate") && missing.contains("cert.pem"), "{missing}");
        std::fs::write(&certificate, "not PEM").expect("written");
        let empty = given_tls(&files).expect_err("no PEM").to_string();
        assert!(empty.contains("api.tls.certificate"), "{empty}");
    }
}
