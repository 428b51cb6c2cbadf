//! Players in the lab: which way they go, how hard they play, and what came of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use super::parts::{self, PlayersReport};
use crate::harness::process::Process;
use crate::harness::wait::{until, when};

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

/// Players under way.
pub(super) struct Playing {
    process: Process,
    began: PathBuf,
    report: PathBuf,
    deadline: Duration,
}

impl Playing {
    /// `process` plays `load`: it makes `began` once all flows stand, and `report` at the end.
    pub(super) fn new(process: Process, began: PathBuf, report: PathBuf, load: Load) -> Self {
        let deadline = Duration::from_secs_f64(load.seconds) + PLAYERS_GRACE;
        Self { process, began, report, deadline }
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
    pub(super) async fn report(mut self) -> anyhow::Result<PlayersReport> {
        let status = self.process.wait(self.deadline).await?;
        if !status.success() {
            bail!("the players ended ({status}); the end of their log:\n{}", self.process.log_tail());
        }
        parts::read(&self.report)
    }
}
