//! Agents: what each connected one is told, what it reports, the builds it fetches and the logs it sends.
//!
//! A session reads and writes records and nothing else; what follows from a report is `lifecycle`'s to
//! decide, what is wanted of a node is `state`'s to say.

mod blobs;
mod desired;
pub mod logs;
mod reports;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use blobs::serve_build;
#[cfg(test)]
pub(crate) use desired::{Next, Told};
#[cfg(test)]
pub(crate) use reports::{Inbox, apply as apply_reports};
#[cfg(test)]
pub(crate) use session::read_desired;
pub(crate) use session::serve;
