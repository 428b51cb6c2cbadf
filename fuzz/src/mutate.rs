//! Small changes of known inputs, the same ones each time: what `cargo test` has in place of a fuzzer.

/// Longest input, in bytes.
const MAX_BYTES: usize = 4_096;
/// Values at which parsers go wrong.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'\n', b','];

/// A source of changed inputs.
pub struct Mutator {
    state: u64,
}

impl Mutator {
    /// One whose changes follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed | 1 }
    }

    /// One of `inputs`, changed in a few places, or two of them joined. Empty if there are none.
    pub fn next(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.pick(inputs).cloned().unwrap_or_default();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, inputs);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.below(bytes.len() + 1);
        match self.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = EDGES[self.below(EDGES.len())],
            2 => bytes.insert(at, self.below(256) as u8),
            3 => bytes.truncate(at),
            4 => {
                let end = at + self.below(bytes.len() - at + 1);
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = self.pick(inputs).cloned().unwrap_or_default();
                let from = self.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }

    fn pick<'a>(&mut self, inputs: &'a [Vec<u8>]) -> Option<&'a Vec<u8>> {
        let at = self.below(inputs.len().max(1));
        inputs.get(at)
    }

    /// A number under `bound`, which is at least 1. Xorshift: quick, and good enough here.
    fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn changes_are_many_and_the_same_each_time() {
        let inputs = vec![b"hello".to_vec(), vec![], vec![7; MAX_BYTES]];
        let all = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..1_000).map(|_| mutator.next(&inputs)).collect::<Vec<_>>()
        };
        let first = all(1);
        assert_eq!(first, all(1));
        assert!(first.iter().collect::<BTreeSet<_>>().len() > 500);
        assert!(first.iter().all(|bytes| bytes.len() <= MAX_BYTES));
    }
}
