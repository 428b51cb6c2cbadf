//! One-time join tokens: how one is made, read, and whether it lets a machine in. Pure but for [`mint`]'s
//! randomness.
//!
//! The secret is `<id>_<random>`: the id finds the record, and the store has the SHA-256 of the whole
//! secret only. The text a person carries to the machine has the CA's fingerprint besides; see
//! [`muster_transport::JoinToken`].

use muster_protocol::api::JoinRole;
use muster_protocol::id::JoinTokenId;
use muster_transport::JoinToken;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::records::{self, JoinTokenRecord};

/// Random bytes of a secret.
pub const SECRET_BYTES: usize = 24;
/// Longest secret that is looked at, in bytes.
pub const MAX_SECRET_BYTES: usize = 128;
const ID_PREFIX: &str = "join_";

/// Makes a join token: the record to keep, and what the machine is given, which exists nowhere else.
///
/// `fingerprint` is the authority's.
pub fn mint(
    role: JoinRole,
    region: &str,
    ttl_s: u64,
    fingerprint: [u8; 32],
    now_ms: u64,
) -> (JoinTokenRecord, JoinToken) {
    use std::fmt::Write as _;
    let id = JoinTokenId::new();
    let text = id.to_string();
    let suffix = text.strip_prefix(ID_PREFIX).expect("a join token's id begins with its prefix");
    let mut secret = format!("{suffix}_");
    for byte in rand::random::<[u8; SECRET_BYTES]>() {
        let _ = write!(secret, "{byte:02x}");
    }
    let record = JoinTokenRecord {
        id: Some(id.into()),
        role: records::JoinRole::from(role).into(),
        region: region.to_owned(),
        created_at_ms: now_ms,
        expires_at_ms: now_ms.saturating_add(ttl_s.saturating_mul(1_000)),
        secret_sha256: Sha256::digest(&secret).to_vec(),
        used_at_ms: 0,
    };
    (record, JoinToken { secret, fingerprint })
}

/// Why a machine is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinRefusal {
    /// Not a token of this installation.
    #[error(
        "the join token is not one of this installation, or has been cleared away; make a new one with \
         `muster token create --join {role} --region {region}`"
    )]
    Invalid {
        /// What wants to join.
        role: &'static str,
        /// Where.
        region: String,
    },
    /// Another machine has joined with it.
    #[error(
        "the join token has been used; each lets one machine in, make a new one with \
         `muster token create --join {role} --region {region}`"
    )]
    Used {
        /// What wants to join.
        role: &'static str,
        /// Where.
        region: String,
    },
    /// Its time is over.
    #[error(
        "the join token has expired; make a new one with `muster token create --join {role} --region {region}`"
    )]
    Expired {
        /// What wants to join.
        role: &'static str,
        /// Where.
        region: String,
    },
    /// It is for the other kind of machine.
    #[error("the join token is for an {allowed}, this machine is an {asked}; make one for an {asked}")]
    WrongRole {
        /// What it is for.
        allowed: &'static str,
        /// What wants to join.
        asked: &'static str,
    },
    /// It is for another region.
    #[error(
        "the join token is for the region {allowed:?}, this machine is set to {asked:?}; set its region to \
         {allowed:?}, or make a token for {asked:?}"
    )]
    WrongRegion {
        /// What it is for.
        allowed: String,
        /// What the machine says.
        asked: String,
    },
}

impl JoinRefusal {
    /// The stable code of the reply.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "join_token_invalid",
            Self::Used { .. } => "join_token_used",
            Self::Expired { .. } => "join_token_expired",
            Self::WrongRole { .. } => "join_role_wrong",
            Self::WrongRegion { .. } => "join_region_wrong",
        }
    }
}

/// A join token as shown by a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Finds its record.
    pub id: JoinTokenId,
    secret_sha256: [u8; 32],
}

impl Shown {
    /// Reads the secret part of a token; `None` if it has not the form of one.
    pub fn parse(secret: &str) -> Option<Self> {
        if secret.len() > MAX_SECRET_BYTES {
            return None;
        }
        let (suffix, _) = secret.split_once('_')?;
        let id = format!("{ID_PREFIX}{suffix}").parse().ok()?;
        Some(Self { id, secret_sha256: Sha256::digest(secret).into() })
    }

    /// Whether the holder may join as `role` in `region` at `now_ms`, by the token's record.
    ///
    /// # Errors
    /// The [`JoinRefusal`]. Nothing is told of a token that the holder cannot prove.
    pub fn admit(
        &self,
        record: Option<&JoinTokenRecord>,
        role: JoinRole,
        region: &str,
        now_ms: u64,
    ) -> Result<(), JoinRefusal> {
        let asked = role.as_str();
        let region_owned = || region.to_owned();
        let proven =
            record.filter(|record| bool::from(self.secret_sha256.ct_eq(record.secret_sha256.as_slice())));
        let Some(record) = proven else {
            return Err(JoinRefusal::Invalid { role: asked, region: region_owned() });
        };
        let allowed = JoinRole::from(record.role());
        if record.used_at_ms > 0 {
            return Err(JoinRefusal::Used { role: asked, region: region_owned() });
        }
        if record.expires_at_ms <= now_ms {
            return Err(JoinRefusal::Expired { role: asked, region: region_owned() });
        }
        if allowed != role {
            return Err(JoinRefusal::WrongRole { allowed: allowed.as_str(), asked });
        }
        if record.region != region {
            return Err(JoinRefusal::WrongRegion { allowed: record.region.clone(), asked: region_owned() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn admit(
        record: Option<&JoinTokenRecord>,
        secret: &str,
        role: JoinRole,
        region: &str,
        now_ms: u64,
    ) -> &'static str {
        let shown = Shown::parse(secret).expect("a secret");
        match shown.admit(record, role, region, now_ms) {
            Ok(()) => "admitted",
            Err(refusal) => refusal.code(),
        }
    }

    #[test]
    fn a_token_lets_in_what_it_is_for_and_nothing_else() {
        let (record, token) = mint(JoinRole::Agent, "eu", 60, [7; 32], 1_000);
        let of = |role, region, now_ms| admit(Some(&record), &token.secret, role, region, now_ms);
        assert_eq!(of(JoinRole::Agent, "eu", 1_000), "admitted");
        assert_eq!(of(JoinRole::Agent, "eu", 61_000), "join_token_expired");
        assert_eq!(of(JoinRole::Edge, "eu", 1_000), "join_role_wrong");
        assert_eq!(of(JoinRole::Agent, "us", 1_000), "join_region_wrong");
        let used = JoinTokenRecord { used_at_ms: 1_500, ..record.clone() };
        assert_eq!(admit(Some(&used), &token.secret, JoinRole::Agent, "eu", 2_000), "join_token_used");
        assert_eq!(admit(None, &token.secret, JoinRole::Agent, "eu", 1_000), "join_token_invalid");
        let (other, _) = mint(JoinRole::Agent, "eu", 60, [7; 32], 1_000);
        assert_eq!(admit(Some(&other), &token.secret, JoinRole::Agent, "eu", 1_000), "join_token_invalid");
    }

    #[test]
    fn the_text_survives_its_way_to_the_machine() {
        let (_, token) = mint(JoinRole::Edge, "eu", 60, [9; 32], 1_000);
        let carried: JoinToken = token.to_string().parse().expect("a join token");
        assert_eq!(carried, token);
    }

    proptest! {
        #[test]
        fn any_secret_is_answered(secret in ".{0,200}") {
            let _ = Shown::parse(&secret);
        }
    }
}
