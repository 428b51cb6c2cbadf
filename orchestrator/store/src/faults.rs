//! Commits that go wrong on demand, as a cluster's may, for simulation and the conformance suite.
//!
//! Everything here is what a cluster does of itself on a bad day; a seed decides when.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::driver::{Driver, Work};
use crate::error::StoreError;
use crate::versionstamp::Versionstamp;

/// How often commits go wrong, each as a share of all commits from 0 to 1; the sum is at most 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommitFaults {
    /// Refused as if another transaction had written what it read.
    pub conflict: f64,
    /// Refused as if it had taken longer than a transaction may.
    pub too_old: f64,
    /// Never answered; it is not there and never will be.
    pub unknown_lost: f64,
    /// Never answered; it is there.
    pub unknown_done: f64,
    /// Never answered; it is tried after [`Self::delay`], when its caller has gone on.
    pub unknown_late: f64,
    /// Answered after [`Self::delay`].
    pub stall: f64,
    /// Done although what it read has changed since, which no store does: a planted bug, by which a simulation
    /// shows that it would find one.
    pub blind: f64,
    /// Longest delay; each is a random part of it.
    pub delay: Duration,
}

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    Conflict,
    TooOld,
    UnknownLost,
    UnknownDone,
    UnknownLate(Duration),
    Stall(Duration),
    Blind,
}

/// Decides what goes wrong, from a seed.
pub(crate) struct FaultDice {
    faults: Mutex<CommitFaults>,
    random: Mutex<StdRng>,
}

impl FaultDice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { faults: Mutex::new(CommitFaults::default()), random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    pub(crate) fn set(&self, faults: CommitFaults) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The next commit's fate.
    pub(crate) fn roll(&self) -> Fault {
        let faults = *self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut share, delay) = (random.random::<f64>(), faults.delay.mul_f64(random.random()));
        let fates = [
            (faults.conflict, Fault::Conflict),
            (faults.too_old, Fault::TooOld),
            (faults.unknown_lost, Fault::UnknownLost),
            (faults.unknown_done, Fault::UnknownDone),
            (faults.unknown_late, Fault::UnknownLate(delay)),
            (faults.stall, Fault::Stall(delay)),
            (faults.blind, Fault::Blind),
        ];
        for (odds, fate) in fates {
            if share < odds {
                return fate;
            }
            share -= odds;
        }
        Fault::None
    }

    /// A number from 0 to 1, for the pauses between attempts.
    pub(crate) fn fraction(&self) -> f64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// Random bytes.
    pub(crate) fn name(&self) -> [u8; 16] {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

impl Fault {
    /// Commits `work`, or does not, as this fault has it.
    pub(crate) async fn commit(
        self,
        driver: &Arc<Driver>,
        work: Work,
    ) -> Result<Option<Versionstamp>, StoreError> {
        let unknown = || StoreError::CommitUnknown {
            place: driver.place().to_owned(),
            reason: "the answer was lost on purpose".to_owned(),
        };
        match self {
            Self::None => driver.commit(work).await,
            Self::Conflict => Err(StoreError::Conflict),
            Self::TooOld => Err(StoreError::TransactionTooOld),
            Self::UnknownLost => Err(unknown()),
            Self::UnknownDone => {
                // Done or refused: its caller does not learn which.
                let _ = driver.commit(work).await;
                Err(unknown())
            }
            Self::UnknownLate(delay) => {
                let unknown = unknown();
                let driver = driver.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    // Done or refused: nobody waits for it any more.
                    let _ = driver.commit(work).await;
                });
                Err(unknown)
            }
            Self::Stall(delay) => {
                tokio::time::sleep(delay).await;
                driver.commit(work).await
            }
            Self::Blind => driver.commit(work.blinded()).await,
        }
    }
}
