//! Muster as its users run it: real programs as processes, real containers, conditions with deadlines.
//!
//! Shared by the demo, the benchmarks and the end-to-end tests. Everything started here is stopped
//! here, also when the caller fails half-way.

mod config;
pub mod docker;
pub mod ports;
pub mod process;
mod scrape;
mod signal;
pub mod specs;
pub mod stack;
pub mod steps;
pub mod wait;
