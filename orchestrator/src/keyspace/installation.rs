//! Keys of the installation itself: authority, signing keys, namespaces, tokens.

use foundationdb_tuple::pack;
use muster_protocol::id::{ApiTokenId, JoinTokenId};

use super::{KeyRange, Prefix, id};

/// [`crate::records::AuthorityRecord`].
pub fn authority() -> Vec<u8> {
    pack(&(Prefix::Authority as u16,))
}

/// [`crate::records::SigningKeyRecord`] by key id.
pub fn signing_key(key_id: &str) -> Vec<u8> {
    pack(&(Prefix::SigningKey as u16, key_id))
}

/// Every signing key.
pub fn signing_keys() -> KeyRange {
    KeyRange::under(&(Prefix::SigningKey as u16,))
}

/// [`crate::records::FlowKeyRecord`] of a region.
pub fn flow_key(region: &str) -> Vec<u8> {
    pack(&(Prefix::FlowKey as u16, region))
}

/// [`crate::records::NamespaceRecord`] by name.
pub fn namespace(name: &str) -> Vec<u8> {
    pack(&(Prefix::Namespace as u16, name))
}

/// Every namespace.
pub fn namespaces() -> KeyRange {
    KeyRange::under(&(Prefix::Namespace as u16,))
}

/// [`crate::records::ApiTokenRecord`].
pub fn api_token(token: ApiTokenId) -> Vec<u8> {
    pack(&(Prefix::ApiToken as u16, id(token)))
}

/// Every API token.
pub fn api_tokens() -> KeyRange {
    KeyRange::under(&(Prefix::ApiToken as u16,))
}

/// [`crate::records::JoinTokenRecord`].
pub fn join_token(token: JoinTokenId) -> Vec<u8> {
    pack(&(Prefix::JoinToken as u16, id(token)))
}

/// Every join token.
pub fn join_tokens() -> KeyRange {
    KeyRange::under(&(Prefix::JoinToken as u16,))
}

/// There while a restore is under way.
pub fn restoring() -> Vec<u8> {
    pack(&(Prefix::Restoring as u16,))
}
