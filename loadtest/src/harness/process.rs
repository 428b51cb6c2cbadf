//! One program run as a process, its output in a log file.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::{Child, Command};

use super::signal;

/// Bytes of a log that an error quotes, from its end.
const TAIL_BYTES: usize = 2_000;

/// A process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program`; output is appended to the file `log`.
    ///
    /// Variables named `MUSTER_*` are kept from it: they would override its configuration file.
    pub fn start(name: &str, program: &Path, args: &[OsString], log: &Path) -> anyhow::Result<Self> {
        let child = spawn(program, args, log).with_context(|| format!("cannot start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            program: program.to_owned(),
            args: args.to_vec(),
            log: log.to_owned(),
            child,
        })
    }

    /// Starts the same program once more beside it, with `more` arguments, which it may have been started with itself.
    pub fn start_another(&self, more: &[OsString]) -> anyhow::Result<Self> {
        let own = self.args.strip_suffix(more).unwrap_or(&self.args);
        Self::start(&self.name, &self.program, &[own, more].concat(), &self.log)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// An error with the log's end if it is not running any more.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!(
                    "{} ended ({status}); the end of {}:\n{}",
                    self.name,
                    self.log.display(),
                    self.log_tail()
                )
            }
        }
    }

    /// Kills it as a power failure would: no handler runs.
    pub async fn kill9(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("cannot kill {}", self.name))
    }

    /// Starts it anew, with the same arguments, after it ended or was killed.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(&self.program, &self.args, &self.log)
            .with_context(|| format!("cannot start {} again", self.name))?;
        Ok(())
    }

    /// Asks it to stop, waits for `grace`, then kills it; the error says that it had to be killed.
    pub async fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        signal::terminate(&mut self.child);
        if let Ok(status) = tokio::time::timeout(grace, self.child.wait()).await {
            return Ok(status?);
        }
        self.kill9().await?;
        bail!(
            "{} did not stop within {} s and was killed; see {}",
            self.name,
            grace.as_secs(),
            self.log.display()
        )
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// It has not after `deadline`; it is killed then.
    pub async fn wait(&mut self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        if let Ok(status) = tokio::time::timeout(deadline, self.child.wait()).await {
            return Ok(status?);
        }
        self.kill9().await?;
        bail!("{} did not end within {} s; see {}", self.name, deadline.as_secs(), self.log.display())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]).into_owned()
    }
}

fn spawn(program: &Path, args: &[OsString], log: &Path) -> anyhow::Result<Child> {
    if !program.is_file() {
        bail!(
            "{} is not there; `cargo build -p muster-cli`, `make test` or `make demo` builds it",
            program.display()
        );
    }
    let output = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MUSTER_") {
            command.env_remove(name);
        }
    }
    signal::shield(&mut command);
    command.spawn().with_context(|| format!("cannot run {}", program.display()))
}
