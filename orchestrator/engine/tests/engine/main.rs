//! The engine as its users meet it: over the store in memory with a clock that tests move, with commits
//! that go wrong on demand, and over the embedded store.
//!
//! What only concerns one module is tested beside it.

mod codes;
mod embedded;
mod failures;
mod golden;
mod nudges;
mod once;
mod questions;
mod rows;
mod steps;
mod support;
mod timers;
mod unreadable;
mod waiting;
mod workers;
mod zones;
