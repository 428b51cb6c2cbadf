//! CPU time of a process and its children, from Linux's /proc. Elsewhere there is no figure.

use std::time::Duration;

/// CPU time used so far by process `pid` and its living children, user and system.
///
/// Resolution is the kernel's clock tick, 10 ms as Linux is built everywhere.
#[cfg(target_os = "linux")]
pub(super) fn used(pid: u32) -> anyhow::Result<Duration> {
    use anyhow::Context as _;
    const TICK: Duration = Duration::from_millis(10);
    let mut ticks = 0;
    let mut found = false;
    for entry in std::fs::read_dir("/proc")?.flatten() {
        // Processes may end while we look.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some(stat) = parse(&stat) else { continue };
        if stat.pid == pid || stat.parent == pid {
            ticks += stat.ticks;
            found |= stat.pid == pid;
        }
    }
    found.then_some(()).with_context(|| format!("process {pid} is not there any more"))?;
    Ok(TICK * ticks)
}

/// CPU time used so far: not known here.
#[cfg(not(target_os = "linux"))]
pub(super) fn used(_pid: u32) -> anyhow::Result<Duration> {
    anyhow::bail!("this benchmark reads CPU time from Linux's /proc; run it on Linux")
}

#[cfg(target_os = "linux")]
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    ticks: u32,
}

/// Reads what `/proc/<pid>/stat` says. The name in it may contain anything, so fields count from its end.
#[cfg(target_os = "linux")]
fn parse(text: &str) -> Option<Stat> {
    let (pid, rest) = text.split_once(' ')?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let user: u32 = fields.get(11)?.parse().ok()?;
    let system: u32 = fields.get(12)?.parse().ok()?;
    Some(Stat { pid: pid.parse().ok()?, parent: fields.get(1)?.parse().ok()?, ticks: user + system })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let text = "42 (odd ) name) S 7 42 42 0 -1 4194560 1 2 3 4 50 6 0 0 20 0 1 0 99 1 1";
        assert_eq!(parse(text), Some(Stat { pid: 42, parent: 7, ticks: 56 }));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(u32::MAX).is_err());
    }
}
