//! Where sockets cannot be handed to another process: nobody ever asks, and there is nobody to ask.

use std::convert::Infallible;
use std::io;
use std::path::Path;

use muster_protocol::edge::EdgeReport;

use super::{Handed, HandoverError};

/// A door that stays shut.
pub(crate) struct Door;

/// Nobody.
pub(crate) struct Successor(Infallible);

/// Nobody.
pub(crate) struct Before(Infallible);

impl Door {
    pub(crate) fn open(_state_dir: &Path) -> io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn asked(&self) -> Successor {
        std::future::pending().await
    }
}

impl Successor {
    pub(crate) async fn give(&mut self, _handed: &Handed) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) async fn release(&mut self) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) async fn report(&mut self, _report: EdgeReport) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) async fn gone(&mut self) {
        match self.0 {}
    }
}

impl Before {
    pub(crate) async fn find(_state_dir: &Path) -> Result<Option<Self>, HandoverError> {
        Ok(None)
    }

    pub(crate) async fn take(&mut self) -> Result<Handed, HandoverError> {
        match self.0 {}
    }

    pub(crate) async fn serving(&mut self) -> Result<(), HandoverError> {
        match self.0 {}
    }

    pub(crate) async fn report(&mut self) -> Option<EdgeReport> {
        match self.0 {}
    }
}
