//! One edge in a state directory: two would be the same edge to the orchestrator, and replace each other's files.
//!
//! The system lets the lock go with the process, however that ends.

use std::fs::{File, TryLockError, create_dir_all};
use std::io;
use std::path::Path;

use tracing::warn;

/// Locked by the edge that serves.
const LOCK_FILE: &str = "edge.lock";

/// The directory is ours for as long as this is held.
pub(crate) struct StateLock {
    _file: File,
}

/// Why it is not.
#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    /// Another edge runs in it.
    #[error(
        "another edge runs in {0}: give this one a state_dir of its own, or have it take over from that one \
         (`muster edge --take-over true`)"
    )]
    Taken(String),
    /// The system does not give it.
    #[error("state_dir {dir} cannot be used: {source}")]
    Io {
        /// The directory.
        dir: String,
        /// What the system says.
        source: io::Error,
    },
}

impl StateLock {
    /// Takes `state_dir`, which is made if it is missing.
    ///
    /// # Errors
    /// [`StateLockError`].
    pub(crate) fn take(state_dir: &Path) -> Result<Self, StateLockError> {
        let dir = || state_dir.display().to_string();
        let io = |source| StateLockError::Io { dir: dir(), source };
        create_dir_all(state_dir).map_err(io)?;
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let file = options.open(state_dir.join(LOCK_FILE)).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateLockError::Taken(dir())),
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                warn!(dir = dir(), %error, "nothing keeps another edge from starting in the same place");
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_edges_until_that_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let lock = StateLock::take(&dir).unwrap();
        let error = StateLock::take(&dir).map(drop).unwrap_err();
        assert!(error.to_string().contains("--take-over true"), "{error}");
        drop(lock);
        StateLock::take(&dir).unwrap();
    }

    #[test]
    fn what_is_no_directory_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let error = StateLock::take(&file).map(drop).unwrap_err();
        assert!(error.to_string().contains("state_dir"), "{error}");
    }
}
