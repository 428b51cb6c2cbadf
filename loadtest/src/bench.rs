//! Benchmarks: figures in one schema, every yardstick measured in the same run.

pub mod alloc;
mod bare_redb;
#[cfg(target_os = "linux")]
pub mod edge;
pub mod engine;
pub mod figures;
pub mod matchmaking;
mod relay;
pub mod stand_in;
pub mod start;
pub mod store;
mod usage;

use std::path::PathBuf;

/// What every benchmark is told.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// The program `muster`.
    pub muster: PathBuf,
    /// The example game server's image, in this machine's Docker.
    pub image: String,
    /// Directory for results, logs and state.
    pub out: PathBuf,
}
