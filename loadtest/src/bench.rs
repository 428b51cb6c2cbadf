//! Benchmarks: figures in one schema, every yardstick measured in the same run.

pub mod figures;
