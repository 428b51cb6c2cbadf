//! Session tokens: what a client shows the edge to be let through to its seat.
//!
//! The format is PASETO v4.public: an Ed25519 signature over JSON claims, with the signing key's id
//! in the footer so that keys can be rotated. The claims bind the token to a namespace, a server, one
//! of its ports, a seat and an expiry. Any holder of the public key can check it without asking the
//! orchestrator, which is what lets games outlive the control plane. The clock is the caller's: `now`
//! is passed in.

use std::collections::BTreeMap;

use pasetors::keys::{AsymmetricPublicKey, AsymmetricSecretKey};
use pasetors::token::UntrustedToken;
use pasetors::version4::{PublicToken, V4};
use pasetors::{Public, errors};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::id::{SeatId, ServerId};

/// Longest token text accepted, in bytes: it has to fit a UDP preface within a 1,200-byte packet.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// How far a verifier's clock may be behind the signer's before a token that was just issued is
/// refused, in milliseconds.
pub const CLOCK_SKEW_MS: u64 = 30_000;

/// What a session token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// Namespace of the server.
    #[serde(rename = "ns")]
    pub namespace: String,
    /// The server the token opens.
    #[serde(rename = "srv")]
    pub server: ServerId,
    /// Name of the server's port.
    #[serde(rename = "prt")]
    pub port: String,
    /// The seat it was sold for.
    pub seat: SeatId,
    /// The player, as the studio's client named them.
    #[serde(rename = "sub")]
    pub player: String,
    /// When it was issued, Unix milliseconds (whole seconds on the wire).
    #[serde(rename = "iat", with = "rfc3339_ms")]
    pub issued_at_ms: u64,
    /// When it stops being valid, Unix milliseconds (whole seconds on the wire).
    #[serde(rename = "exp", with = "rfc3339_ms")]
    pub expires_at_ms: u64,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a v4.public PASETO, or longer than [`MAX_TOKEN_BYTES`], or its claims are not ours.
    #[error("not a session token")]
    Malformed,
    /// Signed with a key this verifier does not know.
    #[error("signed with an unknown key")]
    UnknownKey,
    /// The signature does not fit the claims.
    #[error("signature is wrong")]
    BadSignature,
    /// Its time is over.
    #[error("expired")]
    Expired,
    /// Issued in the verifier's future by more than [`CLOCK_SKEW_MS`].
    #[error("issued in the future; check this machine's clock")]
    NotYetValid,
}

/// Key material that is not an Ed25519 key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key")]
pub struct KeyError;

/// The key that signs session tokens. Held by orchestrators only.
pub struct TokenSigner {
    key_id: String,
    secret: AsymmetricSecretKey<V4>,
    footer: String,
}

#[derive(Serialize, Deserialize)]
struct Footer<'a> {
    kid: std::borrow::Cow<'a, str>,
}

impl TokenSigner {
    /// A signer from a secret key: 64 bytes, seed and public key.
    ///
    /// # Errors
    /// [`KeyError`] if the bytes are no such key.
    pub fn new(key_id: &str, secret: &[u8]) -> Result<Self, KeyError> {
        let footer = serde_json::to_string(&Footer { kid: key_id.into() }).map_err(|_| KeyError)?;
        let secret = AsymmetricSecretKey::from(secret).map_err(|_| KeyError)?;
        Ok(Self { key_id: key_id.to_owned(), secret, footer })
    }

    /// The id that verifiers find this key by.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half, 32 bytes.
    pub fn public_key(&self) -> [u8; 32] {
        let mut public = [0; 32];
        public.copy_from_slice(&self.secret.as_bytes()[32..]);
        public
    }

    /// The signed text of `claims`.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] if the claims do not fit [`MAX_TOKEN_BYTES`].
    pub fn sign(&self, claims: &SessionClaims) -> Result<String, TokenError> {
        let message = serde_json::to_vec(claims).map_err(|_| TokenError::Malformed)?;
        let token = PublicToken::sign(&self.secret, &message, Some(self.footer.as_bytes()), None)
            .map_err(|_| TokenError::Malformed)?;
        if token.len() > MAX_TOKEN_BYTES { Err(TokenError::Malformed) } else { Ok(token) }
    }
}

/// The keys a verifier knows, by id. Immutable; a new set replaces it whole.
#[derive(Clone, Default)]
pub struct TokenVerifier {
    keys: BTreeMap<String, AsymmetricPublicKey<V4>>,
}

impl TokenVerifier {
    /// A verifier that knows `keys`: id and 32 bytes each.
    ///
    /// # Errors
    /// [`KeyError`] if one is no key.
    pub fn new<'a>(keys: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, KeyError> {
        let keys = keys
            .into_iter()
            .map(|(id, key)| Ok((id.to_owned(), AsymmetricPublicKey::from(key).map_err(|_| KeyError)?)))
            .collect::<Result<_, KeyError>>()?;
        Ok(Self { keys })
    }

    /// What `token` says, if it is genuine and valid at `now_ms` (Unix milliseconds).
    ///
    /// Whether it is for the server and port at hand is the caller's comparison.
    ///
    /// # Errors
    /// The first check it fails.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<SessionClaims, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let untrusted = UntrustedToken::<Public, V4>::try_from(token).map_err(|_| TokenError::Malformed)?;
        let footer: Footer<'_> =
            serde_json::from_slice(untrusted.untrusted_footer()).map_err(|_| TokenError::Malformed)?;
        let key = self.keys.get(footer.kid.as_ref()).ok_or(TokenError::UnknownKey)?;
        let trusted = PublicToken::verify(key, &untrusted, None, None).map_err(|error| match error {
            errors::Error::TokenValidation => TokenError::BadSignature,
            _ => TokenError::Malformed,
        })?;
        let claims: SessionClaims =
            serde_json::from_str(trusted.payload()).map_err(|_| TokenError::Malformed)?;
        if claims.expires_at_ms <= now_ms {
            return Err(TokenError::Expired);
        }
        if claims.issued_at_ms > now_ms.saturating_add(CLOCK_SKEW_MS) {
            return Err(TokenError::NotYetValid);
        }
        Ok(claims)
    }
}

/// PASETO asks for RFC 3339 times; in memory they are Unix milliseconds.
mod rfc3339_ms {
    use super::{OffsetDateTime, Rfc3339};
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives `with` functions a reference")]
    pub(super) fn serialize<S: Serializer>(ms: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = i64::try_from(ms / 1000).map_err(ser::Error::custom)?;
        let at = OffsetDateTime::from_unix_timestamp(seconds).map_err(ser::Error::custom)?;
        serializer.serialize_str(&at.format(&Rfc3339).map_err(ser::Error::custom)?)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let at = OffsetDateTime::parse(&text, &Rfc3339).map_err(de::Error::custom)?;
        u64::try_from(at.unix_timestamp()).map(|s| s.saturating_mul(1000)).map_err(de::Error::custom)
    }
}
