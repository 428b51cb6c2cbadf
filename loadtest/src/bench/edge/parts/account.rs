//! What the machine did while a load was played: CPU time of each program, how busy each core was, and what the
//! kernel dropped, and where. So that a loss can be traced, and a core that is full is named beside a figure.
//!
//! All of it is read from Linux's /proc before and after; nothing is watched in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{read_dir, read_link, read_to_string};

use serde::{Deserialize, Serialize};

use crate::bench::usage;

/// The players' own program among the watched, and their network.
pub(in crate::bench::edge) const PLAYERS: &str = "players";
/// A core that is busier than this, of a hundred, is full.
const FULL_PCT: f64 = 97.0;
/// Counters of `/proc/net/snmp` that count datagrams which went nowhere. `InErrors` has `RcvbufErrors` in it.
const UDP_ERRORS: [&str; 4] = ["InErrors", "RcvbufErrors", "SndbufErrors", "MemErrors"];

/// Whom to look at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::bench::edge) struct Watch {
    /// Programs by name: their CPU time, and what their sockets had no room for.
    pub(in crate::bench::edge) programs: BTreeMap<String, u32>,
    /// Networks by name: a process that lives in each.
    pub(in crate::bench::edge) networks: BTreeMap<String, u32>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::bench::edge) struct Account {
    /// CPU time of each program from the first packet until half a second after the last answer, in seconds.
    pub(in crate::bench::edge) cpu_s: BTreeMap<String, f64>,
    /// Each core while packets were sent.
    pub(in crate::bench::edge) cores: Vec<CoreUse>,
    /// Packets that the kernel dropped, by where and why; what is none is not there.
    pub(in crate::bench::edge) dropped: BTreeMap<String, u64>,
}

/// How busy a core was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::bench::edge) struct CoreUse {
    /// Not idle, of a hundred.
    pub(in crate::bench::edge) busy_pct: f64,
    /// Of these, by interrupts: most of them packets under way between the networks.
    pub(in crate::bench::edge) interrupts_pct: f64,
}

/// The counters at one moment.
pub(super) struct Reading {
    cpu_s: BTreeMap<String, f64>,
    cores: Vec<CoreTicks>,
    dropped: BTreeMap<String, u64>,
}

/// Clock ticks of a core since the machine was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct CoreTicks {
    all: u64,
    idle: u64,
    interrupts: u64,
}

impl Reading {
    /// As it is now, for `watch` and this process. What cannot be read, of a process that ended, is left out.
    pub(super) fn take(watch: &Watch) -> Self {
        // This takes a while of this process, so it comes first here, and last in what ends it.
        let dropped = dropped_now(watch);
        Self { cpu_s: cpu_now(watch), cores: cores_now(), dropped }
    }

    /// What happened since; `cores` are those of when the last packet was sent.
    pub(super) fn until_now(self, watch: &Watch, cores: Vec<CoreUse>) -> Account {
        let cpu_s = cpu_now(watch);
        self.until(cpu_s, dropped_now(watch), cores)
    }

    /// How busy each core was since.
    pub(super) fn cores_until_now(&self) -> Vec<CoreUse> {
        self.cores.iter().zip(cores_now()).map(|(before, now)| now.since(*before)).collect()
    }

    fn until(
        self,
        cpu_s: BTreeMap<String, f64>,
        dropped: BTreeMap<String, u64>,
        cores: Vec<CoreUse>,
    ) -> Account {
        let used = |(name, after): (String, f64)| self.cpu_s.get(&name).map(|before| (name, after - before));
        let more = |(what, after): (String, u64)| {
            // Sockets may have been closed meanwhile, and what they counted is gone.
            let more = after.saturating_sub(*self.dropped.get(&what)?);
            (more > 0).then_some((what, more))
        };
        Account {
            cpu_s: cpu_s.into_iter().filter_map(used).collect(),
            cores,
            dropped: dropped.into_iter().filter_map(more).collect(),
        }
    }
}

/// `of`, and this process under `name`.
fn with_own(of: &BTreeMap<String, u32>, name: &str) -> BTreeMap<String, u32> {
    let of = of.iter().map(|(name, pid)| (name.clone(), *pid));
    of.chain([(name.to_owned(), std::process::id())]).collect()
}

fn cpu_now(watch: &Watch) -> BTreeMap<String, f64> {
    let cpu = |(name, pid): (String, u32)| Some((name, usage::cpu(pid).ok()?.as_secs_f64()));
    with_own(&watch.programs, PLAYERS).into_iter().filter_map(cpu).collect()
}

/// Counted since the networks and sockets were made.
fn dropped_now(watch: &Watch) -> BTreeMap<String, u64> {
    let mut dropped = BTreeMap::new();
    for (name, pid) in with_own(&watch.networks, "players'") {
        let text = read_to_string(format!("/proc/{pid}/net/snmp")).unwrap_or_default();
        let counters = udp_errors(&text).into_iter();
        dropped.extend(counters.map(|(counter, count)| (format!("{name} network {counter}"), count)));
    }
    for (name, pid) in with_own(&watch.programs, PLAYERS) {
        dropped.insert(format!("{name} sockets"), dropped_by_sockets(pid));
    }
    let softnet = read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    dropped.insert("between networks (netdev_max_backlog)".to_owned(), dropped_on_the_way(&softnet));
    dropped
}

impl CoreTicks {
    fn since(self, before: Self) -> CoreUse {
        let all = self.all.saturating_sub(before.all).max(1) as f64;
        let idle = self.idle.saturating_sub(before.idle) as f64;
        let interrupts = self.interrupts.saturating_sub(before.interrupts) as f64;
        CoreUse { busy_pct: 100.0 * (all - idle).max(0.0) / all, interrupts_pct: 100.0 * interrupts / all }
    }
}

impl Account {
    /// CPU time that program `name` took for each of `packets`, in microseconds.
    pub(in crate::bench::edge) fn us_per_packet(&self, name: &str, packets: u64) -> Option<f64> {
        self.cpu_s.get(name).map(|used| 1e6 * used / packets.max(1) as f64)
    }

    /// All of it as a line for people, for a round of so many `packets`.
    pub(in crate::bench::edge) fn line(&self, packets: u64) -> String {
        let programs = self
            .cpu_s
            .keys()
            .filter_map(|name| Some(format!("{name} {:.1}", self.us_per_packet(name, packets)?)));
        let cores = self.cores.iter().enumerate().map(|(number, core)| {
            let full = if core.busy_pct >= FULL_PCT { " FULL" } else { "" };
            format!("{number}: {:.0}% ({:.0}){full}", core.busy_pct, core.interrupts_pct)
        });
        let dropped = self.dropped.iter().map(|(what, count)| format!("{what} {count}"));
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
        let dropped = list(&mut dropped.into_iter());
        format!(
            "CPU us/packet: {}; cores busy (interrupts): {}; kernel dropped: {}",
            list(&mut programs.into_iter()),
            list(&mut cores.into_iter()),
            if dropped.is_empty() { "nothing" } else { &dropped }
        )
    }
}

fn cores_now() -> Vec<CoreTicks> {
    cores(&read_to_string("/proc/stat").unwrap_or_default())
}

/// Reads `/proc/stat`: user, nice, system, idle, waiting for disks, interrupts, soft interrupts, stolen by the host.
fn cores(text: &str) -> Vec<CoreTicks> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().and_then(|name| name.strip_prefix("cpu"))?;
        // The first line is all of them together.
        name.parse::<u32>().ok()?;
        let ticks: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        let at = |place: usize| ticks.get(place).copied().unwrap_or(0);
        Some(CoreTicks { all: ticks.iter().sum(), idle: at(3) + at(4), interrupts: at(5) + at(6) })
    };
    text.lines().filter_map(line).collect()
}

/// Reads `/proc/net/snmp`, in which a line of names is followed by one of numbers.
fn udp_errors(text: &str) -> Vec<(&'static str, u64)> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(counts)) = (lines.next(), lines.next()) else { return Vec::new() };
    let counts: BTreeMap<&str, &str> = names.split(' ').zip(counts.split(' ')).collect();
    let count = |name: &'static str| Some((name, counts.get(name)?.parse().ok()?));
    UDP_ERRORS.into_iter().filter_map(count).collect()
}

/// Reads `/proc/net/softnet_stat`: a line for each core, in hexadecimal; the second number is what found no room
/// in the core's queue of packets that have come.
fn dropped_on_the_way(text: &str) -> u64 {
    let line = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    text.lines().filter_map(line).sum()
}

/// Datagrams that the UDP sockets of process `pid` and its children had no room for, those that are open now.
fn dropped_by_sockets(pid: u32) -> u64 {
    let mut inodes = BTreeSet::new();
    for pid in usage::pids(pid).unwrap_or_default() {
        for file in read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let target = read_link(file.path()).unwrap_or_default();
            let inode = target.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']'));
            inodes.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
        }
    }
    let of = |file: &str| {
        dropped_of(&read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default(), &inodes)
    };
    of("udp") + of("udp6")
}

/// Reads `/proc/net/udp`: the tenth word of a line is the socket's inode, the last what it dropped.
fn dropped_of(text: &str, inodes: &BTreeSet<u64>) -> u64 {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let inode: u64 = words.get(9)?.parse().ok()?;
        let dropped: u64 = words.last()?.parse().ok()?;
        inodes.contains(&inode).then_some(dropped)
    };
    text.lines().filter_map(line).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_told_by_what_they_did_since() {
        let before = cores("cpu  1 1 1 1\ncpu0 10 0 10 80 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 5\n");
        let after =
            cores("cpu  1 1 1 1\ncpu0 20 0 20 150 0 0 10 0 0 0\ncpu1 50 0 0 0 0 0 50 0 0 0\nintr 5\n");
        assert_eq!(before.len(), 2);
        assert_eq!(after[0].since(before[0]), CoreUse { busy_pct: 30.0, interrupts_pct: 10.0 });
        assert_eq!(after[1].since(before[1]), CoreUse { busy_pct: 100.0, interrupts_pct: 50.0 });
        assert_eq!(cores("nonsense"), []);
    }

    #[test]
    fn counters_are_found_by_their_names() {
        let text = "Tcp: A B\nTcp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n\
                    Udp: 100 2 7 90 5 1\nUdpLite: InDatagrams\nUdpLite: 0\n";
        assert_eq!(udp_errors(text), [("InErrors", 7), ("RcvbufErrors", 5), ("SndbufErrors", 1)]);
        assert_eq!(udp_errors("Udp: InErrors\n"), []);
        assert_eq!(dropped_on_the_way("0001 0000000a 0\n0002 00000001 0\n"), 11);
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |inode: u64, dropped: u64| {
            format!(
                " 1: 0100007F:1B58 00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 {inode} 2 0 {dropped}\n"
            )
        };
        let text = [head.to_owned(), line(5, 3), line(6, 100), line(7, 4)].concat();
        assert_eq!(dropped_of(&text, &BTreeSet::from([5, 7])), 7);
    }

    #[test]
    fn only_what_is_news_is_told() {
        let reading = |cpu: f64, sockets: u64, more: u64| Reading {
            cpu_s: BTreeMap::from([("proxy".to_owned(), cpu)]),
            cores: Vec::new(),
            dropped: BTreeMap::from([("a".to_owned(), sockets), ("b".to_owned(), more)]),
        };
        let core = CoreUse { busy_pct: 99.6, interrupts_pct: 31.0 };
        let after = reading(1.5, 8, 9);
        let account = reading(1.0, 7, 9).until(after.cpu_s, after.dropped, vec![CoreUse::default(), core]);
        assert_eq!(account.dropped, BTreeMap::from([("a".to_owned(), 1)]));
        let line = account.line(50_000);
        assert!(line.contains("proxy 10.0") && line.contains("1: 100% (31) FULL"), "{line}");
        assert!(line.ends_with("kernel dropped: a 1"), "{line}");
        assert!(Account::default().line(0).ends_with("nothing"));
    }

    #[test]
    fn this_process_is_always_watched() {
        let before = Reading::take(&Watch::default());
        let cores = before.cores_until_now();
        let account = before.until_now(&Watch::default(), cores);
        assert!(account.cpu_s.contains_key(PLAYERS) && !account.cores.is_empty(), "{account:?}");
    }
}
