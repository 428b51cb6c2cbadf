//! Atomic operations: writes that depend on the value they meet, without reading it.
//!
//! Pure. What each does to which value is FoundationDB's definition (its `MutationType`), so that the
//! local drivers and a cluster agree to the byte; the conformance suite compares them.

use bytes::Bytes;

/// What an operation makes of the value it meets and its operand.
///
/// Numbers are little-endian and unsigned but for [`Self::Add`], where two's complement makes no
/// difference. A value that is longer than the operand is cut to its length, a shorter one padded with
/// zeros, before a number is made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicOp {
    /// The sum; it wraps. An absent value counts as 0.
    Add,
    /// The greater number. An absent value counts as 0.
    Max,
    /// The smaller number. An absent value becomes the operand.
    Min,
    /// The one that sorts later, whole. An absent value becomes the operand.
    ByteMax,
    /// The one that sorts earlier, whole. An absent value becomes the operand.
    ByteMin,
    /// Nothing, if the value equals the operand, which removes the key; else the value as it is.
    CompareAndClear,
}

impl AtomicOp {
    /// What becomes of `base`, the value met.
    pub(crate) fn apply(self, base: Option<&Bytes>, operand: &Bytes) -> Option<Bytes> {
        let Some(base) = base else {
            return match self {
                Self::CompareAndClear => None,
                _ => Some(operand.clone()),
            };
        };
        Some(match self {
            Self::CompareAndClear if base == operand => return None,
            Self::CompareAndClear => base.clone(),
            Self::Add => sum(base, operand),
            Self::Max => greater(resized(base, operand.len()), operand),
            Self::Min => smaller(resized(base, operand.len()), operand),
            Self::ByteMax => base.max(operand).clone(),
            Self::ByteMin => base.min(operand).clone(),
        })
    }
}

/// The first `length` bytes of `value`, with zeros behind it where it is shorter.
fn resized(value: &Bytes, length: usize) -> Bytes {
    if value.len() >= length {
        return value.slice(..length);
    }
    let mut padded = value.to_vec();
    padded.resize(length, 0);
    padded.into()
}

fn sum(base: &Bytes, operand: &Bytes) -> Bytes {
    let mut carry = 0;
    let digits = operand.iter().enumerate().map(|(place, digit)| {
        let sum = u16::from(base.get(place).copied().unwrap_or(0)) + u16::from(*digit) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    });
    digits.collect()
}

fn is_greater(a: &[u8], b: &[u8]) -> bool {
    a.iter().rev().gt(b.iter().rev())
}

fn greater(base: Bytes, operand: &Bytes) -> Bytes {
    if is_greater(&base, operand) { base } else { operand.clone() }
}

fn smaller(base: Bytes, operand: &Bytes) -> Bytes {
    if is_greater(&base, operand) { operand.clone() } else { base }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(op: AtomicOp, base: Option<&[u8]>, operand: &[u8]) -> Option<Vec<u8>> {
        let base = base.map(Bytes::copy_from_slice);
        op.apply(base.as_ref(), &Bytes::copy_from_slice(operand)).map(|value| value.to_vec())
    }

    #[test]
    fn addition_pads_cuts_and_wraps() {
        let number = |n: i64| n.to_le_bytes().to_vec();
        assert_eq!(apply(AtomicOp::Add, None, &number(5)), Some(number(5)));
        assert_eq!(apply(AtomicOp::Add, Some(&[1]), &number(1)), Some(number(2)));
        assert_eq!(apply(AtomicOp::Add, Some(&[1, 0, 0, 0, 0, 0, 0, 0, 9]), &number(1)), Some(number(2)));
        assert_eq!(apply(AtomicOp::Add, Some(&number(i64::MAX)), &number(1)), Some(number(i64::MIN)));
        assert_eq!(apply(AtomicOp::Add, Some(&number(3)), &number(-5)), Some(number(-2)));
    }

    #[test]
    fn numbers_compare_from_their_last_byte() {
        assert_eq!(apply(AtomicOp::Max, Some(&[0, 2]), &[255, 1]), Some(vec![0, 2]));
        assert_eq!(apply(AtomicOp::Min, Some(&[0, 2]), &[255, 1]), Some(vec![255, 1]));
        assert_eq!(apply(AtomicOp::Max, Some(&[9, 9, 9]), &[1]), Some(vec![9]));
        assert_eq!(apply(AtomicOp::Min, None, &[7]), Some(vec![7]));
    }

    #[test]
    fn bytes_compare_as_keys_do() {
        assert_eq!(apply(AtomicOp::ByteMax, Some(b"ab"), b"b"), Some(b"b".to_vec()));
        assert_eq!(apply(AtomicOp::ByteMin, Some(b"ab"), b"a"), Some(b"a".to_vec()));
    }

    #[test]
    fn only_what_is_equal_is_cleared() {
        assert_eq!(apply(AtomicOp::CompareAndClear, Some(b"x"), b"x"), None);
        assert_eq!(apply(AtomicOp::CompareAndClear, Some(b"x"), b"y"), Some(b"x".to_vec()));
        assert_eq!(apply(AtomicOp::CompareAndClear, None, b"y"), None);
    }
}
