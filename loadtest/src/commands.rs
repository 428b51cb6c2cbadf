//! The commands, one file each.

mod bench;
mod bots;
mod crash;
mod demo;
#[cfg(target_os = "linux")]
mod edge_part;
#[cfg(target_os = "linux")]
mod edge_soak;
mod engine_at_rest;
mod godot;
mod sdk_conformance;
mod sdk_driver;

use std::process::ExitCode;

use anyhow::Context as _;

/// What to do.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Send bots through a running Muster: match, connect, play, check every answer
    Bots(bots::Options),
    /// Run a whole Muster on this machine, play on it, and stop it again
    Demo(demo::Options),
    /// Kill processes at random under load; nothing may be lost, nothing double
    Crash(crash::Options),
    /// Measure; figures go to the terminal and to JSON files
    Bench(bench::Options),
    /// Play through the edge at a steady load for long; memory must stay flat, and nothing be mixed
    #[cfg(target_os = "linux")]
    EdgeSoak(edge_soak::Options),
    /// Be a part of the edge's benchmark
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    EdgePart(edge_part::Options),
    /// Hold a store of sleeping workflows, for the engine's benchmark
    #[command(hide = true)]
    EngineAtRest(engine_at_rest::Options),
    /// Hold any SDK, by its driver, against recorded answers and a whole Muster
    SdkConformance(sdk_conformance::Options),
    /// The Rust client's driver for `sdk-conformance`, which starts it
    #[command(hide = true)]
    SdkDriver(sdk_driver::Options),
    /// Play an unmodified Godot game through a whole Muster on this machine
    Godot(godot::Options),
}

impl Command {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Bots(options) => bots::run(options).await,
            Self::Demo(options) => demo::run(options).await,
            Self::Crash(options) => crash::run(options).await,
            Self::Bench(options) => bench::run(options).await,
            #[cfg(target_os = "linux")]
            Self::EdgeSoak(options) => edge_soak::run(options).await,
            #[cfg(target_os = "linux")]
            Self::EdgePart(options) => edge_part::run(options).await,
            Self::EngineAtRest(options) => engine_at_rest::run(options).await,
            Self::SdkDriver(options) => sdk_driver::run(options).await,
            Self::SdkConformance(options) => sdk_conformance::run(options).await,
            Self::Godot(options) => godot::run(options).await,
        }
    }
}

/// The program `muster`: the one given, or the one beside this program.
fn beside(muster: Option<std::path::PathBuf>) -> anyhow::Result<std::path::PathBuf> {
    let muster = match muster {
        Some(muster) => muster,
        None => std::env::current_exe().context("cannot find this program's place")?.with_file_name("muster"),
    };
    Ok(std::path::absolute(muster)?)
}

/// Ends when the person at the terminal or the system says so.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
