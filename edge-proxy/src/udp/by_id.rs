//! Maps by flow id that take it as its own hash: it is one, under a key that is the region's secret.
//!
//! Not for ids that somebody else has chosen and that are put in as they came: those could all lead to one place.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use muster_protocol::flow::FlowId;

/// A map by flow id.
pub(super) type ById<T> = HashMap<FlowId, T, BuildHasherDefault<AsItIs>>;

/// The number that it is given.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not what a flow id is hashed by; right all the same.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}
