//! Crashes on purpose: processes killed at random moments while players and studios are at work, and every
//! promise held against what is there afterwards.
//!
//! ```text
//! load      players and a studio, who write down what was acknowledged to them
//! killer    kills a process at random, starts it again, waits until it is back
//! ledger    what was acknowledged, held against what is: pure
//! audit     what is: read from the API and from Docker
//! ```

pub mod audit;
pub mod killer;
pub mod ledger;
pub mod load;
