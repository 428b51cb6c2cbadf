//! A player: asks for a match, waits or gives up, plays, leaves.

use std::sync::Arc;
use std::time::Duration;

use muster_engine::Clock;
use muster_protocol::api::TicketRequest;
use muster_protocol::id::{MatchId, ServerId, TicketId};
use tokio::time::Instant;

use super::Stage;
use super::edge::Edge;
use super::stage::Known;
use crate::records::TicketState;
use crate::tickets;
use crate::world::{NAMESPACE, QUEUE};

/// How often a player asks.
const ASK: Duration = Duration::from_secs(1);
/// A container that is not there by then will not come.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Another queue of the same fleet, of matches of one: its matchmaker, which may be at home elsewhere, wants the same
/// servers.
pub(super) const RIVAL: &str = "solo";

/// One player's evening.
pub(super) async fn play(stage: Arc<Stage>, edge: Arc<Edge>, number: u64) {
    let queue = if stage.chance.happens(0.3) { RIVAL } else { QUEUE };
    let request = TicketRequest::new(queue, format!("p{number}"));
    let Some(now_ms) = time(&stage) else { return };
    // Not acknowledged: nothing was promised.
    let Ok(ticket) = tickets::create(&stage.db, NAMESPACE, &request, b"", now_ms).await else { return };
    let ticket = ticket.typed_id();
    stage.tickets.lock().expect("whole").insert(ticket, Known::default());
    let patience = if stage.chance.happens(0.1) { stage.chance.millis(0..12_000) } else { Duration::MAX };
    let Some((server, of)) = wait(&stage, ticket, patience).await else { return };
    tokio::time::sleep(stage.chance.millis(100..3_000)).await;
    let arrival = Instant::now() + ARRIVAL;
    while stage.host(server).is_none() {
        if Instant::now() > arrival {
            return;
        }
        tokio::time::sleep(ASK).await;
    }
    stage.join(server, of);
    edge.join(server);
    let end = Instant::now() + stage.chance.millis(5_000..100_000);
    while Instant::now() < end && stage.goes_on(server) {
        tokio::time::sleep(ASK).await;
    }
    edge.leave(server);
    // Most games end when the last player leaves; the others are found to be idle.
    if stage.leave(server) && stage.chance.happens(0.6) {
        tokio::time::sleep(stage.chance.millis(500..8_000)).await;
        if let Some(node) = stage.host(server).filter(|_| !stage.goes_on(server)) {
            node.end(server, 0);
        }
    }
}

/// The time at some replica, which is where a request goes.
fn time(stage: &Stage) -> Option<u64> {
    stage.any_replica().map(|replica| replica.clock.now_ms())
}

/// Waits for a server; `None` once there will be none.
async fn wait(stage: &Stage, ticket: TicketId, patience: Duration) -> Option<(ServerId, MatchId)> {
    let began = Instant::now();
    loop {
        tokio::time::sleep(ASK).await;
        let Some(now_ms) = time(stage) else { continue };
        if began.elapsed() >= patience
            && let Ok(Some(record)) = tickets::cancel(&stage.db, NAMESPACE, ticket, now_ms).await
            && record.state() == TicketState::Cancelled
        {
            note(stage, ticket, |known| known.cancelled = true);
            return None;
        }
        let Ok(view) = tickets::get(&stage.db, NAMESPACE, ticket, now_ms).await else { continue };
        let Some(view) = view else {
            stage.broken(format!("{ticket} was acknowledged and is gone"));
            return None;
        };
        if let Some(assignment) = view.assignment {
            let server = assignment.server.typed_id();
            note(stage, ticket, |known| known.server = Some(server));
            return Some((server, assignment.match_record.typed_id()));
        }
        if view.record.state().is_final() {
            return None;
        }
    }
}

fn note(stage: &Stage, ticket: TicketId, change: impl FnOnce(&mut Known)) {
    if let Some(known) = stage.tickets.lock().expect("whole").get_mut(&ticket) {
        change(known);
    }
}
