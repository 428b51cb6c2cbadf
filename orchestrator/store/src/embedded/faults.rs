//! Disk failures on demand, for this crate's own tests.
//!
//! Compiled into tests only. A real full disk is tested on a real full disk; what cannot be had on
//! demand is a sync that fails after the data has been written.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Switches that make the next operations of a kind fail.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Syncs fail.
    pub(crate) sync: AtomicBool,
    /// Writes fail.
    pub(crate) write: AtomicBool,
    /// Reads fail.
    pub(crate) read: AtomicBool,
    /// The file cannot be opened.
    pub(crate) open: AtomicBool,
}

fn fail_if(switch: &AtomicBool) -> io::Result<()> {
    if switch.load(Ordering::SeqCst) { Err(io::Error::other("injected fault")) } else { Ok(()) }
}

impl Faults {
    pub(crate) fn on_sync(&self) -> io::Result<()> {
        fail_if(&self.sync)
    }

    pub(crate) fn on_write(&self) -> io::Result<()> {
        fail_if(&self.write)
    }

    pub(crate) fn on_read(&self) -> io::Result<()> {
        fail_if(&self.read)
    }

    pub(crate) fn on_open(&self) -> io::Result<()> {
        fail_if(&self.open)
    }
}
