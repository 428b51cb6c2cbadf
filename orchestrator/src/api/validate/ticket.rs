//! Checks of ticket requests, and of the players' names that others carry too.

use std::collections::BTreeMap;

use muster_protocol::api::{
    MAX_ATTRIBUTES, MAX_BLOCKS, MAX_FILTER_BYTES, MAX_IDEMPOTENCY_KEY_BYTES, MAX_LATENCIES, MAX_LATENCY_MS,
    MAX_PARTY, MAX_PLAYER_BYTES, MAX_PREVIOUS_TOKENS, PartyMember, TicketRequest, Value,
};
use muster_protocol::problem::ProblemCode;

use super::{Faults, has_control};
use crate::api::credentials::shown_ticket;
use crate::api::problem::ApiProblem;

/// Checks a ticket's request.
pub(crate) fn ticket_request(request: &TicketRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("queue", &request.queue);
    player(&mut faults, "player", &request.player);
    latencies(&mut faults, &request.latencies_ms);
    attributes(&mut faults, "attributes", &request.attributes);
    party(&mut faults, &request.party);
    let blocks = request.blocks.len();
    faults.check(blocks <= MAX_BLOCKS, "blocks", format_args!("{blocks} are over the limit of {MAX_BLOCKS}"));
    for (index, name) in request.blocks.iter().take(MAX_BLOCKS).enumerate() {
        player(&mut faults, &format!("blocks[{index}]"), name);
    }
    let bytes = request.filter.len();
    faults.check(
        bytes <= MAX_FILTER_BYTES,
        "filter",
        format_args!("{bytes} bytes are over the limit of {MAX_FILTER_BYTES}"),
    );
    idempotency_key(&mut faults, request.idempotency_key.as_ref());
    previous_tokens(&mut faults, &request.previous_tokens);
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks the latencies that a request states.
pub(super) fn latencies(faults: &mut Faults, latencies_ms: &BTreeMap<String, u32>) {
    faults.check(
        latencies_ms.len() <= MAX_LATENCIES,
        "latencies_ms",
        format_args!("{} are over the limit of {MAX_LATENCIES}", latencies_ms.len()),
    );
    for (region, latency) in latencies_ms {
        faults.name("latencies_ms", region);
        faults.within(&format!("latencies_ms.{region}"), *latency, 0, MAX_LATENCY_MS);
    }
}

/// Checks those who come along.
pub(super) fn party(faults: &mut Faults, party: &[PartyMember]) {
    faults.check(
        party.len() <= MAX_PARTY,
        "party",
        format_args!("{} are over the limit of {MAX_PARTY}", party.len()),
    );
    for (index, member) in party.iter().take(MAX_PARTY).enumerate() {
        player(faults, &format!("party[{index}].player"), &member.player);
        attributes(faults, &format!("party[{index}].attributes"), &member.attributes);
    }
}

/// Checks an idempotency key, if there is one.
pub(super) fn idempotency_key(faults: &mut Faults, key: Option<&String>) {
    faults.check(
        key.is_none_or(|key| (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len())),
        "idempotency_key",
        format_args!("must be of 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes"),
    );
}

/// Checks the tokens of older tickets that a request shows, as far as they are texts.
pub(super) fn previous_tokens(faults: &mut Faults, tokens: &[String]) {
    let count = tokens.len();
    faults.check(
        count <= MAX_PREVIOUS_TOKENS,
        "previous_tokens",
        format_args!("{count} are over the limit of {MAX_PREVIOUS_TOKENS}"),
    );
    for (index, text) in tokens.iter().take(MAX_PREVIOUS_TOKENS).enumerate() {
        faults.check(
            shown_ticket(text).is_some(),
            &format!("previous_tokens[{index}]"),
            "is no ticket's own token; it is `token` in the answer that made the ticket, and begins with mtk_",
        );
    }
}

/// Checks what describes a player, as far as no queue is known.
fn attributes(faults: &mut Faults, field: &str, attributes: &BTreeMap<String, Value>) {
    let count = attributes.len();
    faults.check(
        count <= MAX_ATTRIBUTES,
        field,
        format_args!("{count} are over the limit of {MAX_ATTRIBUTES}"),
    );
    for (name, value) in attributes.iter().take(MAX_ATTRIBUTES) {
        if let Err(error) = value.check(value.kind()) {
            faults.add(&format!("{field}.{name}"), error);
        }
    }
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
    use super::*;

    #[test]
    fn a_sound_request_passes() {
        let bob = PartyMember {
            player: "bob".into(),
            attributes: [("skill".to_owned(), Value::Number(3.0))].into(),
        };
        let request = TicketRequest {
            latencies_ms: BTreeMap::from([("local".into(), 3)]),
            party: vec![bob],
            blocks: vec!["eve".into()],
            filter: "skill > 3".into(),
            idempotency_key: Some("4711".into()),
            ..TicketRequest::new("duel", "Zoë 🎮")
        };
        assert_eq!(ticket_request(&request), Ok(()));
    }

    #[test]
    fn every_field_has_its_fault() {
        let mut latencies_ms: BTreeMap<String, u32> =
            (0..=MAX_LATENCIES).map(|n| (format!("r{n}"), 1)).collect();
        latencies_ms.insert("r0".into(), MAX_LATENCY_MS + 1);
        let request = TicketRequest {
            latencies_ms,
            attributes: [("skill".to_owned(), Value::Number(f64::INFINITY))].into(),
            party: vec![PartyMember::default(); MAX_PARTY + 1],
            blocks: vec!["x".into(); MAX_BLOCKS + 1],
            filter: "x".repeat(MAX_FILTER_BYTES + 1),
            idempotency_key: Some(String::new()),
            previous_tokens: vec!["mst_x_y".into(); MAX_PREVIOUS_TOKENS + 1],
            ..TicketRequest::new("a b", "x\u{1b}[2J")
        };
        let detail = ticket_request(&request).expect_err("every field is wrong").problem().detail.clone();
        for field in [
            "queue:",
            "player: holds a control character",
            "latencies_ms: 65",
            "latencies_ms.r0: 60001",
            "attributes.skill: must be a finite number",
            "party: 100 are over",
            "party[0].player: empty",
        ] {
            assert!(detail.contains(field), "wanted {field:?} in {detail:?}");
        }
        let alone = TicketRequest { party: Vec::new(), ..request };
        let detail = ticket_request(&alone).expect_err("as wrong").problem().detail.clone();
        for field in [
            "blocks: 257 are over",
            "filter: 1025 bytes",
            "idempotency_key: must be",
            "previous_tokens: 17 are over",
            "previous_tokens[0]: is no ticket's own token",
        ] {
            assert!(detail.contains(field), "wanted {field:?} in {detail:?}");
        }
        assert!(ticket_request(&TicketRequest::new("duel", "")).is_err());
    }
}
