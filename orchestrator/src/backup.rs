//! Backups: everything an installation has, or the definitions of one namespace, in one file.
//!
//! [`format`] is the file; [`take`] writes one of everything, from one version of the store, while the
//! orchestrator goes on; [`restore`] reads it into an empty store. A namespace's is put together from the API's
//! own answers, and restored by the API's own calls, which is the command line's to do: it can so go into another
//! installation, under another name.
//!
//! A file is looked through to its end before anything is written, so one that is cut short or damaged changes
//! nothing.

pub mod format;
mod restore;
mod take;
#[cfg(test)]
mod tests;

pub use restore::{RestoreError, Restored, restore};
pub(crate) use take::take;

pub use crate::records::backup_frames::{Archive, Definition, End, Frame, Header, Row, Rows, frame::Body};
