//! Versionstamps: the place of a commit in the order of all commits, as ten bytes that sort so.
//!
//! A transaction cannot know its own before it commits, so it leaves a hole for it in a key or a value
//! and the driver fills it in. Eight bytes are the commit's version, two its place among the
//! transactions of that version, both big-endian: FoundationDB's layout.

use std::fmt;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::StoreError;

/// Bytes of a versionstamp.
pub const VERSIONSTAMP_BYTES: usize = 10;

/// Where a transaction stands in the order of all commits of its store. Later commits have greater
/// ones; no two share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Versionstamp([u8; VERSIONSTAMP_BYTES]);

impl Versionstamp {
    /// The stamp whose bytes these are, as found in a key or value.
    pub fn from_bytes(bytes: [u8; VERSIONSTAMP_BYTES]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they stand in a key or value.
    pub fn as_bytes(&self) -> &[u8; VERSIONSTAMP_BYTES] {
        &self.0
    }

    /// The stamp of the `order`th transaction of `version`.
    pub(crate) fn new(version: u64, order: u16) -> Self {
        let mut bytes = [0; VERSIONSTAMP_BYTES];
        bytes[..8].copy_from_slice(&version.to_be_bytes());
        bytes[8..].copy_from_slice(&order.to_be_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for Versionstamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (version, order) = self.0.split_at(8);
        let version = version.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        write!(f, "{version}.{}", u16::from_be_bytes([order[0], order[1]]))
    }
}

/// A key or value with a hole of [`VERSIONSTAMP_BYTES`] for the stamp.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    bytes: Bytes,
    offset: usize,
}

impl Template {
    /// `bytes` with the hole at `offset`.
    ///
    /// # Errors
    /// [`StoreError::VersionstampOffset`] if the hole does not lie within `bytes`.
    pub(crate) fn new(bytes: &[u8], offset: usize) -> Result<Self, StoreError> {
        let fits = offset.checked_add(VERSIONSTAMP_BYTES).is_some_and(|end| end <= bytes.len());
        if !fits {
            return Err(StoreError::VersionstampOffset { offset, length: bytes.len() });
        }
        Ok(Self { bytes: Bytes::copy_from_slice(bytes), offset })
    }

    /// With the hole filled.
    pub(crate) fn filled(&self, stamp: Versionstamp) -> Bytes {
        let mut bytes = self.bytes.to_vec();
        bytes[self.offset..self.offset + VERSIONSTAMP_BYTES].copy_from_slice(stamp.as_bytes());
        bytes.into()
    }

    /// The first and the last key this can become.
    pub(crate) fn span(&self) -> (Bytes, Bytes) {
        let fill = |byte| self.filled(Versionstamp([byte; VERSIONSTAMP_BYTES]));
        (fill(0), fill(0xff))
    }

    /// As FoundationDB takes it: with the offset as a little-endian number of four bytes behind.
    #[cfg(feature = "foundationdb")]
    pub(crate) fn with_offset(&self, prefix: &[u8]) -> Vec<u8> {
        let offset = u32::try_from(self.offset + prefix.len()).unwrap_or(u32::MAX);
        [prefix, &self.bytes, &offset.to_le_bytes()].concat()
    }
}

/// Resolves to the versionstamp of the transaction that made it, once that has committed.
#[derive(Debug)]
pub struct PendingVersionstamp(pub(crate) oneshot::Receiver<Versionstamp>);

impl PendingVersionstamp {
    /// The stamp.
    ///
    /// # Errors
    /// [`StoreError::NoVersionstamp`] if the transaction did not commit or wrote nothing. Awaiting it
    /// inside the transaction never ends well: await it after.
    pub async fn get(self) -> Result<Versionstamp, StoreError> {
        self.0.await.map_err(|_| StoreError::NoVersionstamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_sort_by_version_then_order() {
        let stamps = [
            Versionstamp::new(1, 9),
            Versionstamp::new(2, 0),
            Versionstamp::new(2, 1),
            Versionstamp::new(300, 0),
        ];
        assert!(stamps.is_sorted());
        assert!(stamps.map(|stamp| *stamp.as_bytes()).is_sorted());
        assert_eq!(format!("{:?}", stamps[3]), "300.0");
    }

    #[test]
    fn a_hole_must_lie_within() {
        assert!(Template::new(&[0; 10], 0).is_ok());
        assert!(Template::new(&[0; 10], 1).is_err());
        assert!(Template::new(&[0; 10], usize::MAX).is_err());
        let template = Template::new(b"q__________z", 1).expect("fits");
        let stamp = Versionstamp::new(7, 1);
        assert_eq!(template.filled(stamp), [b"q".as_slice(), stamp.as_bytes(), b"z"].concat());
    }
}
