//! Muster's own certificate authority and the key that signs session tokens.
//!
//! One authority per installation, made at the first start and kept in the store, so that every
//! orchestrator replica signs as the same one. It decides nothing about who may have a certificate:
//! that is joining's business. Keys never leave the orchestrators.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use muster_protocol::agent::TokenKey;
use muster_protocol::token::{KeyError, TokenSigner};
use muster_transport::{Identity, Role, authority_fingerprint, server_name};
use pasetors::keys::{AsymmetricKeyPair, Generate};
use pasetors::version4::V4;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use ring::hmac;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::records::{AuthorityRecord, SigningKeyRecord};

/// Days the CA's certificate is valid: longer than any installation is expected to live, because
/// every node trusts it by its fingerprint and would have to join again.
pub const AUTHORITY_DAYS: u64 = 20 * 365;
/// Days the certificates of nodes, edges and orchestrators are valid. An expiry would end running
/// games, so it is not the means to shut a node out: unknown ids are refused when they connect.
pub const LEAF_DAYS: u64 = 10 * 365;
/// Hours that a certificate is valid before it was made, for machines whose clocks are behind.
const CLOCK_SKEW_HOURS: u64 = 24;
/// Most host names and addresses in one certificate besides the one Muster gives.
pub const MAX_HOST_NAMES: usize = 16;
/// Longest host name, in bytes: DNS's own limit.
pub const MAX_HOST_NAME_BYTES: usize = 253;
/// The domain of the names Muster gives; never taken from a request.
const RESERVED_DOMAIN: &str = "muster";

/// Why the authority cannot be used or does not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// What the store holds is no authority.
    #[error("the certificate authority in the store is damaged ({0}); restore the store from a backup")]
    Damaged(String),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The request holds no usable public key.
    #[error("certificate request is not valid: {0}; send a PKCS#10 request in DER, signed by its own key")]
    Request(rcgen::Error),
    /// A name asked for cannot be certified.
    #[error(
        "host name {0:?} cannot be certified; give a DNS name or an address that is not under \"muster\""
    )]
    HostName(String),
    /// More names asked for than a certificate takes.
    #[error("{0} host names are more than {MAX_HOST_NAMES}; give fewer")]
    TooManyHostNames(usize),
    /// The token key could not be made or read.
    #[error("session-token key: {0}")]
    TokenKey(#[from] KeyError),
}

/// A leaf certificate and its key, as a TLS server needs them.
pub struct ServerCertificate {
    /// Leaf first, then the CA.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's private key.
    pub key: PrivateKeyDer<'static>,
}

/// The certificate authority and the session-token signer. Immutable once loaded.
pub struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    signer: TokenSigner,
}

impl Authority {
    /// Makes the records of a new authority: CA certificate and key, and a token key.
    ///
    /// # Errors
    /// [`AuthorityError`] if the system gives no randomness.
    pub fn generate(now_ms: u64) -> Result<(AuthorityRecord, SigningKeyRecord), AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("Muster CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, now_ms, AUTHORITY_DAYS)?;
        let certificate = params.self_signed(&key)?;
        let authority = AuthorityRecord {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            created_at_ms: now_ms,
        };
        let pair = AsymmetricKeyPair::<V4>::generate().map_err(|_| KeyError)?;
        let token_key = SigningKeyRecord {
            key_id: hex(&Sha256::digest(pair.public.as_bytes())[..KEY_ID_BYTES]),
            secret: pair.secret.as_bytes().to_vec(),
            created_at_ms: now_ms,
        };
        Ok((authority, token_key))
    }

    /// The authority that the records hold.
    ///
    /// # Errors
    /// [`AuthorityError::Damaged`] if they hold none.
    pub fn from_records(
        record: &AuthorityRecord,
        token_key: &SigningKeyRecord,
    ) -> Result<Self, AuthorityError> {
        let damaged = |error: rcgen::Error| AuthorityError::Damaged(error.to_string());
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(record.key.clone()));
        let key = KeyPair::try_from(&key).map_err(damaged)?;
        let certificate = CertificateDer::from(record.certificate.clone());
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(damaged)?;
        let signer = TokenSigner::new(&token_key.key_id, &token_key.secret)?;
        Ok(Self { certificate, issuer, signer })
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The CA's certificate as PEM text.
    pub fn certificate_pem(&self) -> String {
        pem::encode(&pem::Pem::new("CERTIFICATE", self.certificate.to_vec()))
    }

    /// What join tokens carry for nodes to know the CA by: SHA-256 of its certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        authority_fingerprint(&self.certificate)
    }

    /// The signer of session tokens.
    pub fn signer(&self) -> &TokenSigner {
        &self.signer
    }

    /// The keys that edges and agents check session tokens with.
    pub fn token_keys(&self) -> Vec<TokenKey> {
        vec![TokenKey {
            key_id: self.signer.key_id().to_owned(),
            public_key: Bytes::copy_from_slice(&self.signer.public_key()),
        }]
    }

    /// Signs the public key of `request` (PKCS#10, DER) as the node or edge `id`.
    ///
    /// Only the key is taken from the request. `host_names` are added to the name Muster gives: what
    /// players reach an edge by.
    ///
    /// # Errors
    /// [`AuthorityError::Request`], [`AuthorityError::HostName`], [`AuthorityError::TooManyHostNames`].
    pub fn sign_request(
        &self,
        request: &[u8],
        role: Role,
        id: &str,
        host_names: &[String],
        now_ms: u64,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let request = CertificateSigningRequestDer::from(request);
        let mut request =
            CertificateSigningRequestParams::from_der(&request).map_err(AuthorityError::Request)?;
        request.params = leaf(role, id, host_names, now_ms)?;
        Ok(request.signed_by(&self.issuer)?.der().clone())
    }

    /// An orchestrator's identity on links, with a key of its own.
    ///
    /// # Errors
    /// [`AuthorityError::Certificate`] if the system gives no randomness.
    pub fn orchestrator_identity(&self, now_ms: u64) -> Result<Identity, AuthorityError> {
        let id = Role::Orchestrator.as_str();
        let key = KeyPair::generate()?;
        let certificate = leaf(Role::Orchestrator, id, &[], now_ms)?.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            role: Role::Orchestrator,
            id: id.to_owned(),
            region: String::new(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            authority: self.certificate.clone(),
        })
    }

    /// What only the orchestrator that listens at `address` has, the same after each of its restarts: for
    /// [`muster_transport::listen`].
    pub fn restart_secret(&self, address: SocketAddr) -> Vec<u8> {
        let mut secret = self.issuer.key().serialize_der();
        secret.extend(address.to_string().into_bytes());
        secret
    }

    /// What follows from `about`, a digest, for `purpose`, and only this installation's orchestrators can tell: each of them
    /// the same, at any time.
    pub fn secret_of(&self, purpose: &str, about: &[u8; 32]) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.issuer.key().serialize_der());
        let mut context = hmac::Context::with_key(&key);
        context.update(purpose.as_bytes());
        // It ends where the digest begins, whose length is always the same.
        context.update(about);
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// A certificate for the HTTP API under `names` (host names and addresses).
    ///
    /// # Errors
    /// [`AuthorityError::HostName`] if one is no name.
    pub fn api_certificate(
        &self,
        names: &[String],
        now_ms: u64,
    ) -> Result<ServerCertificate, AuthorityError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name("Muster API");
        params.subject_alt_names = host_names_for(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        finish_leaf(&mut params, now_ms)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(ServerCertificate {
            chain: vec![certificate.der().clone(), self.certificate.clone()],
            key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        })
    }
}

/// Bytes of a public key's digest that make its id: short, because it is in every token.
const KEY_ID_BYTES: usize = 6;

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The parameters of a link certificate. Muster's own name comes first: it is the one peers read.
fn leaf(
    role: Role,
    id: &str,
    host_names: &[String],
    now_ms: u64,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(id);
    let name = server_name(role, id);
    let own = SanType::DnsName(name.clone().try_into().map_err(|_| AuthorityError::HostName(name))?);
    params.subject_alt_names = vec![own];
    params.subject_alt_names.extend(host_names_for(host_names)?);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    finish_leaf(&mut params, now_ms)?;
    Ok(params)
}

fn finish_leaf(params: &mut CertificateParams, now_ms: u64) -> Result<(), AuthorityError> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    set_validity(params, now_ms, LEAF_DAYS)
}

fn set_validity(params: &mut CertificateParams, now_ms: u64, days: u64) -> Result<(), AuthorityError> {
    let at = |seconds: u64| {
        OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
            .map_err(|_| AuthorityError::Certificate(rcgen::Error::Time))
    };
    let now = now_ms / 1_000;
    params.not_before = at(now.saturating_sub(CLOCK_SKEW_HOURS * 3_600))?;
    params.not_after = at(now.saturating_add(days * 86_400))?;
    Ok(())
}

fn host_names_for(names: &[String]) -> Result<Vec<SanType>, AuthorityError> {
    if names.len() > MAX_HOST_NAMES {
        return Err(AuthorityError::TooManyHostNames(names.len()));
    }
    names.iter().map(|name| host_name(name)).collect()
}

fn host_name(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || AuthorityError::HostName(name.chars().take(MAX_HOST_NAME_BYTES).collect());
    let label = |label: &str| {
        let bytes = label.as_bytes();
        (1..=63).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && bytes[0] != b'-'
            && bytes[bytes.len() - 1] != b'-'
    };
    let reserved = name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(RESERVED_DOMAIN));
    if name.len() > MAX_HOST_NAME_BYTES || reserved || !name.split('.').all(label) {
        return Err(refused());
    }
    Ok(SanType::DnsName(name.to_owned().try_into().map_err(|_| refused())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_protocol::id::{SeatId, ServerId};
    use muster_protocol::token::{SessionClaims, TokenVerifier};

    const NOW: u64 = 1_790_000_000_000;

    fn authority() -> Authority {
        let (record, key) = Authority::generate(NOW).expect("randomness");
        Authority::from_records(&record, &key).expect("just made")
    }

    fn request() -> Vec<u8> {
        let key = KeyPair::generate().expect("randomness");
        CertificateParams::default().serialize_request(&key).expect("a request").der().to_vec()
    }

    #[test]
    fn records_come_back_as_the_same_authority() {
        let (record, key) = Authority::generate(NOW).expect("randomness");
        let load = || Authority::from_records(&record, &key).expect("whole");
        assert_eq!(load().fingerprint(), load().fingerprint());
        assert_ne!(load().fingerprint(), authority().fingerprint());
        let damaged = AuthorityRecord { key: b"not a key".to_vec(), ..record.clone() };
        assert!(matches!(Authority::from_records(&damaged, &key), Err(AuthorityError::Damaged(_))));
    }

    #[test]
    fn a_secret_follows_from_the_authority_and_what_it_is_of() {
        let (record, key) = Authority::generate(NOW).expect("randomness");
        let load = || Authority::from_records(&record, &key).expect("whole");
        let secret = load().secret_of("ticket", &[1; 32]);
        assert_eq!(load().secret_of("ticket", &[1; 32]), secret);
        for other in [
            load().secret_of("ticket", &[2; 32]),
            load().secret_of("other", &[1; 32]),
            authority().secret_of("ticket", &[1; 32]),
        ] {
            assert_ne!(other, secret);
        }
    }

    #[test]
    fn tokens_it_signs_are_verified_with_the_keys_it_gives() {
        let authority = authority();
        let keys = authority.token_keys();
        let verifier = TokenVerifier::new(keys.iter().map(|key| (key.key_id.as_str(), &key.public_key[..])))
            .expect("Ed25519 keys");
        let claims = SessionClaims {
            namespace: "arena/dev".into(),
            server: ServerId::new(),
            port: "game".into(),
            seat: SeatId::new(),
            player: "ann".into(),
            issued_at_ms: NOW,
            expires_at_ms: NOW + 60_000,
        };
        let token = authority.signer().sign(&claims).expect("small claims");
        assert_eq!(verifier.verify(&token, NOW), Ok(claims));
    }

    #[test]
    fn names_under_muster_and_things_that_are_no_names_are_refused() {
        let authority = authority();
        let sign = |name: &str| {
            authority.sign_request(&request(), Role::Edge, "edge_01h455", &[name.to_owned()], NOW)
        };
        for name in ["orchestrator.muster", "Orchestrator.MUSTER", "muster", "", "a b", "-x.example", "a..b"]
        {
            assert!(matches!(sign(name), Err(AuthorityError::HostName(_))), "{name:?}");
        }
        for name in ["edge-1.example.com", "192.0.2.7", "2001:db8::1", "localhost"] {
            sign(name).expect(name);
        }
        let many = vec!["a.example".to_owned(); MAX_HOST_NAMES + 1];
        let error = authority.sign_request(&request(), Role::Edge, "edge_01h455", &many, NOW);
        assert!(matches!(error, Err(AuthorityError::TooManyHostNames(_))));
    }

    #[test]
    fn a_request_that_is_none_is_refused() {
        let error = authority()
            .sign_request(b"hello", Role::Agent, "node_01h455", &[], NOW)
            .expect_err("not a request");
        assert!(error.to_string().contains("PKCS#10"), "{error}");
    }
}
