//! Checks of ticket requests, and of the players' names that others carry too.

use muster_protocol::api::{MAX_LATENCIES, MAX_PLAYER_BYTES, TicketRequest};
use muster_protocol::problem::ProblemCode;

use super::{Faults, has_control};
use crate::api::problem::ApiProblem;

/// Largest latency a ticket may state, in milliseconds: a minute.
pub(crate) const MAX_LATENCY_MS: u32 = 60_000;

/// Checks a ticket's request.
pub(crate) fn ticket_request(request: &TicketRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("queue", &request.queue);
    player(&mut faults, "player", &request.player);
    faults.check(
        request.latencies_ms.len() <= MAX_LATENCIES,
        "latencies_ms",
        format_args!("{} are over the limit of {MAX_LATENCIES}", request.latencies_ms.len()),
    );
    for (region, latency) in &request.latencies_ms {
        faults.name("latencies_ms", region);
        faults.within(&format!("latencies_ms.{region}"), *latency, 0, MAX_LATENCY_MS);
    }
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks a player's name: any text that is not empty, bounded, and shows as it is.
pub(super) fn player(faults: &mut Faults, field: &str, player: &str) {
    faults.check(!player.is_empty(), field, "empty; name the player");
    faults.check(
        player.len() <= MAX_PLAYER_BYTES,
        field,
        format_args!("{} bytes are over the limit of {MAX_PLAYER_BYTES}", player.len()),
    );
    faults.check(!has_control(player), field, "holds a control character");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_sound_request_passes() {
        let request = TicketRequest {
            queue: "duel".into(),
            player: "Zoë 🎮".into(),
            latencies_ms: BTreeMap::from([("local".into(), 3)]),
        };
        assert_eq!(ticket_request(&request), Ok(()));
    }

    #[test]
    fn every_field_has_its_fault() {
        let mut latencies_ms: BTreeMap<String, u32> =
            (0..=MAX_LATENCIES).map(|n| (format!("r{n}"), 1)).collect();
        latencies_ms.insert("r0".into(), MAX_LATENCY_MS + 1);
        let request = TicketRequest { queue: "a b".into(), player: "x\u{1b}[2J".into(), latencies_ms };
        let detail = ticket_request(&request).expect_err("every field is wrong").problem().detail.clone();
        for field in
            ["queue:", "player: holds a control character", "latencies_ms: 65", "latencies_ms.r0: 60001"]
        {
            assert!(detail.contains(field), "wanted {field:?} in {detail:?}");
        }
        let request =
            TicketRequest { queue: "duel".into(), player: String::new(), latencies_ms: BTreeMap::new() };
        assert!(ticket_request(&request).is_err());
    }
}
