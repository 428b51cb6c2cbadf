//! The TLS that players see on WebSocket ports: the operator's certificate, or the edge's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use muster_transport::{Identity, provider};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};

use crate::config::Config;

/// Why players' TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no such PEM.
    #[error("{path}: {source}; {key} in the edge's configuration must name a PEM file")]
    File {
        /// The file.
        path: PathBuf,
        /// The configuration's key.
        key: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key are not usable together.
    #[error("certificate or key of TLS ports is not usable: {0}; check that the key is the certificate's")]
    Unusable(#[from] rustls::Error),
}

/// What TLS ports speak.
///
/// # Errors
/// [`TlsError`], naming the file and the key.
pub(crate) fn player_tls(
    config: &Config,
    identity: &Identity,
) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let (chain, key) = match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => (read_chain(certificate)?, read_key(key)?),
        // Muster's CA goes along, so that a client can be shown whom it would have to trust.
        _ => (vec![identity.certificate.clone(), identity.authority.clone()], identity.key.clone_key()),
    };
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::File { path: path.to_owned(), key: "tls_certificate", source };
    let chain =
        CertificateDer::pem_file_iter(path).map_err(wrong)?.collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if chain.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        key: "tls_key",
        source,
    })
}
