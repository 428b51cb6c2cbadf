//! The embedded driver: one file, one process.
//!
//! `redb_storage` keeps the rows, `staged_backend` guards the file while it is opened.

#[cfg(test)]
mod failure_tests;
#[cfg(test)]
pub(crate) mod faults;
pub(crate) mod redb_storage;
pub(crate) mod staged_backend;
