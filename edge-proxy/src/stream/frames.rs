//! WebSocket frames of a client, followed by their headers only: whether one is larger than a server should be sent.
//!
//! A server that takes a frame's length at its word reserves what a client claims. So the claim is looked at as it
//! passes, whatever it is cut into, and nothing is held back or changed. What frames mean is the server's.
//! Pure: bytes in, verdict out.

/// Longest header: two bytes, eight of length, four of mask.
const MAX_HEADER_BYTES: usize = 14;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;
const MASKED: u8 = 0x80;
const MASK_BYTES: usize = 4;

/// A frame that is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    /// Longer than allowed.
    #[error("a frame of {length} bytes is over the limit of {most}")]
    TooLarge {
        /// Its payload, in bytes.
        length: u64,
        /// The bound.
        most: u64,
    },
    /// Clients mask their frames, always.
    #[error("a frame without a mask")]
    Unmasked,
}

/// Where in its frames a client is.
#[derive(Debug)]
pub(super) struct Frames {
    most: u64,
    header: [u8; MAX_HEADER_BYTES],
    filled: usize,
    payload_left: u64,
}

impl Frames {
    /// At the first frame's first byte; payloads may have `most` bytes.
    pub(super) fn new(most: u64) -> Self {
        Self { most, header: [0; MAX_HEADER_BYTES], filled: 0, payload_left: 0 }
    }

    /// Goes on by `bytes`.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), FrameError> {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let step = usize::try_from(self.payload_left).unwrap_or(usize::MAX).min(bytes.len());
                self.payload_left -= step as u64;
                bytes = &bytes[step..];
                continue;
            }
            let (next, rest) = bytes.split_at(1);
            self.header[self.filled] = next[0];
            self.filled += 1;
            bytes = rest;
            self.header_grew()?;
        }
        Ok(())
    }

    fn header_grew(&mut self) -> Result<(), FrameError> {
        if self.filled < 2 {
            return Ok(());
        }
        if self.header[1] & MASKED == 0 {
            return Err(FrameError::Unmasked);
        }
        let short = self.header[1] & !MASKED;
        let extended = match short {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        if self.filled < 2 + extended {
            return Ok(());
        }
        let length = match extended {
            0 => u64::from(short),
            _ => self.header[2..2 + extended].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        if length > self.most {
            return Err(FrameError::TooLarge { length, most: self.most });
        }
        if self.filled == 2 + extended + MASK_BYTES {
            (self.filled, self.payload_left) = (0, length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(length: u64) -> Vec<u8> {
        let mut out = vec![0x82];
        match length {
            0..=125 => out.push(MASKED | length as u8),
            126..=65_535 => {
                out.push(MASKED | LENGTH_16);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ => {
                out.push(MASKED | LENGTH_64);
                out.extend_from_slice(&length.to_be_bytes());
            }
        }
        out.extend_from_slice(&[1, 2, 3, 4]);
        out
    }

    fn whole(length: u64) -> Vec<u8> {
        let mut out = frame(length);
        out.resize(out.len() + length as usize, 0xff);
        out
    }

    #[test]
    fn a_claim_is_refused_before_its_payload() {
        let mut frames = Frames::new(1_000);
        assert_eq!(frames.pass(&whole(1_000)), Ok(()));
        assert_eq!(frames.pass(&frame(1_001)), Err(FrameError::TooLarge { length: 1_001, most: 1_000 }));
        let huge = Err(FrameError::TooLarge { length: u64::MAX, most: 1_000 });
        assert_eq!(Frames::new(1_000).pass(&frame(u64::MAX)), huge);
        assert_eq!(Frames::new(1_000).pass(&[0x82, 5]), Err(FrameError::Unmasked));
    }

    proptest! {
        /// However the bytes are cut, frames within the bound pass and the first over it does not.
        #[test]
        fn cuts_change_nothing(
            lengths in proptest::collection::vec(0u64..70_000, 0..4), last in 70_001u64..80_000, cut in 1usize..4_000,
        ) {
            let mut bytes: Vec<u8> = lengths.iter().flat_map(|length| whole(*length)).collect();
            let mut frames = Frames::new(70_000);
            for piece in bytes.chunks(cut) {
                prop_assert_eq!(frames.pass(piece), Ok(()));
            }
            bytes.extend(whole(last));
            let mut frames = Frames::new(70_000);
            prop_assert!(bytes.chunks(cut).any(|piece| frames.pass(piece).is_err()));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frames::new(1_000).pass(&bytes);
        }
    }
}
