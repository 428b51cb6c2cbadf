//! What makes a store an installation: its authority, its first admin token, its first namespace.
//!
//! Made once, at the first start, in one transaction; found again at every other. The admin token's
//! text is in a file before its hash is in the store, so that a crash in between leaves a file that the
//! next start replaces, and never an installation nobody can enter.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use muster_protocol::api::Role;
use muster_store::{Database, StoreError, Transaction};

use crate::api::credentials;
use crate::authority::{Authority, AuthorityError};
use crate::keyspace;
use crate::records::{AuthorityRecord, FlowKeyRecord, NamespaceRecord, SigningKeyRecord};
use crate::state::{self, StateError, kv};

/// The namespace there is from the first start on.
pub const FIRST_NAMESPACE: &str = "default/dev";
/// File under `data_dir` that holds the first admin token.
pub const ADMIN_TOKEN_FILE: &str = "admin-token";
/// Most signing keys that are looked at: the one in use and those it has replaced.
const MAX_SIGNING_KEYS: usize = 16;
/// Bytes of a region's flow key.
const FLOW_KEY_BYTES: usize = 16;

/// Why an installation cannot be made or found.
#[derive(Debug, thiserror::Error)]
pub enum InstallationError {
    /// The store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A restore was cut off.
    #[error(
        "a restore into this store was cut off, and it holds a part only; run `muster backup restore` again"
    )]
    HalfRestored,
    /// The authority cannot be made or used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The admin token cannot be written down.
    #[error(
        "cannot write the first admin token to {path}: {source}; make room, and check that this user may \
         write data_dir"
    )]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl From<StoreError> for InstallationError {
    fn from(error: StoreError) -> Self {
        Self::State(error.into())
    }
}

/// The authority of the installation in `db`, which is made if there is none yet.
pub(crate) async fn open(
    db: &Database,
    data_dir: &Path,
    now_ms: u64,
) -> Result<Authority, InstallationError> {
    let restoring = db.read("restoring", async |mut tx| tx.get(&keyspace::restoring()).await).await?;
    if restoring.is_some() {
        return Err(InstallationError::HalfRestored);
    }
    if let Some((authority, key)) = db.read("find installation", async |mut tx| find(&mut tx).await).await? {
        return Ok(Authority::from_records(&authority, &key)?);
    }
    let (authority, key) = Authority::generate(now_ms)?;
    let (token, text) = credentials::mint(Role::Admin, None, "made at the first start", None, now_ms);
    let path = data_dir.join(ADMIN_TOKEN_FILE);
    write_secret(&path, &text)
        .map_err(|source| InstallationError::TokenFile { path: path.clone(), source })?;
    let found = db
        .run("make installation", async |mut tx| {
            // Another orchestrator on the same store may have been faster.
            if let Some(found) = find(&mut tx).await? {
                return Ok::<_, StateError>(Some(found));
            }
            kv::save(&mut tx, &keyspace::authority(), &authority);
            kv::save(&mut tx, &keyspace::signing_key(&key.key_id), &key);
            state::tokens::save(&mut tx, &token);
            let namespace = NamespaceRecord { name: FIRST_NAMESPACE.to_owned(), created_at_ms: now_ms };
            state::namespaces::save(&mut tx, &namespace);
            Ok(None)
        })
        .await?;
    let (authority, key) = match found {
        None => {
            tracing::info!(path = %path.display(), "new installation; its admin token is in this file");
            (authority, key)
        }
        Some(found) => {
            // Ours was never saved, so the file holds a token that opens nothing.
            let _ = fs::remove_file(&path);
            found
        }
    };
    Ok(Authority::from_records(&authority, &key)?)
}

async fn find(tx: &mut Transaction) -> Result<Option<(AuthorityRecord, SigningKeyRecord)>, StateError> {
    let Some(authority) = kv::load(tx, &keyspace::authority()).await? else { return Ok(None) };
    let keys = kv::list::<SigningKeyRecord>(tx, &keyspace::signing_keys(), MAX_SIGNING_KEYS).await?;
    let newest = keys.into_iter().map(|(_, key)| key).max_by_key(|key| key.created_at_ms);
    Ok(newest.map(|key| (authority, key)))
}

/// The key of `region`'s flow ids, made when it is first asked for.
pub(crate) async fn flow_key(db: &Database, region: &str) -> Result<[u8; FLOW_KEY_BYTES], StateError> {
    let fresh: [u8; FLOW_KEY_BYTES] = rand::random();
    db.run("flow key", async |mut tx| {
        let at = keyspace::flow_key(region);
        let kept: Option<FlowKeyRecord> = kv::load(&mut tx, &at).await?;
        // One of another length can only be damage; a new one costs flows their ids once.
        if let Some(key) = kept.and_then(|record| record.key.try_into().ok()) {
            return Ok(key);
        }
        kv::save(&mut tx, &at, &FlowKeyRecord { key: fresh.to_vec() });
        Ok(fresh)
    })
    .await
}

/// Writes `text` to `path`, readable by its owner only, whole or not at all.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if cfg!(unix)
        && let Some(directory) = path.parent()
    {
        fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::credentials::Shown;
    use muster_store::OpenOptions as StoreOptions;

    fn store(directory: &Path) -> Database {
        Database::open(&directory.join("store.redb"), StoreOptions::default()).expect("opened")
    }

    #[tokio::test]
    async fn the_first_start_makes_it_and_the_second_finds_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = store(directory.path());
        let made = open(&db, directory.path(), 1_000).await.expect("made");
        let path = directory.path().join(ADMIN_TOKEN_FILE);
        let text = fs::read_to_string(&path).expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
        let shown = Shown::parse(text.trim()).expect("a token");
        let record = db
            .read("test", async |mut tx| state::tokens::load(&mut tx, shown.id).await)
            .await
            .expect("readable")
            .expect("kept");
        assert!(shown.proves(&record));
        fs::remove_file(&path).expect("an operator puts it elsewhere");
        let found = open(&db, directory.path(), 2_000).await.expect("found");
        assert_eq!(found.fingerprint(), made.fingerprint());
        assert!(!path.exists(), "a second start makes no second token");
        db.shutdown().await;
    }

    #[tokio::test]
    async fn two_first_starts_at_once_make_one_installation() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = store(directory.path());
        let other = tempfile::tempdir().expect("a directory");
        let (one, two) = tokio::join!(open(&db, directory.path(), 1_000), open(&db, other.path(), 1_000));
        assert_eq!(one.expect("made").fingerprint(), two.expect("found").fingerprint());
        let files = [directory.path(), other.path()].map(|path| path.join(ADMIN_TOKEN_FILE).exists());
        assert_eq!(files.iter().filter(|there| **there).count(), 1);
        db.shutdown().await;
    }

    #[tokio::test]
    async fn a_region_keeps_its_flow_key() {
        let directory = tempfile::tempdir().expect("a directory");
        let db = store(directory.path());
        let first = flow_key(&db, "eu").await.expect("made");
        assert_eq!(flow_key(&db, "eu").await.expect("found"), first);
        assert_ne!(flow_key(&db, "us").await.expect("made"), first);
        db.shutdown().await;
    }
}
