//! The text of API tokens: how one is made, read, and compared with what the store holds.
//!
//! `mst_<id>_<secret>`: the id finds the record, the secret proves the holder. A ticket's own token is the same with
//! `mtk_` and the ticket's id. The store has the secret's
//! SHA-256 only; 192 random bits need no slow hash. Pure but for the randomness of [`mint`]; what a token
//! allows is in `auth`.

use muster_protocol::api::{ApiToken, Role};
use muster_protocol::id::{ApiTokenId, StaticType, TicketId, TypeSafeId};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::asker::ShownTicket;
use crate::records::{ApiRole, ApiTokenRecord};

/// What every API token begins with, so that scanners and people know one when they see it.
pub(crate) const PREFIX: &str = "mst_";
/// Random bytes of a secret.
pub(crate) const SECRET_BYTES: usize = 24;
/// Longest text that is looked at, in bytes.
pub(crate) const MAX_TEXT_BYTES: usize = 128;

/// What every ticket's own token begins with.
const TICKET_PREFIX: &str = "mtk_";

/// Reads the text of a ticket's own token; `None` if it has not the form of one.
pub(crate) fn shown_ticket(text: &str) -> Option<ShownTicket> {
    let (id, secret_sha256) = read(text, TICKET_PREFIX)?;
    Some(ShownTicket { id, secret_sha256 })
}

/// The secret of a ticket's own token, which exists nowhere but in the token: its hash is kept.
pub(crate) struct TicketSecret(String);

impl TicketSecret {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self(hex(&rand::random::<[u8; SECRET_BYTES]>()))
    }

    /// The one that follows from what nobody else knows.
    pub(crate) fn of(secret: [u8; 32]) -> Self {
        Self(hex(&secret[..SECRET_BYTES]))
    }

    /// What is kept of it.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }

    /// The token of `ticket`.
    pub(crate) fn token(&self, ticket: TicketId) -> String {
        write(TICKET_PREFIX, ticket, &self.0)
    }
}

/// A token as shown by a client: who it claims to be, and the hash of what proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The id.
    pub(crate) id: ApiTokenId,
    secret_sha256: [u8; 32],
}

impl Shown {
    /// Reads a token's text; `None` if it has not the form of one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, secret_sha256) = read(text, PREFIX)?;
        Some(Self { id, secret_sha256 })
    }

    /// Whether its secret is that of `record`.
    pub(crate) fn proves(&self, record: &ApiTokenRecord) -> bool {
        self.secret_sha256.ct_eq(record.secret_sha256.as_slice()).into()
    }
}

/// Makes a token: the record to keep, and the text, which exists nowhere else.
///
/// `namespace` of `None` is every namespace; `ttl_s` of `None` is no expiry.
pub(crate) fn mint(
    role: Role,
    namespace: Option<&str>,
    name: &str,
    ttl_s: Option<u64>,
    now_ms: u64,
) -> (ApiTokenRecord, String) {
    let id = ApiTokenId::new();
    let secret = hex(&rand::random::<[u8; SECRET_BYTES]>());
    let record = ApiTokenRecord {
        id: Some(id.into()),
        role: ApiRole::from(role).into(),
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.to_owned(),
        created_at_ms: now_ms,
        expires_at_ms: ttl_s.map_or(0, |ttl_s| now_ms.saturating_add(ttl_s.saturating_mul(1_000))),
        secret_sha256: Sha256::digest(&secret).to_vec(),
    };
    (record, write(PREFIX, id, &secret))
}

/// The text of a token: what begins it, the id without what begins ids of its type, and the secret.
fn write<T: StaticType>(prefix: &str, id: TypeSafeId<T>, secret: &str) -> String {
    let text = id.to_string();
    let (_, id) = text.rsplit_once('_').expect("an id has its type before its digits");
    format!("{prefix}{id}_{secret}")
}

/// The id in the text of a token, and the hash of its secret; `None` if it has not the form of one.
fn read<T: StaticType>(text: &str, prefix: &str) -> Option<(TypeSafeId<T>, [u8; 32])> {
    if text.len() > MAX_TEXT_BYTES {
        return None;
    }
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    let id = format!("{}_{id}", T::TYPE).parse().ok()?;
    Some((id, Sha256::digest(secret).into()))
}

/// The token as the API tells it; `text` only in the answer to its making.
pub(crate) fn view(record: &ApiTokenRecord, text: Option<String>) -> ApiToken {
    ApiToken {
        id: record.typed_id(),
        role: record.role().into(),
        namespace: Some(record.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        name: record.name.clone(),
        created_at_ms: record.created_at_ms,
        expires_at_ms: Some(record.expires_at_ms).filter(|at| *at > 0),
        token: text,
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::records::TicketRecord;

    #[test]
    fn a_token_proves_itself_and_no_other() {
        let (record, text) = mint(Role::Deploy, Some("arena/prod"), "ci", Some(60), 1_000);
        let shown = Shown::parse(&text).expect("just made");
        assert_eq!(shown.id, record.typed_id());
        assert!(shown.proves(&record));
        assert_eq!(record.expires_at_ms, 61_000);
        let (other, _) = mint(Role::Deploy, Some("arena/prod"), "ci", None, 1_000);
        assert!(!shown.proves(&other));
        assert!(!shown.proves(&ApiTokenRecord { secret_sha256: Vec::new(), ..record }));
    }

    #[test]
    fn a_tickets_token_proves_that_ticket() {
        let (secret, ticket) = (TicketSecret::new(), TicketId::new());
        let record = TicketRecord { token_sha256: secret.sha256().to_vec(), ..TicketRecord::default() };
        let shown = shown_ticket(&secret.token(ticket)).expect("just made");
        assert_eq!(shown.id, ticket);
        assert!(shown.proves(&record));
        let other = TicketRecord { token_sha256: TicketSecret::new().sha256().to_vec(), ..record.clone() };
        assert!(!shown.proves(&other) && !shown.proves(&TicketRecord::default()));
        assert_eq!(Shown::parse(&secret.token(ticket)), None);
    }

    #[test]
    fn the_store_never_holds_the_secret() {
        let (record, text) = mint(Role::Admin, None, "first", None, 0);
        let secret = text.rsplit_once('_').expect("the last part").1;
        assert_eq!(secret.len(), SECRET_BYTES * 2);
        assert!(!format!("{record:?}").contains(secret));
        assert_eq!(view(&record, None).token, None);
    }

    #[test]
    fn another_form_is_none() {
        let (_, text) = mint(Role::Admin, None, "", None, 0);
        for wrong in ["", "mst_", "mst__", "tok_x_y", &text[1..], &text[..20], &"m".repeat(4096)] {
            assert_eq!(Shown::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            let _ = Shown::parse(&text);
            let _ = Shown::parse(&format!("mst_{text}"));
        }
    }
}
