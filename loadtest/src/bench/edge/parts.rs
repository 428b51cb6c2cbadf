//! The programs that stand around the proxy: players, game server, an agent's tunnel, a bad path, a flood, a bulk flow.
//!
//! Each is a process of its own (`muster-loadtest edge-part …`, not for people), so that it lives in its
//! network namespace, on its core, and its CPU time is told apart from the others'. What one is to do and
//! what it found are JSON files.

mod account;
mod bulk;
mod echo;
mod flood;
mod impairer;
mod pace;
mod players;
mod tunnel_end;
mod udp;

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use account::{PLAYERS, Watch};
pub(super) use bulk::{BulkPlan, BulkReport};
pub(super) use flood::FloodPlan;
pub(super) use players::{PlayersPlan, PlayersReport, Seat};
pub(super) use tunnel_end::TunnelPlan;

use crate::report::write_file;

/// Which part to be.
#[derive(clap::Subcommand)]
pub enum Part {
    /// Play, and report what came back
    Players {
        /// What to do
        plan: PathBuf,
        /// Where to write what was found
        report: PathBuf,
    },
    /// Show bogus tokens
    Flood {
        /// What to do
        plan: PathBuf,
    },
    /// Send every packet back
    Echo {
        /// Where to listen
        listen: SocketAddrV4,
    },
    /// Carry bytes both ways over one TCP connection, and report how many
    Bulk {
        /// What to do
        plan: PathBuf,
        /// Where to write what was found
        report: PathBuf,
    },
    /// Be the other end of such connections
    BulkServer {
        /// Where to listen
        listen: SocketAddrV4,
    },
    /// Be the tunnel's end of an agent
    Tunnel {
        /// What to do
        plan: PathBuf,
    },
    /// Be a bad path to an address
    Impairer {
        /// Where to listen
        listen: SocketAddrV4,
        /// Where it leads
        to: SocketAddrV4,
        /// Packets of a hundred that are lost, each way
        loss_pct: f64,
        /// Delay each way, in milliseconds
        delay_ms: u64,
    },
}

impl Part {
    /// Is that part, until it is over or killed.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Players { plan, report } => {
                let plan = read(&plan)?;
                let found = tokio::task::spawn_blocking(move || players::run(&plan)).await??;
                write(&report, &found)
            }
            Self::Flood { plan } => {
                let plan = read(&plan)?;
                tokio::task::spawn_blocking(move || flood::run(&plan)).await?
            }
            Self::Echo { listen } => tokio::task::spawn_blocking(move || echo::run(listen)).await?,
            Self::Bulk { plan, report } => {
                let plan = read(&plan)?;
                let found = tokio::task::spawn_blocking(move || bulk::run(&plan)).await??;
                write(&report, &found)
            }
            Self::BulkServer { listen } => tokio::task::spawn_blocking(move || bulk::serve(listen)).await?,
            Self::Tunnel { plan } => tunnel_end::run(read(&plan)?).await,
            Self::Impairer { listen, to, loss_pct, delay_ms } => {
                tokio::task::spawn_blocking(move || impairer::run(listen, to, loss_pct, delay_ms)).await?
            }
        }
    }
}

/// Writes a plan, or a report.
pub(super) fn write(path: &Path, what: &impl Serialize) -> anyhow::Result<()> {
    write_file(path, &serde_json::to_string(what)?)
}

/// Reads a plan, or a report.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not what it should be", path.display()))
}
