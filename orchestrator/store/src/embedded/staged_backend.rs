//! A file that is not written to until it is known to be sound.
//!
//! Opening a redb file may repair it, and a repair that finds the file damaged half way has
//! already changed it. While an open is in progress every write is therefore held back in memory,
//! in order and with its syncs, and read back from there; [`StagedBackend::release`] carries them
//! out once everything has been checked. From then on it is a plain pass to redb's own file
//! backend. An open that fails leaves the file byte for byte as it was.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use crate::limits::MAX_STAGED_BYTES;

/// Unit in which held-back writes are laid over the file.
const BLOCK: u64 = 4096;

/// One held-back operation.
#[derive(Debug)]
enum Held {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// Everything held back.
#[derive(Debug, Default)]
struct Stage {
    log: Vec<Held>,
    bytes: usize,
    /// Block number to its content after the log; blocks not here are the file's.
    blocks: BTreeMap<u64, Vec<u8>>,
    /// Length after the log, if the log changes it.
    length: Option<u64>,
    /// How much of the file's own content the log has not cut off, if it cuts any.
    visible: Option<u64>,
}

#[derive(Debug)]
struct Inner {
    file: FileBackend,
    released: AtomicBool,
    stage: Mutex<Stage>,
    #[cfg(test)]
    faults: Arc<crate::embedded::faults::Faults>,
}

/// The backend given to redb, and a second handle to it to release it by.
#[derive(Debug, Clone)]
pub(crate) struct StagedBackend(Arc<Inner>);

impl StagedBackend {
    /// Stages everything written to `file` until released.
    pub(crate) fn new(file: FileBackend, #[cfg(test)] faults: Arc<crate::embedded::faults::Faults>) -> Self {
        Self(Arc::new(Inner {
            file,
            released: AtomicBool::new(false),
            stage: Mutex::default(),
            #[cfg(test)]
            faults,
        }))
    }

    /// Carries out what was held back, in order, and lets everything pass from now on.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut stage = self.stage();
        for held in std::mem::take(&mut stage.log) {
            match held {
                Held::Write(offset, data) => self.0.file.write(offset, &data)?,
                Held::Length(length) => self.0.file.set_len(length)?,
                Held::Sync => self.0.file.sync_data()?,
            }
        }
        *stage = Stage::default();
        self.0.released.store(true, Ordering::Release);
        Ok(())
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.0.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn passes(&self) -> bool {
        self.0.released.load(Ordering::Acquire)
    }
}

impl Stage {
    /// Content of a block as it would be on the file.
    fn block(&self, file: &FileBackend, number: u64) -> io::Result<Vec<u8>> {
        if let Some(block) = self.blocks.get(&number) {
            return Ok(block.clone());
        }
        let mut block = vec![0; BLOCK as usize];
        let start = number * BLOCK;
        let visible = file.len()?.min(self.visible.unwrap_or(u64::MAX));
        let here = visible.saturating_sub(start).min(BLOCK) as usize;
        if here > 0 {
            file.read(start, &mut block[..here])?;
        }
        Ok(block)
    }

    fn hold(&mut self, held: Held, bytes: usize) -> io::Result<()> {
        self.bytes += bytes;
        if self.bytes > MAX_STAGED_BYTES {
            return Err(io::Error::other("the repair needs more memory than the store allows itself"));
        }
        self.log.push(held);
        Ok(())
    }
}

/// Calls `part(block number, offset in block, bytes of the request before it, bytes in this block)`
/// for every block that `length` bytes at `offset` touch.
fn for_each_block(
    offset: u64,
    length: usize,
    mut part: impl FnMut(u64, usize, usize, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let within = (at % BLOCK) as usize;
        let count = (length - done).min(BLOCK as usize - within);
        part(at / BLOCK, within, done, count)?;
        done += count;
    }
    Ok(())
}

impl StorageBackend for StagedBackend {
    fn len(&self) -> Result<u64, io::Error> {
        let staged = if self.passes() { None } else { self.stage().length };
        match staged {
            Some(length) => Ok(length),
            None => self.0.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        if self.passes() {
            #[cfg(test)]
            self.0.faults.on_read()?;
            return self.0.file.read(offset, out);
        }
        let stage = self.stage();
        let length = match stage.length {
            Some(length) => length,
            None => self.0.file.len()?,
        };
        if offset + out.len() as u64 > length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if stage.blocks.is_empty() && stage.length.is_none() {
            return self.0.file.read(offset, out);
        }
        for_each_block(offset, out.len(), |number, within, done, count| {
            let block = stage.block(&self.0.file, number)?;
            out[done..done + count].copy_from_slice(&block[within..within + count]);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        if self.passes() {
            return self.0.file.set_len(length);
        }
        let mut stage = self.stage();
        let first_gone = length.div_ceil(BLOCK);
        stage.blocks.split_off(&first_gone);
        if !length.is_multiple_of(BLOCK) {
            let number = length / BLOCK;
            let mut block = stage.block(&self.0.file, number)?;
            block[(length % BLOCK) as usize..].fill(0);
            stage.blocks.insert(number, block);
        }
        stage.visible = Some(stage.visible.unwrap_or(u64::MAX).min(length));
        stage.length = Some(length);
        stage.hold(Held::Length(length), 0)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if self.passes() {
            #[cfg(test)]
            self.0.faults.on_sync()?;
            return self.0.file.sync_data();
        }
        self.stage().hold(Held::Sync, 0)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if self.passes() {
            #[cfg(test)]
            self.0.faults.on_write()?;
            return self.0.file.write(offset, data);
        }
        let mut stage = self.stage();
        for_each_block(offset, data.len(), |number, within, done, count| {
            let mut block = stage.block(&self.0.file, number)?;
            block[within..within + count].copy_from_slice(&data[done..done + count]);
            stage.blocks.insert(number, block);
            Ok(())
        })?;
        stage.hold(Held::Write(offset, data.to_vec()), data.len())
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}
