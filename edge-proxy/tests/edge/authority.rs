//! Identities for the tests' processes, and session tokens for their players.

use std::time::{SystemTime, UNIX_EPOCH};

use muster_protocol::agent::TokenKey;
use muster_protocol::id::{SeatId, ServerId};
use muster_protocol::token::{SessionClaims, TokenSigner};
use muster_transport::{Identity, Role, server_name};
use pasetors::keys::{AsymmetricKeyPair, Generate};
use pasetors::version4::V4;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A CA and a token signer.
pub(crate) struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    signer: TokenSigner,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pair = AsymmetricKeyPair::<V4>::generate().unwrap();
        Self {
            ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            signer: TokenSigner::new("k1", pair.secret.as_bytes()).unwrap(),
        }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.ca.der().clone()
    }

    pub(crate) fn issue(&self, role: Role, id: &str, host_names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> =
            [server_name(role, id)].into_iter().chain(host_names.iter().map(ToString::to_string)).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.ca).unwrap();
        Identity {
            role,
            id: id.to_owned(),
            region: "local".to_owned(),
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            authority: self.certificate(),
        }
    }

    /// A certificate for these names, and its key, as files have them.
    pub(crate) fn pem_files(&self, host_names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = host_names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.ca).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn token_key(&self) -> TokenKey {
        TokenKey { key_id: "k1".into(), public_key: self.signer.public_key().to_vec().into() }
    }

    /// A token that is valid for a minute.
    pub(crate) fn token(&self, server: ServerId, port: &str, seat: SeatId) -> String {
        self.token_until(server, port, seat, unix_ms() + 60_000)
    }

    pub(crate) fn token_until(&self, server: ServerId, port: &str, seat: SeatId, until_ms: u64) -> String {
        let claims = SessionClaims {
            namespace: "arena/prod".into(),
            server,
            port: port.to_owned(),
            seat,
            player: "player-7".into(),
            issued_at_ms: until_ms - 60_000,
            expires_at_ms: until_ms,
        };
        self.signer.sign(&claims).unwrap()
    }
}

pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}
