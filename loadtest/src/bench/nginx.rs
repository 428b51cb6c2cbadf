//! nginx's stream module as a UDP proxy: the yardstick of the edge benchmark.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::harness::process::Process;
use crate::harness::wait::{until, when};
use crate::report::write_file;

/// Where Debian and most others put the program.
const PROGRAM: &str = "/usr/sbin/nginx";
/// Where Debian puts the module; built into the program elsewhere.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
/// How long it may take to start.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// Starts nginx with one worker, as a UDP proxy from `ports` on loopback to `target` (`host:port`).
///
/// nginx knows a session by the client's address and the port it came to: a port for each round keeps a
/// client address that is used again from going on with a session of an earlier round.
pub(super) async fn start(dir: &Path, ports: &[u16], target: &str) -> anyhow::Result<Process> {
    ensure!(
        Path::new(PROGRAM).is_file(),
        "{PROGRAM} is not there; `make bench` installs it on Debian (packages nginx and libnginx-mod-stream)"
    );
    let dir = std::path::absolute(dir)?;
    let pid_file = dir.join("nginx.pid");
    let _ = std::fs::remove_file(&pid_file);
    let module = if Path::new(MODULE).is_file() { format!("load_module {MODULE};\n") } else { String::new() };
    let listen = ports.iter().map(|port| format!("    listen 127.0.0.1:{port} udp;\n"));
    let listen = listen.collect::<Vec<_>>().concat();
    let text = format!(
        "{module}daemon off;\nworker_processes 1;\nerror_log stderr warn;\npid {};\n\
         events {{ worker_connections 8192; }}\n\
         stream {{\n  server {{\n{listen}    proxy_pass {target};\n    \
         proxy_timeout 60s;\n  }}\n}}",
        pid_file.display()
    );
    let config = dir.join("nginx.conf");
    write_file(&config, &text)?;
    let args: [OsString; 4] = ["-p".into(), dir.clone().into(), "-c".into(), config.into()];
    let mut process = Process::start("nginx", Path::new(PROGRAM), &args, &dir.join("nginx.log"))?;
    until("nginx to start", START_DEADLINE, async || {
        process.check_alive()?;
        Ok(when(pid_file.is_file(), || "it has not written its pid file".to_owned()))
    })
    .await
    .context("the yardstick does not run")?;
    Ok(process)
}
