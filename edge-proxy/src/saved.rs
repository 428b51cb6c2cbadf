//! What an edge keeps on disk so that it can serve before an orchestrator is back: keys, routes and limits.
//!
//! One file of two frames and one of one, replaced whole. They are the orchestrator's to say; this is only the
//! last thing heard.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use muster_protocol::edge::{EdgeLimits, EdgeWelcome, RouteTable};
use muster_protocol::framing::{self, FrameError};
use prost::Message;

const FILE: &str = "routes.bin";
const LIMITS_FILE: &str = "limits.bin";

/// What was last heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Saved {
    pub(crate) welcome: EdgeWelcome,
    pub(crate) routes: RouteTable,
}

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SavedError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged")]
    Damaged { path: PathBuf },
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Saved {
    /// What is kept in `dir`; `None` if nothing ever was.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, SavedError> {
        let Some((path, bytes)) = read(dir, FILE)? else { return Ok(None) };
        Self::decode(bytes).map(Some).ok_or(SavedError::Damaged { path })
    }

    /// Keeps it in `dir`.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), SavedError> {
        replace(dir, FILE, &self.encode()?)
    }

    /// The file's content.
    pub(crate) fn encode(&self) -> Result<BytesMut, FrameError> {
        let mut bytes = BytesMut::new();
        framing::encode(&self.welcome, &mut bytes)?;
        framing::encode(&self.routes, &mut bytes)?;
        Ok(bytes)
    }

    /// What [`Saved::encode`] wrote; `None` if `bytes` are damaged.
    pub(crate) fn decode(mut bytes: BytesMut) -> Option<Self> {
        let (welcome, routes) = (take(&mut bytes)?, take(&mut bytes)?);
        bytes.is_empty().then_some(Self { welcome, routes })
    }
}

/// The limits kept in `dir`; `None` if none ever were.
pub(crate) fn load_limits(dir: &Path) -> Result<Option<EdgeLimits>, SavedError> {
    let Some((path, mut bytes)) = read(dir, LIMITS_FILE)? else { return Ok(None) };
    let limits = take(&mut bytes).filter(|_| bytes.is_empty());
    limits.map(Some).ok_or(SavedError::Damaged { path })
}

/// Keeps `limits` in `dir`.
pub(crate) fn save_limits(dir: &Path, limits: &EdgeLimits) -> Result<(), SavedError> {
    let mut bytes = BytesMut::new();
    framing::encode(limits, &mut bytes)?;
    replace(dir, LIMITS_FILE, &bytes)
}

fn read(dir: &Path, file: &str) -> Result<Option<(PathBuf, BytesMut)>, SavedError> {
    let path = dir.join(file);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some((path, BytesMut::from(&bytes[..])))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SavedError::Io { path, source }),
    }
}

/// Writes a file so that a crash leaves the old one or the new one, never half of it.
fn replace(dir: &Path, file: &str, bytes: &[u8]) -> Result<(), SavedError> {
    let (path, temporary) = (dir.join(file), dir.join(format!("{file}.new")));
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|source| SavedError::Io { path, source })
}

/// The orchestrators that were last told of; none if nothing readable is kept, which serving tells of.
pub(crate) fn orchestrators(dir: &Path) -> Vec<String> {
    Saved::load(dir).ok().flatten().map(|saved| saved.welcome.orchestrators).unwrap_or_default()
}

fn take<M: Message + Default>(bytes: &mut BytesMut) -> Option<M> {
    framing::take_frame(bytes).ok()?.and_then(|payload| framing::decode(payload).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Saved::load(dir.path()).unwrap().is_none());
        let saved = Saved {
            welcome: EdgeWelcome { flow_key: vec![7; 16].into(), ..Default::default() },
            routes: RouteTable { revision: 9, full: true, ..Default::default() },
        };
        saved.save(dir.path()).unwrap();
        assert_eq!(Saved::load(dir.path()).unwrap(), Some(saved));
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 1);
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Saved::load(dir.path()), Err(SavedError::Damaged { .. })));

        assert!(load_limits(dir.path()).unwrap().is_none());
        let limits = EdgeLimits { deny: vec!["10.0.0.0/8".into()], ..Default::default() };
        save_limits(dir.path(), &limits).unwrap();
        assert_eq!(load_limits(dir.path()).unwrap(), Some(limits));
        fs::write(dir.path().join(LIMITS_FILE), b"junk").unwrap();
        assert!(matches!(load_limits(dir.path()), Err(SavedError::Damaged { .. })));
    }
}
