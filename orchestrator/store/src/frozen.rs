//! The whole database at one version, read for as long as it takes: for backups.
//!
//! A transaction is over after [`crate::limits::TRANSACTION_LIFETIME`]. The local drivers can keep a version
//! for longer, at the price of the space that is written over meanwhile; a cluster cannot.

use bytes::Bytes;

use crate::driver::{Driver, DriverVersion};
use crate::error::StoreError;
use crate::limits::KEYSPACE_END;

/// One version of the database.
pub struct Frozen(Inner);

enum Inner {
    Local {
        snapshot: std::sync::Arc<dyn crate::local::storage::Snapshot>,
        place: String,
    },
    #[cfg(feature = "foundationdb")]
    Cluster(crate::driver::Work),
}

impl Frozen {
    pub(crate) async fn of(driver: &Driver) -> Result<Self, StoreError> {
        let mut work = driver.begin(true, None).await?;
        match work.read_version().await? {
            DriverVersion::Local(version) => {
                let snapshot = version.data()?;
                Ok(Self(Inner::Local { snapshot, place: driver.place().to_owned() }))
            }
            #[cfg(feature = "foundationdb")]
            DriverVersion::Fdb(_) => Ok(Self(Inner::Cluster(work))),
        }
    }

    /// At most `limit` rows from key `from` on, in order.
    ///
    /// # Errors
    /// [`StoreError::TransactionTooOld`] on a cluster, once [`crate::limits::TRANSACTION_LIFETIME`] is over; what
    /// a read can answer.
    #[cfg_attr(not(feature = "foundationdb"), expect(clippy::unused_async, reason = "a cluster is asked"))]
    pub async fn page(&mut self, from: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        match &mut self.0 {
            Inner::Local { snapshot, place } => {
                snapshot.scan(from, KEYSPACE_END, limit, false).map_err(|failure| failure.into_error(place))
            }
            #[cfg(feature = "foundationdb")]
            Inner::Cluster(work) => work.get_range(from, KEYSPACE_END, limit, false, false).await,
        }
    }
}
