//! The file of kept flows: a header, and a slot for each flow.
//!
//! ```text
//! header: "MSTFLOW" 0x01 <key 16 B> <alive, Unix ms u64> <zeros to 128 B>
//! slot n: at n * 128 B, see `kept`; zeros if empty
//! ```
//! A write goes to the system's memory, where it outlives the process; it is not synced, since a machine
//! that loses power is away for longer than its players wait. What `alive` says is renewed every second, so
//! that flows of an edge that was away for longer than a flow's idle time are not taken up again.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, BufMut};
use tracing::warn;

use super::kept::{KeptFlow, KeptKey, SLOT_BYTES, SlotBytes, SlotWrite};

/// The file of the worker numbered `worker`, from 0.
pub(super) fn file_name(worker: usize) -> String {
    if worker == 0 { "flows.bin".to_owned() } else { format!("flows-{worker}.bin") }
}

const MAGIC: [u8; 8] = *b"MSTFLOW\x01";
/// How often that is written, in milliseconds.
const ALIVE_EVERY_MS: u64 = 1_000;
/// Where the header says when the edge last lived.
const ALIVE_OFFSET: u64 = 24;

/// The open file. Without one, flows are forwarded all the same and not known after a restart.
pub(crate) struct KeptFile {
    file: Option<File>,
    alive_noted_ms: u64,
}

/// What is in a file.
pub(crate) struct Found {
    /// Key of the file.
    pub(crate) key: KeptKey,
    /// When its edge last lived, in Unix milliseconds.
    pub(super) alive_ms: u64,
    /// Its slots, from slot 1 on; `None` are empty or damaged.
    pub(crate) slots: Vec<Option<KeptFlow>>,
}

impl Found {
    /// Whether its edge lived less than `idle` before `now_ms` (Unix milliseconds): flows of one that was away for longer are
    /// over.
    pub(super) fn lives(&self, idle: Duration, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.alive_ms) < idle.as_millis() as u64
    }
}

impl KeptFile {
    /// No file: nothing is kept.
    pub(crate) fn none() -> Self {
        Self { file: None, alive_noted_ms: 0 }
    }

    /// Opens the file at `path`, or makes it; flows are found in it if the edge lived less than `idle` before
    /// `now_ms` (Unix milliseconds). At most `capacity` slots are read.
    pub(crate) fn open(path: &Path, capacity: usize, idle: Duration, now_ms: u64) -> (Self, Found) {
        open(path, capacity, idle, now_ms).map_or_else(
            |error| {
                warn!(path = %path.display(), %error, "flows are not kept; after a restart clients have to prove \
                       themselves again");
                (Self::none(), Found { key: rand::random(), alive_ms: now_ms, slots: vec![] })
            },
            |(file, found)| (Self { file: Some(file), alive_noted_ms: 0 }, found),
        )
    }

    /// Writes slots.
    pub(crate) fn write(&mut self, writes: &[SlotWrite]) {
        for write in writes {
            self.put(write.slot.offset(), &write.bytes);
        }
    }

    /// Notes that the edge lives at `now_ms` (Unix milliseconds); call as often as you like.
    pub(crate) fn note_alive(&mut self, now_ms: u64) {
        if now_ms.abs_diff(self.alive_noted_ms) >= ALIVE_EVERY_MS {
            self.note_alive_now(now_ms);
        }
    }

    /// Notes that the edge lives at `now_ms` (Unix milliseconds), however lately it was noted.
    pub(crate) fn note_alive_now(&mut self, now_ms: u64) {
        self.alive_noted_ms = now_ms;
        self.put(ALIVE_OFFSET, &now_ms.to_be_bytes());
    }

    /// The open file once more, if there is one.
    pub(super) fn another(&self) -> Option<File> {
        self.file.as_ref()?.try_clone().ok()
    }

    /// Goes on in `file`, which has the same in it; not if nothing is kept.
    pub(super) fn go_on_in(&mut self, file: File) {
        self.file = self.file.take().map(|_| file);
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) {
        let Some(file) = &self.file else { return };
        if let Err(error) = put(file, offset, bytes) {
            // What is in the file ages: it is not taken up once `alive` is too old.
            warn!(%error, "flows are no longer kept; after a restart clients have to prove themselves again");
            self.file = None;
        }
    }
}

fn open(path: &Path, capacity: usize, idle: Duration, now_ms: u64) -> io::Result<(File, Found)> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    let mut file = open_private(path)?;
    let mut bytes = Vec::new();
    let most = (capacity as u64).saturating_add(1).saturating_mul(SLOT_BYTES as u64);
    Read::by_ref(&mut file).take(most).read_to_end(&mut bytes)?;
    let found = if let Some(found) = read(&bytes).filter(|found| found.lives(idle, now_ms)) {
        found
    } else {
        let key: KeptKey = rand::random();
        file.set_len(0)?;
        put(&file, 0, &header(key, now_ms))?;
        Found { key, alive_ms: now_ms, slots: vec![] }
    };
    // Slots that this process does not take over are not to be found by the next.
    file.set_len(most.min(file.metadata()?.len()))?;
    Ok((file, found))
}

/// Opens a file that nobody else may read, or makes it.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What the file's `bytes` hold; `None` if they are of something else.
pub(super) fn read(bytes: &[u8]) -> Option<Found> {
    let (slots, _) = bytes.as_chunks::<SLOT_BYTES>();
    let (header, slots) = slots.split_first()?;
    let (key, alive_ms) = read_header(header)?;
    let slots = slots.iter().map(|slot| KeptFlow::decode(&key, slot)).collect();
    Some(Found { key, alive_ms, slots })
}

/// One system call: the worker that writes has players waiting.
#[cfg(unix)]
fn put(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(not(unix))]
fn put(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    io::Write::write_all(&mut file, bytes)
}

/// The first bytes of a file of `key`, whose edge lived at `alive_ms` (Unix milliseconds).
pub(super) fn header(key: KeptKey, alive_ms: u64) -> SlotBytes {
    let mut bytes = [0; SLOT_BYTES];
    let mut out = &mut bytes[..];
    out.put_slice(&MAGIC);
    out.put_slice(&key);
    out.put_u64(alive_ms);
    bytes
}

fn read_header(header: &SlotBytes) -> Option<(KeptKey, u64)> {
    let mut fields = header.strip_prefix(&MAGIC)?;
    let mut key = KeptKey::default();
    fields.copy_to_slice(&mut key);
    Some((key, fields.get_u64()))
}

#[cfg(test)]
mod tests {
    use super::super::kept::KeptFlows;
    use super::*;

    const IDLE: Duration = Duration::from_mins(1);
    const START_MS: u64 = 1_800_000_000_000;

    fn flow(number: u16) -> KeptFlow {
        KeptFlow::example(number, "10.0.0.1:9000")
    }

    fn flows(found: &Found) -> Vec<KeptFlow> {
        found.slots.iter().flatten().copied().collect()
    }

    #[test]
    fn what_was_kept_is_found_and_what_was_struck_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file_name(0));
        let (mut file, found) = KeptFile::open(&path, 10, IDLE, START_MS);
        assert!(found.slots.is_empty());
        let mut kept = KeptFlows::new(found.key, 10, found.slots);
        let [a, b, c] = [flow(1), flow(2), flow(3)];
        let [_, second, _] = [&a, &b, &c].map(|flow| kept.keep(None, flow).unwrap());
        kept.strike(second);
        file.write(&kept.take_writes());
        // Not closed, not synced: as a killed process leaves it.
        let (_, again) = KeptFile::open(&path, 10, IDLE, START_MS + 1);
        assert_eq!((again.key, flows(&again)), (found.key, vec![a, c]));
        let (_, fewer) = KeptFile::open(&path, 1, IDLE, START_MS + 1);
        assert_eq!(flows(&fewer), [a]);
        let (_, none) = KeptFile::open(&path, 10, IDLE, START_MS + 1);
        assert_eq!(flows(&none), [a], "those beyond the smaller bound are gone for good");
    }

    #[test]
    fn flows_of_an_edge_that_was_away_for_long_are_not_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file_name(0));
        let (mut file, found) = KeptFile::open(&path, 10, IDLE, START_MS);
        let mut kept = KeptFlows::new(found.key, 10, found.slots);
        kept.keep(None, &flow(1)).unwrap();
        file.write(&kept.take_writes());
        file.note_alive(START_MS + 50_000);
        assert_eq!(KeptFile::open(&path, 10, IDLE, START_MS + 100_000).1.slots.len(), 1);
        let (_, late) = KeptFile::open(&path, 10, IDLE, START_MS + 110_000);
        assert!(late.slots.is_empty());
        assert_ne!(late.key, found.key);
        assert!(KeptFile::open(&path, 10, IDLE, START_MS + 110_001).1.slots.is_empty());
    }

    #[test]
    fn a_file_of_something_else_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file_name(0));
        for junk in [vec![], b"MSTFLOW".to_vec(), vec![7; 1_000]] {
            fs::write(&path, &junk).unwrap();
            let (file, found) = KeptFile::open(&path, 10, IDLE, START_MS);
            assert!(file.file.is_some() && found.slots.is_empty());
            assert_eq!(fs::metadata(&path).unwrap().len(), SLOT_BYTES as u64);
        }
    }
}
