//! The backup file: a line that names the format, then frames, each with its length and a checksum. Pure, over
//! any reader and writer.
//!
//! A frame is its length in 4 bytes, big-endian, the first 8 bytes of its SHA-256, and that many bytes of a
//! [`Frame`]. The first frame is a header and the last an end, whose counts are those of what came between.

use std::io::{self, Read};

use prost::Message;
use sha2::{Digest as _, Sha256};

use super::{Body, End, Frame, Header};

/// What every file begins with.
pub const MAGIC: &[u8] = b"muster-backup 1\n";
/// What files of other versions of the format begin with.
const FAMILY: &[u8] = b"muster-backup ";
/// Most bytes of a frame.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Bytes of an archive in one frame.
pub const CHUNK_BYTES: usize = 1 << 20;
const SUM_BYTES: usize = 8;

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It cannot be read.
    #[error("the backup cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It begins with something else.
    #[error("this is no backup of Muster; take one with `muster backup take FILE`")]
    NotABackup,
    /// A later version of the format.
    #[error(
        "the backup is of a newer format than this release knows; use the release that took it, or a later one"
    )]
    Newer,
    /// It ends too early.
    #[error("the backup is cut short at byte {at}; take it again, or copy it again from where it came")]
    Truncated {
        /// Where it ends.
        at: u64,
    },
    /// Bytes have changed.
    #[error("the backup is damaged at byte {at}: {what}; use another copy")]
    Damaged {
        /// Where the frame begins.
        at: u64,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// `body` as a frame.
pub fn encode(body: Body) -> Vec<u8> {
    let payload = Frame { body: Some(body) }.encode_to_vec();
    debug_assert!(payload.len() <= MAX_FRAME_BYTES, "frames are made of bounded parts");
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[..], &Sha256::digest(&payload)[..SUM_BYTES], &payload].concat()
}

/// Reads the frames of a file, and holds each against what must be.
pub struct Reader<R> {
    source: R,
    at: u64,
    seen: End,
    /// Bytes that the archive under way still lacks.
    lacking: u64,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// A reader of the file that `source` is at the beginning of, and its header.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn open(mut source: R) -> Result<(Self, Header), FormatError> {
        let mut magic = [0; MAGIC.len()];
        let read = fill(&mut source, &mut magic)?;
        if magic != MAGIC {
            let is_family = read >= FAMILY.len() && magic.starts_with(FAMILY);
            return Err(if is_family { FormatError::Newer } else { FormatError::NotABackup });
        }
        let mut reader =
            Self { source, at: MAGIC.len() as u64, seen: End::default(), lacking: 0, ended: false };
        match reader.frame()? {
            Some(Body::Header(header)) => Ok((reader, header)),
            _ => Err(FormatError::Damaged { at: MAGIC.len() as u64, what: "it has no header" }),
        }
    }

    /// The next frame; `None` behind the end.
    ///
    /// # Errors
    /// [`FormatError`].
    pub fn next_body(&mut self) -> Result<Option<Body>, FormatError> {
        let at = self.at;
        let damaged = |what| Err(FormatError::Damaged { at, what });
        let body = match (self.frame()?, self.ended) {
            (None, true) => return Ok(None),
            (None, false) => return Err(FormatError::Truncated { at }),
            (Some(_), true) => return damaged("something follows its end"),
            (Some(body), false) => body,
        };
        if self.lacking > 0 && !matches!(body, Body::Chunk(_)) {
            return damaged("an archive lacks bytes");
        }
        match &body {
            Body::Header(_) => return damaged("a second header"),
            Body::Rows(rows) => self.seen.rows += rows.rows.len() as u64,
            Body::Definition(_) => self.seen.definitions += 1,
            Body::Archive(archive) => {
                self.seen.archives += 1;
                self.lacking = archive.size_bytes;
            }
            Body::Chunk(chunk) => match self.lacking.checked_sub(chunk.len() as u64) {
                Some(left) => self.lacking = left,
                None => return damaged("an archive has too many bytes"),
            },
            Body::End(end) => {
                let counted = |end: &End| (end.rows, end.archives, end.definitions);
                if counted(end) != counted(&self.seen) {
                    return damaged("it does not hold what its end says");
                }
                self.ended = true;
            }
        }
        Ok(Some(body))
    }

    fn frame(&mut self) -> Result<Option<Body>, FormatError> {
        let at = self.at;
        let mut head = [0; 4 + SUM_BYTES];
        match fill(&mut self.source, &mut head)? {
            0 => return Ok(None),
            read if read < head.len() => return Err(FormatError::Truncated { at: at + read as u64 }),
            _ => {}
        }
        let (length, sum) = head.split_at(4);
        let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
        if length > MAX_FRAME_BYTES {
            return Err(FormatError::Damaged { at, what: "a frame is too long" });
        }
        let mut payload = vec![0; length];
        let read = fill(&mut self.source, &mut payload)?;
        if read < length {
            return Err(FormatError::Truncated { at: at + (head.len() + read) as u64 });
        }
        if Sha256::digest(&payload)[..SUM_BYTES] != *sum {
            return Err(FormatError::Damaged { at, what: "a checksum does not fit" });
        }
        self.at += (head.len() + length) as u64;
        let frame = Frame::decode(&payload[..]).map_err(|_| FormatError::Damaged { at, what: "no frame" })?;
        frame.body.map(Some).ok_or(FormatError::Newer)
    }
}

/// Reads until `buffer` is full or the source ends; how much was read.
fn fill(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Looks a whole file through: its header and its end.
///
/// # Errors
/// [`FormatError`].
pub fn verify(source: impl Read) -> Result<(Header, End), FormatError> {
    let (mut reader, header) = Reader::open(source)?;
    let mut last = End::default();
    while let Some(body) = reader.next_body()? {
        if let Body::End(end) = body {
            last = end;
        }
    }
    Ok((header, last))
}
