//! How a crash loop is slowed, pure: each round of failures doubles the pause before the next start.
//!
//! Counted per fleet and region. Servers that were started together and fail together are one round. A
//! new pod begins anew, as does a fleet that has long been well.

use crate::records::{FleetHealthRecord, ServerRecord, ServerState};

/// Pause after the first failure.
pub const FIRST_PAUSE_MS: u64 = 1_000;
/// Longest pause.
pub const MAX_PAUSE_MS: u64 = 5 * 60 * 1_000;
/// A failure this long after the last, and after the pause that followed it, begins a new count.
pub const FORGET_AFTER_MS: u64 = 5 * 60 * 1_000;
/// A server that was ready for this long before it failed begins a new count.
pub const STABLE_AFTER_MS: u64 = 60 * 1_000;

/// The health of a fleet in a region after `server` failed at `now_ms`, having been ready for
/// `ready_for_ms`, if ever.
pub fn after_failure(
    before: Option<&FleetHealthRecord>,
    server: &ServerRecord,
    ready_for_ms: Option<u64>,
    now_ms: u64,
) -> FleetHealthRecord {
    let created_ms = server.entered_ms(ServerState::Pending).unwrap_or(now_ms);
    let running = before.filter(|health| {
        health.pod_version == server.pod_version
            && now_ms < health.retry_at_ms.saturating_add(FORGET_AFTER_MS)
            && ready_for_ms.is_none_or(|ready| ready < STABLE_AFTER_MS)
    });
    let (failures, retry_at_ms) = match running {
        Some(health) if created_ms <= health.last_failure_at_ms => {
            (health.consecutive_failures, health.retry_at_ms)
        }
        running => {
            let failures = running.map_or(0, |health| health.consecutive_failures).saturating_add(1);
            (failures, now_ms.saturating_add(pause_ms(failures)))
        }
    };
    FleetHealthRecord {
        pod_version: server.pod_version,
        consecutive_failures: failures,
        last_failure_at_ms: now_ms,
        retry_at_ms,
        code: server.reason.clone(),
        detail: server.detail.clone(),
        server: server.id,
    }
}

/// The pause after `failures` rounds of failures.
pub fn pause_ms(failures: u32) -> u64 {
    FIRST_PAUSE_MS.saturating_mul(1u64 << failures.saturating_sub(1).min(32)).min(MAX_PAUSE_MS)
}

/// Whether the failures on record still say something about servers of `pod_version` at `now_ms`.
pub fn is_failing(health: &FleetHealthRecord, pod_version: u64, now_ms: u64) -> bool {
    health.consecutive_failures > 0
        && health.pod_version == pod_version
        && now_ms < health.retry_at_ms.saturating_add(FORGET_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::StateEntry;

    fn server(created_ms: u64) -> ServerRecord {
        ServerRecord {
            pod_version: 3,
            entered: vec![StateEntry { state: ServerState::Pending.into(), at_ms: created_ms }],
            reason: "exited_before_ready".into(),
            ..Default::default()
        }
    }

    #[test]
    fn each_round_doubles_the_pause_up_to_the_longest() {
        let mut health = None;
        let mut now = 1_000_000;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let next = after_failure(health.as_ref(), &server(now), None, now + 1);
            pauses.push(next.retry_at_ms - now - 1);
            now = next.retry_at_ms;
            health = Some(next);
        }
        assert_eq!(pauses[..4], [1_000, 2_000, 4_000, 8_000]);
        assert_eq!(pauses[11], MAX_PAUSE_MS);
        assert!(pauses.is_sorted());
    }

    #[test]
    fn servers_started_together_fail_as_one_round() {
        let first = after_failure(None, &server(100), None, 500);
        let second = after_failure(Some(&first), &server(101), None, 510);
        assert_eq!(second.consecutive_failures, 1);
        assert_eq!(second.retry_at_ms, first.retry_at_ms);
        let third = after_failure(Some(&second), &server(second.retry_at_ms), None, second.retry_at_ms + 9);
        assert_eq!(third.consecutive_failures, 2);
    }

    #[test]
    fn a_new_pod_a_long_life_and_a_long_peace_begin_anew() {
        let bad = FleetHealthRecord {
            pod_version: 3,
            consecutive_failures: 7,
            last_failure_at_ms: 1_000,
            retry_at_ms: 65_000,
            ..Default::default()
        };
        assert_eq!(after_failure(Some(&bad), &server(70_000), None, 70_001).consecutive_failures, 8);
        let lived = Some(STABLE_AFTER_MS);
        assert_eq!(after_failure(Some(&bad), &server(70_000), lived, 70_001).consecutive_failures, 1);
        let newer = ServerRecord { pod_version: 4, ..server(70_000) };
        assert_eq!(after_failure(Some(&bad), &newer, None, 70_001).consecutive_failures, 1);
        let late = 65_000 + FORGET_AFTER_MS;
        assert_eq!(after_failure(Some(&bad), &server(late - 1), None, late).consecutive_failures, 1);
        assert!(is_failing(&bad, 3, late - 1) && !is_failing(&bad, 3, late) && !is_failing(&bad, 4, 2_000));
    }
}
