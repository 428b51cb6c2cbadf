//! Conformance of SDKs: drives any SDK through the protocol of `docs/sdk/conformance.md`, and judges what it does.
//!
//! Recorded cases need nothing but the driver: this tool plays orchestrator, edge or agent, and misbehaves. Live cases play
//! on a whole Muster. The Rust client takes part by a driver of its own, as any SDK does.

pub mod cases;
pub mod driver;
pub mod live;
pub mod play;
pub mod recorded;
pub mod rust_driver;
