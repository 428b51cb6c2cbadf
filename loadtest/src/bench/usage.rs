//! CPU time and memory of a process and its children, from Linux's /proc. Elsewhere there are no figures.

use std::time::Duration;

/// CPU time used so far by process `pid` and its living children, user and system.
///
/// Resolution is the kernel's clock tick, 10 ms as Linux is built everywhere.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    const TICK: Duration = Duration::from_millis(10);
    Ok(family(pid)?.iter().map(|stat| TICK * stat.ticks).sum())
}

/// Memory that process `pid` and its living children hold, in bytes. What several of them map is counted
/// for each.
pub(super) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    const PAGE_BYTES: u64 = 4_096;
    Ok(family(pid)?.iter().map(|stat| stat.resident_pages * PAGE_BYTES).sum())
}

/// Ids of process `pid` and its living children.
#[cfg(target_os = "linux")]
pub(super) fn pids(pid: u32) -> anyhow::Result<Vec<u32>> {
    Ok(family(pid)?.iter().map(|stat| stat.pid).collect())
}

/// Process `pid` and its living children.
#[cfg(target_os = "linux")]
fn family(pid: u32) -> anyhow::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        // Processes may end while we look.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        found.extend(parse(&stat).filter(|stat| stat.pid == pid || stat.parent == pid));
    }
    anyhow::ensure!(found.iter().any(|stat| stat.pid == pid), "process {pid} is not there any more");
    Ok(found)
}

/// Process `pid` and its children: not known here.
#[cfg(not(target_os = "linux"))]
fn family(_pid: u32) -> anyhow::Result<Vec<Stat>> {
    anyhow::bail!("this benchmark reads CPU time and memory from Linux's /proc; run it on Linux")
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    ticks: u32,
    resident_pages: u64,
}

/// Reads what `/proc/<pid>/stat` says. The name in it may contain anything, so fields count from its end.
#[cfg(target_os = "linux")]
fn parse(text: &str) -> Option<Stat> {
    let (pid, rest) = text.split_once(' ')?;
    let (_, rest) = rest.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let user: u32 = fields.get(11)?.parse().ok()?;
    let system: u32 = fields.get(12)?.parse().ok()?;
    Some(Stat {
        pid: pid.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: user + system,
        resident_pages: fields.get(21)?.parse().ok()?,
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let text = "42 (odd ) name) S 7 42 42 0 -1 4194560 1 2 3 4 50 6 0 0 20 0 1 0 99 1 77 1";
        assert_eq!(parse(text), Some(Stat { pid: 42, parent: 7, ticks: 56, resident_pages: 77 }));
        assert_eq!(parse("nonsense"), None);
    }

    #[test]
    fn this_process_has_used_some() {
        let me = std::process::id();
        assert!(cpu(me).is_ok());
        assert!(resident_bytes(me).is_ok_and(|bytes| bytes > 100_000));
        assert!(cpu(u32::MAX).is_err());
    }
}
