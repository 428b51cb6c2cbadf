//! Which driver is underneath: one enum for the store, one for a transaction's work, one for a version.
//!
//! Handing on and nothing else. A driver decides who wins and makes it durable; limits, retries and
//! idempotency are above it and the same for all.

use bytes::Bytes;

use crate::admission::Admission;
use crate::atomic::AtomicOp;
use crate::error::StoreError;
#[cfg(feature = "foundationdb")]
use crate::fdb;
use crate::local::conflicts::ConflictRanges;
use crate::local::storage::Row;
use crate::local::{Local, LocalVersion, work};
use crate::versionstamp::{Template, Versionstamp};
use crate::watch::Watch;

/// A store's driver.
pub(crate) enum Driver {
    /// A file of this process.
    Embedded(Local),
    /// Memory of this process.
    Memory(Local),
    /// A FoundationDB cluster.
    #[cfg(feature = "foundationdb")]
    Fdb(fdb::Cluster),
}

/// What one transaction gathered.
pub(crate) enum Work {
    Local(Box<work::Work>),
    #[cfg(feature = "foundationdb")]
    Fdb(Box<fdb::Work>),
}

/// A version to begin at again.
#[derive(Clone)]
pub(crate) enum DriverVersion {
    Local(LocalVersion),
    #[cfg(feature = "foundationdb")]
    Fdb(i64),
}

impl DriverVersion {
    #[cfg_attr(
        not(feature = "foundationdb"),
        expect(clippy::unnecessary_wraps, reason = "it may be another")
    )]
    fn local(self) -> Option<LocalVersion> {
        match self {
            Self::Local(version) => Some(version),
            #[cfg(feature = "foundationdb")]
            Self::Fdb(_) => None,
        }
    }

    /// Which bucket of markers it belongs to: about a minute of a cluster's versions, which run at a
    /// million a second; of a memory store's, one a commit, as many as no run outlasts.
    pub(crate) fn marker_bucket(&self) -> u64 {
        match self {
            Self::Local(version) => version.version() >> 16,
            #[cfg(feature = "foundationdb")]
            Self::Fdb(version) => version.cast_unsigned() >> 26,
        }
    }

    /// Its number, greater for later ones.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Local(version) => version.version(),
            #[cfg(feature = "foundationdb")]
            Self::Fdb(version) => version.cast_unsigned(),
        }
    }
}

impl Work {
    /// The same, as if it had read nothing.
    pub(crate) fn blinded(self) -> Self {
        match self {
            Self::Local(mut work) => {
                work.reads = ConflictRanges::default();
                Self::Local(work)
            }
            #[cfg(feature = "foundationdb")]
            other @ Self::Fdb(_) => other,
        }
    }
}

impl Driver {
    /// A transaction that reads at `at`, which came from this driver, or at the latest version.
    #[cfg_attr(not(feature = "foundationdb"), expect(clippy::unused_async, reason = "a cluster is asked"))]
    pub(crate) async fn begin(&self, read_only: bool, at: Option<DriverVersion>) -> Result<Work, StoreError> {
        let local = match self {
            Self::Embedded(local) | Self::Memory(local) => local,
            #[cfg(feature = "foundationdb")]
            Self::Fdb(cluster) => {
                let at = at.and_then(|at| if let DriverVersion::Fdb(at) = at { Some(at) } else { None });
                return cluster.begin(read_only, at).await.map(|work| Work::Fdb(Box::new(work)));
            }
        };
        local.begin(read_only, at.and_then(DriverVersion::local)).map(|work| Work::Local(Box::new(work)))
    }

    /// Commits; the versionstamp if there was anything to write.
    pub(crate) async fn commit(&self, work: Work) -> Result<Option<Versionstamp>, StoreError> {
        match (self, work) {
            (Self::Embedded(local) | Self::Memory(local), Work::Local(work)) => local.commit(work).await,
            #[cfg(feature = "foundationdb")]
            (Self::Fdb(cluster), Work::Fdb(work)) => cluster.commit(*work).await,
            #[cfg(feature = "foundationdb")]
            _ => unreachable!("a transaction is committed by the driver that began it"),
        }
    }

    /// Takes note of reads that failed because of the driver.
    pub(crate) fn note_failed_reads(&self, work: &Work) {
        if let (Self::Embedded(local), Work::Local(work)) = (self, work) {
            local.note_failed_reads(work);
        }
    }

    /// Whether an answer to a commit may be lost while the store goes on, so that runs need markers. A
    /// file's is lost only with the disk under it, which no marker would outlive.
    pub(crate) fn loses_answers(&self) -> bool {
        !matches!(self, Self::Embedded(_))
    }

    pub(crate) async fn shutdown(&self) {
        match self {
            Self::Embedded(local) | Self::Memory(local) => local.shutdown().await,
            #[cfg(feature = "foundationdb")]
            Self::Fdb(cluster) => cluster.shutdown(),
        }
    }

    /// What the store calls itself.
    pub(crate) fn place(&self) -> &str {
        match self {
            Self::Embedded(local) | Self::Memory(local) => local.place(),
            #[cfg(feature = "foundationdb")]
            Self::Fdb(cluster) => cluster.place(),
        }
    }
}

/// Calls the same method on whichever work it is.
macro_rules! hand_on {
    ($self:ident, $work:ident => $call:expr) => {
        match $self {
            Work::Local($work) => $call,
            #[cfg(feature = "foundationdb")]
            Work::Fdb($work) => $call,
        }
    };
}

impl Work {
    pub(crate) fn admission(&mut self) -> &mut Admission {
        hand_on!(self, work => &mut work.admission)
    }

    pub(crate) fn writes_nothing(&self) -> bool {
        hand_on!(self, work => work.writes_nothing())
    }

    #[cfg_attr(not(feature = "foundationdb"), expect(clippy::unused_async, reason = "a cluster is asked"))]
    pub(crate) async fn read_version(&mut self) -> Result<DriverVersion, StoreError> {
        match self {
            Self::Local(work) => Ok(DriverVersion::Local(work.snapshot.clone())),
            #[cfg(feature = "foundationdb")]
            Self::Fdb(work) => work.read_version().await.map(DriverVersion::Fdb),
        }
    }

    #[cfg_attr(not(feature = "foundationdb"), expect(clippy::unused_async, reason = "a cluster is asked"))]
    pub(crate) async fn get(&mut self, key: &[u8], conflict: bool) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Local(work) => work.get(key, conflict),
            #[cfg(feature = "foundationdb")]
            Self::Fdb(work) => work.get(key, conflict).await,
        }
    }

    pub(crate) async fn get_range(
        &mut self,
        begin: &[u8],
        end: &[u8],
        limit: usize,
        reverse: bool,
        conflict: bool,
    ) -> Result<Vec<Row>, StoreError> {
        hand_on!(self, work => work.get_range(begin, end, limit, reverse, conflict).await)
    }

    pub(crate) fn set(&mut self, key: &[u8], value: &[u8]) {
        hand_on!(self, work => work.set(key, value));
    }

    pub(crate) fn clear(&mut self, key: &[u8]) {
        hand_on!(self, work => work.clear(key));
    }

    pub(crate) fn clear_range(&mut self, begin: &[u8], end: &[u8]) {
        hand_on!(self, work => work.clear_range(begin, end));
    }

    pub(crate) fn atomic(&mut self, op: AtomicOp, key: &[u8], operand: &[u8]) {
        hand_on!(self, work => work.atomic(op, key, operand));
    }

    pub(crate) fn set_stamped_key(&mut self, key: Template, value: &[u8]) {
        hand_on!(self, work => work.set_stamped_key(key, value));
    }

    pub(crate) fn set_stamped_value(&mut self, key: &[u8], value: Template) {
        hand_on!(self, work => work.set_stamped_value(key, value));
    }

    /// Has the commit tell the versionstamp; the local drivers always do.
    pub(crate) fn want_versionstamp(&mut self) {
        match self {
            Self::Local(_) => {}
            #[cfg(feature = "foundationdb")]
            Self::Fdb(work) => work.want_versionstamp(),
        }
    }

    pub(crate) fn add_read_conflict(&mut self, begin: &[u8], end: &[u8]) {
        hand_on!(self, work => work.note_read_range(begin, end));
    }

    pub(crate) fn add_write_conflict(&mut self, begin: &[u8], end: &[u8]) {
        hand_on!(self, work => work.add_write_conflict(begin, end));
    }

    pub(crate) fn watch(&mut self, key: &[u8]) -> Watch {
        hand_on!(self, work => work.watch(key))
    }
}
