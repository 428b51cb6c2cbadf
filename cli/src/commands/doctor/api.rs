//! What a running orchestrator says is wrong, and whether its clock and this machine's agree.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_client::Client;

use super::Verdict;

/// How far two clocks may be apart: session tokens are made by one machine's and checked by another's.
const MAX_SKEW: Duration = Duration::from_secs(2);

pub(super) async fn check(client: anyhow::Result<Client>) -> Vec<(&'static str, Verdict)> {
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![("api", Verdict::Skipped(format!("{error:#}")))],
    };
    let asked = now();
    let status = match client.status().await {
        Ok(status) => status,
        Err(error) => return vec![("api", Verdict::Problem(error.to_string()))],
    };
    let clock = clock(Duration::from_millis(status.now_ms), (asked, now()));
    let api = if status.problems.is_empty() {
        Verdict::Ok(format!(
            "{} orchestrators, {} of {} nodes ready, {} of {} edges connected, at {}",
            status.orchestrators,
            status.nodes_ready,
            status.nodes,
            status.edges_connected,
            status.edges,
            client.url()
        ))
    } else {
        Verdict::Problem(status.problems.join("\n"))
    };
    vec![("api", api), ("clock", clock)]
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Compares what the orchestrator's clock showed with when it was asked and when it had answered.
fn clock(theirs: Duration, (asked, answered): (Duration, Duration)) -> Verdict {
    if theirs.is_zero() {
        return Verdict::Skipped("this orchestrator does not say what its clock shows".to_owned());
    }
    let (behind, ahead) = (asked.saturating_sub(theirs), theirs.saturating_sub(answered));
    let (skew, whose) = if behind > ahead { (behind, "behind") } else { (ahead, "ahead of") };
    if skew <= MAX_SKEW {
        return Verdict::Ok("this machine and the orchestrator agree on the time".to_owned());
    }
    Verdict::Problem(format!(
        "the orchestrator's clock is {:.1} s {whose} this machine's; tokens may count as expired or not yet good. Run an \
         NTP client (chrony, systemd-timesyncd) on both machines",
        skew.as_secs_f64()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_compared_as_far_as_the_way_there_and_back_allows() {
        let at = Duration::from_millis;
        let well = |theirs, times| matches!(clock(at(theirs), times), Verdict::Ok(_));
        assert!(well(10_000, (at(9_990), at(10_010))));
        // An answer that took long says little.
        assert!(well(10_000, (at(7_000), at(15_000))));
        assert!(!well(10_000, (at(12_500), at(12_600))));
        assert!(!well(10_000, (at(7_000), at(7_100))));
        assert!(matches!(clock(at(0), (at(1), at(2))), Verdict::Skipped(_)));
        let Verdict::Problem(words) = clock(at(10_000), (at(13_000), at(13_100))) else {
            panic!("a problem")
        };
        assert!(words.contains("3.0 s behind") && words.contains("NTP"), "{words}");
    }
}
