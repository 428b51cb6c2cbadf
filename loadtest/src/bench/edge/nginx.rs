//! nginx's stream module as a UDP proxy: the yardstick of the edge benchmark.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::lab::{Lab, Place};
use crate::harness::process::Process;
use crate::harness::wait::{until, when};
use crate::report::write_file;

/// Where Debian and most others put the program.
const PROGRAM: &str = "/usr/sbin/nginx";
/// Where Debian puts the module; built into the program elsewhere.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// How long it may take to start.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Starts nginx with one worker in the lab, as a UDP proxy from `listen` to `target`.
pub(super) async fn start(
    lab: &Lab,
    dir: &Path,
    listen: SocketAddrV4,
    target: SocketAddrV4,
) -> anyhow::Result<Process> {
    ensure!(
        Path::new(PROGRAM).is_file(),
        "{PROGRAM} is not there; `make bench-edge` installs it on Debian (packages nginx and libnginx-mod-stream)"
    );
    let pid_file = dir.join("nginx.pid");
    let _ = std::fs::remove_file(&pid_file);
    let module = if Path::new(MODULE).is_file() { format!("load_module {MODULE};\n") } else { String::new() };
    let text = format!(
        "{module}daemon off;\nworker_processes 1;\nerror_log stderr warn;\npid {};\n\
         events {{ worker_connections 16384; }}\n\
         stream {{\n  server {{\n    listen {listen} udp;\n    proxy_pass {target};\n    \
         proxy_timeout 60s;\n  }}\n}}",
        pid_file.display()
    );
    let config = dir.join("nginx.conf");
    write_file(&config, &text)?;
    let args: [OsString; 5] = [PROGRAM.into(), "-p".into(), dir.into(), "-c".into(), config.into()];
    let (program, args) = lab.command(Place::Proxy, args);
    let mut process = Process::start("nginx", &program, &args, &dir.join("nginx.log"))?;
    until("nginx to start", START_DEADLINE, async || {
        process.check_alive()?;
        Ok(when(pid_file.is_file(), || "it has not written its pid file".to_owned()))
    })
    .await
    .context("the yardstick does not run")?;
    Ok(process)
}
