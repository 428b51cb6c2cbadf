//! What is known here of how containers die, beside Docker's word: whom this agent killed, and when the kernel killed
//! somebody for want of memory.
//!
//! Docker hears of a lack of memory from another source than of the exit, later, and on a busy machine not at all: its
//! watcher gives up once the container's cgroup is gone. The kernel's own count does not get lost. It is the whole
//! machine's, so it only speaks for a container that SIGKILL ended, at that moment, and not by us. Where the containers
//! run under another kernel (Docker Desktop) it is silent, and Docker's word is all there is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::now_ms;
use crate::reconcile::MAX_SERVERS;

/// Where the kernel counts, and under which name.
const COUNTS: &str = "/proc/vmstat";
const COUNT: &str = "oom_kill ";
/// Rises remembered: more than come while one exit is looked into.
const MAX_RISES: usize = 64;
/// A rise whose moment is known less exactly than this says nothing of any one death, in milliseconds.
const MAX_SPAN_MS: u64 = 5_000;
/// How long after the kernel's kill Docker may date the death, in milliseconds.
const DATED_LATER_MS: u64 = 2_000;

/// What is remembered. One for the life of the agent.
#[derive(Default)]
pub(crate) struct Deaths {
    /// Containers this agent has had killed, the last [`MAX_SERVERS`] of them.
    ours: Mutex<VecDeque<String>>,
    kernel: Mutex<KernelKills>,
}

impl Deaths {
    /// From here on the end of this container is our doing.
    pub(super) fn will_be_ours(&self, container_id: &str) {
        let mut ours = lock(&self.ours);
        if ours.iter().any(|id| id == container_id) {
            return;
        }
        if ours.len() >= MAX_SERVERS {
            ours.pop_front();
        }
        ours.push_back(container_id.to_owned());
    }

    /// Whether the container was killed by us.
    pub(super) fn is_ours(&self, container_id: &str) -> bool {
        lock(&self.ours).iter().any(|id| id == container_id)
    }

    /// Reads the kernel's count. To be called steadily: a rise is dated by the two looks around it.
    pub(crate) fn look(&self) {
        if let Some(count) = std::fs::read_to_string(COUNTS).ok().as_deref().and_then(count) {
            lock(&self.kernel).note(now_ms(), count);
        }
    }

    /// Whether the kernel killed somebody for want of memory when a container died at `at_ms`, Unix time in
    /// milliseconds, as Docker dates it.
    pub(super) fn kernel_killed_at(&self, at_ms: u64) -> bool {
        self.look();
        lock(&self.kernel).killed_at(at_ms)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix(COUNT))?.trim().parse().ok()
}

/// When the kernel's count rose.
#[derive(Default)]
struct KernelKills {
    /// The last look: when, and the count.
    last: Option<(u64, u64)>,
    /// Rises, each between two looks.
    rises: VecDeque<(u64, u64)>,
}

impl KernelKills {
    fn note(&mut self, now_ms: u64, count: u64) {
        let before = self.last.replace((now_ms, count));
        let Some((from_ms, _)) = before.filter(|&(_, before)| count > before) else { return };
        if now_ms.saturating_sub(from_ms) > MAX_SPAN_MS {
            return;
        }
        if self.rises.len() >= MAX_RISES {
            self.rises.pop_front();
        }
        self.rises.push_back((from_ms, now_ms));
    }

    fn killed_at(&self, at_ms: u64) -> bool {
        self.rises.iter().any(|&(from_ms, to_ms)| from_ms <= at_ms && at_ms <= to_ms + DATED_LATER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_found_among_others() {
        assert_eq!(count("pgfault 9\noom_kill 112\noom_kill_x 3\n"), Some(112));
        assert_eq!(count("oom_killer 7\npgfault 9\n"), None);
        assert_eq!(count(""), None);
    }

    #[test]
    fn a_death_is_the_kernels_only_when_its_count_rose_then() {
        let mut kills = KernelKills::default();
        // What was counted before the first look is nobody's.
        for (now_ms, count) in [(10_000, 7), (11_000, 7), (12_000, 8), (13_000, 8)] {
            kills.note(now_ms, count);
        }
        for (at_ms, expected) in [(10_500, false), (11_000, true), (12_000, true), (13_900, true)] {
            assert_eq!(kills.killed_at(at_ms), expected, "{at_ms}");
        }
        assert!(!kills.killed_at(14_100), "long after");
        // Nobody looked for a while: it could have been anybody.
        kills.note(30_000, 9);
        assert!(!kills.killed_at(20_000));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut kills = KernelKills::default();
        for look in 0..10 * MAX_RISES as u64 {
            kills.note(look, look);
        }
        assert_eq!(kills.rises.len(), MAX_RISES);
        let deaths = Deaths::default();
        for number in 0..=MAX_SERVERS {
            deaths.will_be_ours(&number.to_string());
            deaths.will_be_ours(&number.to_string());
        }
        assert_eq!(lock(&deaths.ours).len(), MAX_SERVERS);
        assert!(deaths.is_ours(&MAX_SERVERS.to_string()) && !deaths.is_ours("0"));
    }
}
