//! Where a store is: what an operator writes, read into what is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::database::{Database, OpenOptions};
use crate::error::OpenError;
use crate::limits::MAX_PREFIX_BYTES;

/// The word for the embedded store.
const EMBEDDED: &str = "embedded";
/// What a cluster's location begins with.
const CLUSTER: &str = "fdb:";
/// What separates a cluster's file from its prefix.
const PREFIX: &str = "?prefix=";
/// Prefix in a cluster, unless set.
const DEFAULT_PREFIX: &str = "muster/";

/// A store's place: `embedded`, or `fdb:CLUSTER_FILE`, or `fdb:CLUSTER_FILE?prefix=PREFIX`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreLocation {
    /// A file in the directory of the process.
    #[default]
    Embedded,
    /// A FoundationDB cluster.
    Cluster {
        /// The cluster file.
        file: PathBuf,
        /// What all keys begin with, so that several installations share a cluster.
        prefix: String,
    },
}

/// A location that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no store; write \"embedded\", or \"fdb:\" and the path of a FoundationDB cluster file, \
     perhaps with \"?prefix=\" and at most 100 bytes behind it"
)]
pub struct InvalidLocation(String);

impl FromStr for StoreLocation {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        if text == EMBEDDED {
            return Ok(Self::Embedded);
        }
        let refuse = || InvalidLocation(text.to_owned());
        let cluster = text.strip_prefix(CLUSTER).ok_or_else(refuse)?;
        let (file, prefix) = cluster.split_once(PREFIX).unwrap_or((cluster, DEFAULT_PREFIX));
        if file.is_empty() || file.contains('?') || prefix.is_empty() || prefix.len() > MAX_PREFIX_BYTES {
            return Err(refuse());
        }
        Ok(Self::Cluster { file: file.into(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str(EMBEDDED),
            Self::Cluster { file, prefix } if prefix == DEFAULT_PREFIX => {
                write!(f, "{CLUSTER}{}", file.display())
            }
            Self::Cluster { file, prefix } => write!(f, "{CLUSTER}{}{PREFIX}{prefix}", file.display()),
        }
    }
}

impl Database {
    /// Opens the store at `location`; `file` is where an embedded one lies.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::NoDriver`] for a cluster if this program was built without the driver.
    pub async fn open_location(
        location: &StoreLocation,
        file: &Path,
        options: OpenOptions,
    ) -> Result<Self, OpenError> {
        match location {
            StoreLocation::Embedded => {
                let path = file.to_owned();
                match tokio::task::spawn_blocking(move || Self::open(&path, options)).await {
                    Ok(opened) => opened,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            }
            #[cfg(feature = "foundationdb")]
            StoreLocation::Cluster { file, prefix } => Self::open_cluster(file, prefix.as_bytes()).await,
            #[cfg(not(feature = "foundationdb"))]
            StoreLocation::Cluster { .. } => Err(OpenError::NoDriver),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_survive_their_text() {
        for text in ["embedded", "fdb:/etc/foundationdb/fdb.cluster", "fdb:fdb.cluster?prefix=arena/"] {
            let location: StoreLocation = text.parse().expect("a location");
            assert_eq!(location.to_string(), text);
        }
        for text in ["", "redb", "fdb:", "fdb:?prefix=a", "fdb:file?prefix=", "FDB:file"] {
            let error = text.parse::<StoreLocation>().expect_err("no location").to_string();
            assert!(error.contains("cluster file"), "{error}");
        }
    }
}
