//! Load, benchmarks and end-to-end checks for Muster, from where players and studios stand.
//!
//! Bots play through the public API and the edge's public ports; the harness runs the real programs
//! as processes and kills them when a test says so. It imports neither orchestrator nor agent nor
//! edge, so what passes here passes for anyone.

pub mod beacons;
pub mod bench;
pub mod bot;
pub mod bots;
pub mod conformance;
pub mod crash;
pub mod exchange;
pub mod godot;
pub mod harness;
pub mod latency;
pub mod link;
pub mod report;
pub mod summary;
pub mod wire;
