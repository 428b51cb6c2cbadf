//! TLS 1.3 configurations for quinn: Muster's CA is the only root, and both sides show certificates.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::RootCertStore;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;

use crate::congestion::TunnelRate;
use crate::identity::Identity;
use crate::profile::Profile;

/// The cryptography every TLS user of Muster's processes shares.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Whether a listener takes connections without a client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// The handshake fails without one.
    Required,
    /// Joining nodes have none yet; what they may do is the accepting code's to limit.
    Optional,
}

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate or key is not usable.
    #[error("certificate or key is not usable: {0}")]
    Rustls(#[from] rustls::Error),
    /// The CA's certificate cannot be a root.
    #[error("the CA's certificate is not usable: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    /// The cipher suites do not allow QUIC.
    #[error("TLS configuration is not fit for QUIC: {0}")]
    Quic(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
}

pub(crate) fn roots(authority: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    Ok(Arc::new(roots))
}

/// For a listener that is `identity` and speaks `alpns`.
///
/// # Errors
/// [`TlsError`] if the identity's certificate, key or CA is not usable.
pub fn server_config(
    identity: &Identity,
    alpns: &[&[u8]],
    clients: ClientCertificate,
    profile: Profile,
) -> Result<quinn::ServerConfig, TlsError> {
    let mut verifier = WebPkiClientVerifier::builder_with_provider(roots(&identity.authority)?, provider());
    if clients == ClientCertificate::Optional {
        verifier = verifier.allow_unauthenticated();
    }
    // The CA goes along in the chain: a joining node finds it there by its fingerprint.
    let chain = vec![identity.certificate.clone(), identity.authority.clone()];
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier.build()?)
        .with_single_cert(chain, identity.key.clone_key())?;
    tls.alpn_protocols = alpns.iter().map(|alpn| alpn.to_vec()).collect();
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(profile.transport(TunnelRate::default()));
    Ok(config)
}

/// For a dialler that is `identity`, to peers of the same CA, speaking `alpn`. Its connections say beforehand what
/// they carry ([`Profile::announced`]).
///
/// # Errors
/// [`TlsError`] if the identity's certificate, key or CA is not usable.
pub fn client_config(
    identity: &Identity,
    alpn: &[u8],
    profile: Profile,
) -> Result<quinn::ClientConfig, TlsError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(&identity.authority)?)
        .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())?;
    tls.alpn_protocols = vec![alpn.to_vec()];
    finish_client(tls, profile)
}

/// For a joining node: it shows no certificate, and trusts what `verifier` trusts.
pub(crate) fn join_config(verifier: Arc<dyn ServerCertVerifier>) -> Result<quinn::ClientConfig, TlsError> {
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    tls.alpn_protocols = vec![crate::alpn::JOIN.to_vec()];
    finish_client(tls, Profile::Link)
}

fn finish_client(tls: rustls::ClientConfig, profile: Profile) -> Result<quinn::ClientConfig, TlsError> {
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(profile.transport(TunnelRate::default()));
    profile.announce(&mut config);
    Ok(config)
}
