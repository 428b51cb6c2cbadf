//! The embedded driver: one redb file, one durable write at a time.
//!
//! Two tables: the rows, and what the store knows of itself (format, version of the last batch,
//! written with the batch). After any failure redb refuses to go on with an open file, so the
//! driver opens it again and reads from the version whether the batch is there. It serves one
//! process; redb's file lock sees to that.

use std::fs::{File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{AccessGuard, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, TableDefinition};

use crate::embedded::staged_backend::StagedBackend;
use crate::error::OpenError;
use crate::local::buffer::{Mutation, WriteBuffer};
use crate::local::storage::{Applied, Row, Snapshot, Storage, StorageFailure};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_FORMAT: &str = "format";
const META_VERSION: &str = "version";
/// Number of the layout this module writes.
const FORMAT: u64 = 1;

impl StorageFailure {
    pub(crate) fn of(error: impl Into<redb::Error>) -> Self {
        match error.into() {
            redb::Error::Io(error) => Self::of_io(&error),
            redb::Error::PreviousIo | redb::Error::DatabaseClosed => Self::Closed,
            other => Self::Io(other.to_string()),
        }
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full
            }
            _ => Self::Io(error.to_string()),
        }
    }
}

/// How to open the file.
#[derive(Debug, Clone)]
pub(crate) struct RedbOptions {
    /// Memory for cached pages, in bytes.
    pub(crate) cache_bytes: usize,
    /// Read the whole file at open and compare every checksum.
    pub(crate) verify: bool,
    #[cfg(test)]
    pub(crate) faults: Arc<crate::embedded::faults::Faults>,
}

/// An open store file, or one that is to be opened again.
pub(crate) struct RedbStorage {
    path: PathBuf,
    options: RedbOptions,
    /// `None` after a failure, until [`Storage::recover`] succeeds.
    database: Option<Database>,
    generation: u64,
}

struct RedbSnapshot {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

type Found<'a> = (AccessGuard<'a, &'static [u8]>, AccessGuard<'a, &'static [u8]>);

fn copy_row(row: Result<Found<'_>, redb::StorageError>) -> Result<Row, StorageFailure> {
    let (key, value) = row.map_err(StorageFailure::of)?;
    Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
}

impl Snapshot for RedbSnapshot {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StorageFailure> {
        let value = self.rows.get(key).map_err(StorageFailure::of)?;
        Ok(value.map(|value| Bytes::copy_from_slice(value.value())))
    }

    fn scan(
        &self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
    ) -> Result<Vec<Row>, StorageFailure> {
        let rows = self.rows.range(begin..end).map_err(StorageFailure::of)?;
        if reverse {
            rows.rev().take(limit).map(copy_row).collect()
        } else {
            rows.take(limit).map(copy_row).collect()
        }
    }
}

impl RedbStorage {
    /// Opens the store at `path`, or makes a new one where there is no file.
    pub(crate) fn open(path: &Path, options: RedbOptions) -> Result<Self, OpenError> {
        if !path.try_exists().map_err(|reason| OpenError::Io { path: path.to_owned(), reason })? {
            create(path)?;
        }
        let database = open_file(path, &options, options.verify)?;
        Ok(Self { path: path.to_owned(), options, database: Some(database), generation: 1 })
    }

    fn try_apply(database: &Database, version: u64, batch: &WriteBuffer) -> Result<(), BatchFailure> {
        let before = |error: redb::Error| BatchFailure::BeforeCommit(StorageFailure::of(error));
        let transaction = database.begin_write().map_err(|error| before(error.into()))?;
        {
            let mut rows = transaction.open_table(ROWS).map_err(|error| before(error.into()))?;
            for (begin, end) in batch.cleared() {
                rows.retain_in(begin.as_ref()..end.as_ref(), |_, _| false)
                    .map_err(|error| before(error.into()))?;
            }
            for (key, mutation) in batch.mutations() {
                match mutation {
                    Mutation::Set(value) => {
                        rows.insert(key.as_ref(), value.as_ref()).map_err(|error| before(error.into()))?;
                    }
                    Mutation::Clear => {
                        rows.remove(key.as_ref()).map_err(|error| before(error.into()))?;
                    }
                    Mutation::Atomic(_) | Mutation::Stamped(..) => {
                        unreachable!("the committer stamps and settles a batch before it applies it")
                    }
                }
            }
            let mut meta = transaction.open_table(META).map_err(|error| before(error.into()))?;
            meta.insert(META_VERSION, version).map_err(|error| before(error.into()))?;
        }
        transaction.commit().map_err(|error| BatchFailure::InCommit(StorageFailure::of(error)))
    }
}

/// When a batch failed.
enum BatchFailure {
    BeforeCommit(StorageFailure),
    InCommit(StorageFailure),
}

impl Storage for RedbStorage {
    fn snapshot(&self) -> Result<(u64, Arc<dyn Snapshot>), StorageFailure> {
        let database = self.database.as_ref().ok_or(StorageFailure::Closed)?;
        let transaction = database.begin_read().map_err(StorageFailure::of)?;
        let meta = transaction.open_table(META).map_err(StorageFailure::of)?;
        let version =
            meta.get(META_VERSION).map_err(StorageFailure::of)?.map_or(0, |version| version.value());
        let rows = transaction.open_table(ROWS).map_err(StorageFailure::of)?;
        Ok((version, Arc::new(RedbSnapshot { rows })))
    }

    fn apply(&mut self, version: u64, batch: &WriteBuffer) -> Applied {
        if self.database.is_none()
            && let Err(failure) = self.recover()
        {
            return Applied::Not(failure);
        }
        let database = self.database.as_ref().expect("recovered above");
        let failure = match Self::try_apply(database, version, batch) {
            Ok(()) => return Applied::Durable,
            Err(BatchFailure::BeforeCommit(failure)) => {
                if let Err(after) = self.recover() {
                    tracing::error!(path = %self.path.display(), failure = ?after, "store cannot be reopened");
                }
                return Applied::Not(failure);
            }
            Err(BatchFailure::InCommit(failure)) => failure,
        };
        match self.recover().and_then(|()| self.snapshot()) {
            Ok((found, _)) if found >= version => Applied::Unproven(failure),
            Ok(_) => Applied::Not(failure),
            Err(after) => {
                tracing::error!(path = %self.path.display(), failure = ?after, "store cannot be reopened");
                Applied::Unknown(failure)
            }
        }
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn recover(&mut self) -> Result<(), StorageFailure> {
        // Closing releases the file lock, which the next open takes.
        drop(self.database.take());
        match open_file(&self.path, &self.options, false) {
            Ok(database) => {
                self.database = Some(database);
                self.generation += 1;
                Ok(())
            }
            Err(OpenError::Io { reason, .. }) => Err(StorageFailure::of_io(&reason)),
            Err(other) => Err(StorageFailure::Io(other.to_string())),
        }
    }
}

/// Makes a new store beside `path` and moves it there once it is whole, so that a file at `path`
/// that is empty or cut short is always damage and never a beginning. One that another process has
/// put there meanwhile stays.
fn create(path: &Path) -> Result<(), OpenError> {
    let io = |reason| OpenError::Io { path: path.to_owned(), reason };
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Readable by its owner alone, as temporary files are.
    let fresh = tempfile::Builder::new().prefix(".muster-store-").tempfile_in(directory).map_err(io)?;
    let init = || -> Result<(), redb::Error> {
        let database = Database::create(fresh.path())?;
        let transaction = database.begin_write()?;
        transaction.open_table(ROWS)?;
        transaction.open_table(META)?.insert(META_FORMAT, FORMAT)?;
        transaction.commit()?;
        database.close()?;
        Ok(())
    };
    init().map_err(|error| match error {
        redb::Error::Io(reason) => io(reason),
        other => io(io::Error::other(other.to_string())),
    })?;
    match fresh.persist_noclobber(path) {
        Ok(_) => sync_directory(directory).map_err(io),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(io(error.error)),
    }
}

/// Makes the name of a new file durable, where directories can be synced.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// Opens an existing file, leaving it untouched if it is not sound.
fn open_file(path: &Path, options: &RedbOptions, verify: bool) -> Result<Database, OpenError> {
    let io = |reason| OpenError::Io { path: path.to_owned(), reason };
    let damaged = |reason: String| OpenError::Damaged { path: path.to_owned(), reason };
    #[cfg(test)]
    options.faults.on_open().map_err(io)?;
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(damaged("the file is empty".to_owned()));
    }
    let of_redb = |error: redb::Error| match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            OpenError::InUse { path: path.to_owned() }
        }
        redb::Error::Io(error)
            if !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
        {
            io(error)
        }
        other => damaged(other.to_string()),
    };
    let backend = FileBackend::new(file).map_err(|error: DatabaseError| of_redb(error.into()))?;
    let staged = StagedBackend::new(
        backend,
        #[cfg(test)]
        options.faults.clone(),
    );
    // redb promises errors for a damaged file only where it checks; elsewhere it may panic.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let database = Database::builder()
            .set_cache_size(options.cache_bytes)
            .set_check_integrity_on_open(verify)
            .create_with_backend(staged.clone())
            .map_err(redb::Error::from)?;
        let format = read_format(&database)?;
        Ok::<_, redb::Error>((database, format))
    }));
    let (database, format) = match opened {
        Ok(opened) => opened.map_err(of_redb)?,
        Err(_) => return Err(damaged("its pages do not fit together".to_owned())),
    };
    match format {
        None => return Err(damaged("it is a redb file of another program".to_owned())),
        Some(found) if found > FORMAT => {
            return Err(OpenError::NewerFormat { path: path.to_owned(), found, supported: FORMAT });
        }
        Some(_) => {}
    }
    staged.release().map_err(io)?;
    Ok(database)
}

/// Format number in the file, or `None` where there is no table for it.
fn read_format(database: &Database) -> Result<Option<u64>, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(other) => return Err(other.into()),
    };
    let format = meta.get(META_FORMAT)?.map(|format| format.value());
    Ok(format)
}
