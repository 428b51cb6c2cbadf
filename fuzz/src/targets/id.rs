//! Ids in their text form: a text is one of its kind or is told why not; one written out again is the same, and is no
//! other kind's.

use std::fmt::Debug;

use muster_protocol::id::{
    NodeMark, SeatMark, ServerMark, StaticType, TypeSafeId, id_bytes, id_from_bytes, parse_id,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = [is_one::<ServerMark>(text), is_one::<NodeMark>(text), is_one::<SeatMark>(text)];
    assert!(read.into_iter().filter(|is| *is).count() <= 1);
}

fn is_one<T: StaticType + Debug>(text: &str) -> bool
where
    TypeSafeId<T>: PartialEq,
{
    match parse_id::<T>(text) {
        Ok(id) => {
            assert_eq!(id.to_string(), text);
            assert_eq!(id_from_bytes::<T>(id_bytes(&id)), id);
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}
