//! Whether `data_dir` is there, ours, and on a disk with room.

use std::path::Path;

use super::Verdict;
use crate::output;

/// Less room than this is a problem: images of builds are a few hundred megabytes each.
const MIN_FREE_BYTES: u64 = 1 << 30;

pub(super) fn check(data_dir: &Path) -> Verdict {
    let shown = data_dir.display();
    match std::fs::read_dir(data_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Verdict::Skipped(format!("{shown} is not there yet; the orchestrator makes it"));
        }
        Err(error) => {
            return Verdict::Problem(format!(
                "{shown}: {error}; run this as the user the orchestrator runs as"
            ));
        }
        Ok(_) => {}
    }
    match free_bytes(data_dir) {
        None => Verdict::Ok(format!("{shown} can be read")),
        Some(free) if free < MIN_FREE_BYTES => Verdict::Problem(format!(
            "the disk of {shown} has {} left; free some space, or set data_dir to one on another disk",
            output::size(free)
        )),
        Some(free) => Verdict::Ok(format!("{shown} can be read, its disk has {} left", output::size(free))),
    }
}

#[cfg(unix)]
#[allow(clippy::useless_conversion, reason = "on other systems these numbers have fewer bits")]
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = nix::sys::statvfs::statvfs(path).ok()?;
    Some(u64::from(disk.blocks_available()) * u64::from(disk.fragment_size()))
}

#[cfg(not(unix))]
fn free_bytes(_path: &Path) -> Option<u64> {
    None
}
