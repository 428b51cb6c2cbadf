//! Typed ids: a prefix that says of what, and 128 bits that sort by time.
//!
//! The text form is `TypeID` 0.3 (`srv_01h455vb4pex5vsknk084sn02q`): `UUIDv7` in lowercase Crockford
//! base32 behind a prefix. A `ServerId` cannot be given where a `NodeId` is wanted, in Rust by its
//! type, on the wire by its prefix. This module holds no allocation of ids and no uniqueness check:
//! a `UUIDv7` has 74 random bits.

pub use type_safe_id::{StaticType, TypeSafeId};

macro_rules! ids {
    ($($(#[$doc:meta])* $alias:ident, $marker:ident, $prefix:literal;)*) => {$(
        #[doc = concat!("Marker of [`", stringify!($alias), "`].")]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $marker;

        impl StaticType for $marker {
            const TYPE: &'static str = $prefix;
        }

        $(#[$doc])*
        #[doc = concat!("\n\nText form: `", $prefix, "_` and 26 characters.")]
        pub type $alias = TypeSafeId<$marker>;
    )*};
}

ids! {
    /// A game-server actor.
    ServerId, ServerMark, "srv";
    /// A machine that runs containers: its agent.
    NodeId, NodeMark, "node";
    /// An edge proxy.
    EdgeId, EdgeMark, "edge";
    /// A player's or party's request for a match.
    TicketId, TicketMark, "tkt";
    /// Tickets put together, and the server they got.
    MatchId, MatchMark, "match";
    /// One player's place on a server.
    SeatId, SeatMark, "seat";
    /// An API token (the token's public part, not its secret).
    ApiTokenId, ApiTokenMark, "tok";
    /// A one-time join token (its public part).
    JoinTokenId, JoinTokenMark, "join";
    /// An upload of a build under way.
    UploadId, UploadMark, "upl";
}

/// Bytes of an id in binary formats.
pub const ID_BYTES: usize = 16;

/// The id's 16 bytes, as binary formats carry them.
pub fn id_bytes<T: StaticType>(id: &TypeSafeId<T>) -> [u8; ID_BYTES] {
    *id.uuid().as_bytes()
}

/// The id whose [`id_bytes`] these are.
pub fn id_from_bytes<T: StaticType>(bytes: [u8; ID_BYTES]) -> TypeSafeId<T> {
    TypeSafeId::from_uuid(uuid::Uuid::from_bytes(bytes))
}

/// A text that is no id of the kind that was wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no id of this kind: one is {prefix}_ with 26 letters and digits after it")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

/// Most characters of a wrong text that its error repeats.
const MAX_SHOWN: usize = 64;

/// Reads an id that a person or a program gave.
///
/// # Errors
/// [`InvalidId`], which says what an id of this kind looks like.
pub fn parse_id<T: StaticType>(text: &str) -> Result<TypeSafeId<T>, InvalidId> {
    text.parse().map_err(|_| InvalidId { text: text.chars().take(MAX_SHOWN).collect(), prefix: T::TYPE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_typeid() {
        let id: ServerId = id_from_bytes([
            0x01, 0x89, 0x0a, 0x5d, 0xac, 0x96, 0x77, 0x4b, 0xbc, 0xce, 0xb3, 0x02, 0x09, 0x9a, 0x80, 0x57,
        ]);
        // The UUID and the suffix are the TypeID specification's own example.
        assert_eq!(id.to_string(), "srv_01h455vb4pex5vsknk084sn02q");
        assert_eq!(id_bytes(&id)[0..2], [0x01, 0x89]);
    }

    #[test]
    fn another_kinds_id_is_refused() {
        assert!("srv_01h455vb4pex5vsknk084sn02q".parse::<NodeId>().is_err());
        assert!("01h455vb4pex5vsknk084sn02q".parse::<ServerId>().is_err());
        let error = parse_id::<ServerMark>("server-1").expect_err("no id");
        assert!(error.to_string().contains("\"server-1\"") && error.to_string().contains("srv_"), "{error}");
    }

    #[test]
    fn newer_ids_sort_later() {
        let earlier = ServerId::new();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(ServerId::new().to_string() > earlier.to_string());
    }
}
