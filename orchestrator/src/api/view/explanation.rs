//! Why a ticket is where it is, as the API tells it.

use muster_matchmaker::explain::{Excluded, Exclusion, Explanation, Group};
use muster_protocol::api;

use crate::tickets::Explained;

/// An explanation. How a ticket fared lately is left out where nobody was matched yet.
pub(crate) fn explanation(explained: Explained) -> api::TicketExplanation {
    let Explained { record, explanation, status, search, is_seated } = explained;
    let mut words = search.as_ref().map_or_else(|| vec![explanation], Explanation::words);
    words.extend(is_seated.then(|| seated(&record.player)));
    let (expected_wait_p50_ms, expected_wait_p90_ms) = status.expected_waits_ms();
    api::TicketExplanation {
        id: record.typed_id(),
        state: record.state().into(),
        words,
        expected_wait_p50_ms,
        expected_wait_p90_ms,
        waiting_for: status.waiting_for,
        search: search.map(searching),
    }
}

fn seated(player: &str) -> String {
    format!(
        "{player} has a seat in a match of this queue that goes on; to come back to it, ask again and show the token of \
         its ticket (previous_tokens), or have a backend ask, for all who have seats there"
    )
}

fn searching(search: Explanation) -> api::SearchExplanation {
    let limits = search.limits.iter().map(|limit| api::LimitExplanation {
        rule: limit.rule.clone(),
        now: limit.now,
        relaxes_in_ms: limit.next.map(|next| next.in_ms),
        relaxes_to: limit.next.map(|next| next.to),
    });
    let excluded = |excluded: &Excluded| {
        let (by, rule) = excluded_by(&excluded.by);
        api::Exclusion { by: by.to_owned(), rule, tickets: excluded.tickets }
    };
    let group = |group: &Group| api::GroupExplanation {
        region: group.region.clone(),
        players: group.players,
        missing: search.smallest.saturating_sub(group.players),
        quality: group.quality,
    };
    api::SearchExplanation {
        waited_ms: search.waited_ms,
        limits: limits.collect(),
        looked_at: search.looked_at,
        others: search.others,
        excluded: search.excluded.iter().map(excluded).collect(),
        candidates: search.candidates,
        smallest: search.smallest,
        full: search.full,
        best: search.best.as_ref().map(group),
        openings: api::OpeningsExplanation {
            looked_at: search.openings.looked_at,
            excluded: search.openings.excluded.iter().map(excluded).collect(),
            joinable: search.openings.joinable,
        },
    }
}

fn excluded_by(by: &Exclusion) -> (&'static str, Option<String>) {
    match by {
        Exclusion::OwnFilter => ("own_filter", None),
        Exclusion::TheirFilter => ("their_filter", None),
        Exclusion::Block => ("block", None),
        Exclusion::SamePlayer => ("same_player", None),
        Exclusion::Rule(rule) => ("rule", Some(rule.clone())),
        Exclusion::Sizes => ("sizes", None),
        Exclusion::Roles => ("roles", None),
    }
}
