//! Watches: being told once when a key's value is no longer what it was.
//!
//! It tells that the value differs, not what it is: read it. Who fires it is the driver's matter.

use crate::error::StoreError;
#[cfg(feature = "foundationdb")]
use crate::fdb::FdbWatch;
use crate::local::watches::LocalWatch;

/// Resolves once a key's value differs from what it was when the watch was made.
///
/// A value that changes and changes back in between may go unnoticed. Dropping it releases it.
#[derive(Debug)]
pub struct Watch {
    source: Source,
    outcome: Option<Result<(), StoreError>>,
}

#[derive(Debug)]
enum Source {
    /// It was never made; the outcome says why.
    Refused,
    Local(LocalWatch),
    #[cfg(feature = "foundationdb")]
    Fdb(FdbWatch),
}

impl Watch {
    /// A watch that answers `error`.
    pub(crate) fn refused(error: StoreError) -> Self {
        Self { source: Source::Refused, outcome: Some(Err(error)) }
    }

    pub(crate) fn local(watch: LocalWatch) -> Self {
        Self { source: Source::Local(watch), outcome: None }
    }

    #[cfg(feature = "foundationdb")]
    pub(crate) fn fdb(watch: FdbWatch) -> Self {
        Self { source: Source::Fdb(watch), outcome: None }
    }

    /// Waits until the value differs; returns at once if it already does, and again after it has
    /// returned. Cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::WatchCancelled`] if the transaction that made it did not commit, the store shut
    /// down, or a cluster lost it; then make a new one and look at the value.
    pub async fn changed(&mut self) -> Result<(), StoreError> {
        if self.outcome.is_none() {
            let fired = match &mut self.source {
                Source::Refused => Err(StoreError::WatchCancelled),
                Source::Local(watch) => watch.fired().await,
                #[cfg(feature = "foundationdb")]
                Source::Fdb(watch) => watch.fired().await,
            };
            self.outcome = Some(fired);
        }
        self.outcome.clone().expect("set above")
    }
}
