//! Players in the lab: which way they go, how hard they play, and what came of it.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use serde::de::DeserializeOwned;

use super::parts::{self, BulkReport, PlayersReport};
use crate::harness::process::Process;
use crate::harness::wait::{until, when};
use crate::report::write_file;

/// How much longer than it plays a players' process may take.
const PLAYERS_GRACE: Duration = Duration::from_secs(90);

/// A way from the players to the game server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    /// No proxy: the kernel forwards.
    Direct,
    /// Edge, tunnel, agent.
    Muster,
    /// nginx's stream module.
    Nginx,
    /// quilkin.
    Quilkin,
    /// No proxy, over the bad path.
    DirectImpaired,
}

impl Way {
    /// As people read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "no proxy",
            Self::Muster => "Muster",
            Self::Nginx => "nginx",
            Self::Quilkin => "quilkin",
            Self::DirectImpaired => "no proxy, bad path",
        }
    }
}

/// How hard players play.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Players.
    pub(super) flows: usize,
    /// Packets a second of all of them.
    pub(super) rate: f64,
    /// Bytes of a packet's payload.
    pub(super) payload: usize,
    /// How long.
    pub(super) seconds: f64,
}

/// Players under way, or another part that says when it has begun and reports `R` at its end.
pub(super) struct Playing<R = PlayersReport> {
    process: Process,
    began: PathBuf,
    report: PathBuf,
    deadline: Duration,
    reports: PhantomData<fn() -> R>,
}

impl<R: DeserializeOwned> Playing<R> {
    /// `process` plays for `seconds`: it makes `began` once all flows stand, and `report` at the end.
    pub(super) fn new(process: Process, began: PathBuf, report: PathBuf, seconds: f64) -> Self {
        let deadline = Duration::from_secs_f64(seconds) + PLAYERS_GRACE;
        Self { process, began, report, deadline, reports: PhantomData }
    }

    /// Waits until all flows stand and the play has begun.
    pub(super) async fn begun(&mut self) -> anyhow::Result<()> {
        until("all flows to stand", PLAYERS_GRACE, async || {
            let begun = self.began.is_file();
            if !begun {
                self.process.check_alive()?;
            }
            Ok(when(begun, || "some do not".to_owned()))
        })
        .await
    }

    /// What came of it.
    pub(super) async fn report(mut self) -> anyhow::Result<R> {
        let status = self.process.wait(self.deadline).await?;
        if !status.success() {
            bail!("it ended ({status}); the end of its log:\n{}", self.process.log_tail());
        }
        parts::read(&self.report)
    }
}

/// A bulk flow under way, which lasts until it is ended.
pub(super) struct Bulk {
    flow: Playing<BulkReport>,
    over: PathBuf,
}

impl Bulk {
    /// `flow` ends once the file `over` is there.
    pub(super) fn new(flow: Playing<BulkReport>, over: PathBuf) -> Self {
        Self { flow, over }
    }

    /// Waits until bytes are under way.
    pub(super) async fn begun(&mut self) -> anyhow::Result<()> {
        self.flow.begun().await
    }

    /// Ends it; what it carried.
    ///
    /// # Errors
    /// It had ended before.
    pub(super) async fn end(mut self) -> anyhow::Result<BulkReport> {
        self.flow.process.check_alive()?;
        write_file(&self.over, "it is over")?;
        self.flow.report().await
    }
}
