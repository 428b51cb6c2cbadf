//! Where a workflow lives: namespace, kind and key, and the shard that follows from them.
//!
//! An address says all there is to know to reach a workflow; whether one is there is not its matter.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use crate::error::Invalid;
use crate::limits::{MAX_KEY_BYTES, MAX_NAME_BYTES, SHARDS};
use crate::records::WireAddress;

/// Which of the [`SHARDS`] a workflow is in. All of a shard's work is done by one worker at a time.
pub type ShardIndex = u8;

/// Address of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    namespace: String,
    kind: String,
    key: String,
}

impl Address {
    /// The workflow of `kind` with `key` in `namespace`. Any may hold any text; only `key` may be empty.
    ///
    /// # Errors
    /// [`Invalid::Name`] if one is too long, or empty where it may not be.
    pub fn new(namespace: &str, kind: &str, key: &str) -> Result<Self, Invalid> {
        for (what, text, limit) in [("namespace", namespace, MAX_NAME_BYTES), ("kind", kind, MAX_NAME_BYTES)]
        {
            if text.is_empty() || text.len() > limit {
                return Err(Invalid::Name { what, length: text.len(), limit });
            }
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(Invalid::Name { what: "key", length: key.len(), limit: MAX_KEY_BYTES });
        }
        Ok(Self { namespace: namespace.to_owned(), kind: kind.to_owned(), key: key.to_owned() })
    }

    /// Namespace: what may not starve its neighbours.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Kind: which code runs it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Key: which of its kind.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its shard. Part of the stored format: the hash never changes.
    pub fn shard(&self) -> ShardIndex {
        let mut hasher = SipHasher13::new_with_keys(0x6d75_7374_6572, 1);
        for part in [&self.namespace, &self.kind, &self.key] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part.as_bytes());
        }
        (hasher.finish() % u64::from(SHARDS)) as ShardIndex
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.kind, self.key)
    }
}

impl From<&Address> for WireAddress {
    fn from(address: &Address) -> Self {
        Self { namespace: address.namespace.clone(), kind: address.kind.clone(), key: address.key.clone() }
    }
}

impl TryFrom<WireAddress> for Address {
    type Error = Invalid;

    fn try_from(wire: WireAddress) -> Result<Self, Invalid> {
        Self::new(&wire.namespace, &wire.kind, &wire.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_as_they_were_in_every_release() {
        let shard = |namespace, kind, key| Address::new(namespace, kind, key).expect("valid").shard();
        // Golden: a change here would lose every workflow there is.
        let found =
            [shard("arena/prod", "fleet", "duel"), shard("arena/prod", "queue", "duel"), shard("a", "b", "")];
        assert_eq!(found, [4, 31, 26]);
    }

    #[test]
    fn names_are_bounded() {
        assert!(Address::new("", "kind", "key").is_err());
        assert!(Address::new("namespace", "", "key").is_err());
        assert!(Address::new("namespace", "kind", "").is_ok());
        assert!(Address::new(&"n".repeat(MAX_NAME_BYTES + 1), "kind", "key").is_err());
        assert!(Address::new("namespace", "kind", &"k".repeat(MAX_KEY_BYTES + 1)).is_err());
    }

    #[test]
    fn workflows_spread_over_all_shards() {
        let mut seen = [0u32; SHARDS as usize];
        for number in 0..64_000 {
            seen[usize::from(Address::new("n", "k", &number.to_string()).expect("valid").shard())] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
    }
}
