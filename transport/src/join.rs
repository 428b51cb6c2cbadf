//! Joining: how a new machine gets its certificate, knowing only a one-time token.
//!
//! The token carries the fingerprint of Muster's CA beside its secret, so the machine can tell the
//! real orchestrator from any other before it shows the secret. The key is made here and stays here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use muster_protocol::join::{JoinReply, JoinRequest, join_reply::Outcome};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error as RustlsError, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::endpoint::{DialError, bind, dial};
use crate::framed::{FrameIoError, FrameReader, FrameWriter};
use crate::identity::Identity;
use crate::peer::{Role, server_name};
use crate::tls::{TlsError, join_config, provider, roots};

const TOKEN_PREFIX: &str = "muster-join";
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// A one-time join token: `muster-join.<secret>.<SHA-256 of the CA's certificate, hex>`.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// What the orchestrator checks.
    pub secret: String,
    /// What the joining machine checks: the CA's [`authority_fingerprint`].
    pub fingerprint: [u8; 32],
}

/// Text that is no join token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a join token; make one with `muster token create --join agent|edge --region REGION`")]
pub struct JoinTokenError;

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{TOKEN_PREFIX}.{}.", self.secret)?;
        self.fingerprint.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinToken(secret)")
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let mut parts = text.trim().split('.');
        let (Some(TOKEN_PREFIX), Some(secret), Some(hex), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JoinTokenError);
        };
        if secret.is_empty() || hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(JoinTokenError);
        }
        let mut fingerprint = [0; 32];
        for (index, byte) in fingerprint.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).map_err(|_| JoinTokenError)?;
        }
        Ok(Self { secret: secret.to_owned(), fingerprint })
    }
}

/// SHA-256 of a CA certificate's DER.
pub fn authority_fingerprint(authority: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(authority).into()
}

/// Why joining failed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The orchestrator was not reached, or is not the one the token is from.
    #[error("cannot join: {0}")]
    Dial(#[from] DialError),
    /// No UDP socket could be had.
    #[error("cannot join: no UDP socket: {0}")]
    Bind(#[from] std::io::Error),
    /// TLS could not be set up.
    #[error("cannot join: {0}")]
    Tls(#[from] TlsError),
    /// The key or the signing request could not be made.
    #[error("cannot join: no signing request: {0}")]
    Request(#[from] rcgen::Error),
    /// The connection broke before the reply.
    #[error("cannot join: {0}")]
    Frame(#[from] FrameIoError),
    /// The connection broke before the request.
    #[error("cannot join: {0}")]
    Connection(#[from] quinn::ConnectionError),
    /// No reply came.
    #[error("cannot join: the orchestrator took the connection but did not reply; look at its log")]
    NoReply,
    /// The orchestrator said no.
    #[error("cannot join: {detail} ({code})")]
    Refused {
        /// Stable code.
        code: String,
        /// What to do.
        detail: String,
    },
}

/// Gets a new identity from the orchestrator at one of `orchestrators` (`host:port`).
///
/// `host_names` are put into the certificate too, for an edge that shows it to players.
///
/// # Errors
/// [`JoinError`], with what mends it.
pub async fn join(
    orchestrators: &[String],
    token: &JoinToken,
    role: Role,
    region: &str,
    name: &str,
    host_names: &[String],
) -> Result<Identity, JoinError> {
    let key = KeyPair::generate()?;
    let request = CertificateParams::default().serialize_request(&key)?;
    let config = join_config(Arc::new(FingerprintVerifier { fingerprint: token.fingerprint }))?;
    let endpoint = bind("0.0.0.0:0".parse().expect("a literal address"), None)?;
    let connection = dial(
        &endpoint,
        config,
        orchestrators,
        &server_name(Role::Orchestrator, "orchestrator"),
        DIAL_TIMEOUT,
    )
    .await?;
    let (send, receive) = connection.open_bi().await?;
    let (mut writer, mut reader) = (FrameWriter::new(send), FrameReader::new(receive));
    writer
        .send(&JoinRequest {
            role: role.as_str().to_owned(),
            token: token.secret.clone(),
            region: region.to_owned(),
            name: name.to_owned(),
            certificate_request: request.der().to_vec().into(),
            host_names: host_names.to_vec(),
        })
        .await?;
    writer.finish();
    let reply: JoinReply = tokio::time::timeout(REPLY_TIMEOUT, reader.recv())
        .await
        .map_err(|_| JoinError::NoReply)??
        .ok_or(JoinError::NoReply)?;
    connection.close(0u32.into(), b"joined");
    endpoint.wait_idle().await;
    match reply.outcome {
        Some(Outcome::Granted(granted)) => Ok(Identity {
            role,
            id: granted.id,
            region: region.to_owned(),
            certificate: CertificateDer::from(granted.certificate.to_vec()),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            authority: CertificateDer::from(granted.authority.to_vec()),
        }),
        Some(Outcome::Refused(refused)) => {
            Err(JoinError::Refused { code: refused.code, detail: refused.detail })
        }
        None => Err(JoinError::NoReply),
    }
}

/// Trusts the one CA whose fingerprint is known, if the server sends it along and it signed the server.
#[derive(Debug)]
struct FingerprintVerifier {
    fingerprint: [u8; 32],
}

impl ServerCertVerifier for FingerprintVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let authority = intermediates
            .iter()
            .find(|certificate| authority_fingerprint(certificate) == self.fingerprint)
            .ok_or(RustlsError::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let roots = roots(&authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(roots, provider())
            .build()
            .map_err(|error| RustlsError::General(error.to_string()))?
            .verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
