//! quilkin as a UDP proxy: the second yardstick of the edge benchmark. Left out where it is not installed.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use super::lab::{Lab, Place};
use crate::harness::process::Process;

/// The version that figures are compared with.
pub(super) const VERSION: &str = "0.10.0";

/// Where the program is, if it is installed: beside cargo's programs, or on the path.
pub(super) fn find() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = std::env::home_dir().map(|home| home.join(".cargo"));
    let cargo = [cargo, home].into_iter().flatten().map(|dir| dir.join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).chain(cargo).collect();
    dirs.into_iter().map(|dir| dir.join("quilkin")).find(|program| program.is_file())
}

/// Starts it in the lab with one worker, from `port` of every address to `target`.
pub(super) fn start(
    lab: &Lab,
    program: &Path,
    dir: &Path,
    port: u16,
    target: SocketAddrV4,
) -> anyhow::Result<Process> {
    let args: Vec<OsString> = vec![
        program.into(),
        "--admin.enabled=false".into(),
        "--service.udp".into(),
        format!("--service.udp.port={port}").into(),
        "--service.udp.workers=1".into(),
        format!("--provider.static.endpoints={target}").into(),
    ];
    let (program, args) = lab.command(Place::Proxy, args);
    Process::start("quilkin", &program, &args, &dir.join("quilkin.log"))
}
