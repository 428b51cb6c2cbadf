//! A player: asks for a match, waits or gives up, plays, leaves or drops out, comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use muster_agent::reconcile::SdkCall;
use muster_engine::Clock;
use muster_protocol::api::{QueueSpec, TicketRequest, Value};
use muster_protocol::id::{MatchId, SeatId, ServerId, TicketId};
use tokio::time::Instant;

use super::Stage;
use super::edge::Edge;
use super::stage::Known;
use crate::asker::Asker;
use crate::records::{TicketRecord, TicketState};
use crate::tickets;
use crate::world::{FLEET, NAMESPACE, QUEUE, REGION};

/// How often a player looks whether there is a game to play.
const ASK: Duration = Duration::from_secs(1);
/// How often a player asks what has become of a ticket.
const ASK_TICKET: Duration = Duration::from_secs(2);
/// A container that is not there by then will not come.
const ARRIVAL: Duration = Duration::from_secs(20);

/// Ranks are below this, as many as there are names of players.
pub(super) const MAX_RANK: u64 = 200;

/// Where a player plays.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    server: ServerId,
    of: MatchId,
    seat: SeatId,
}

/// Another queue of the same fleet, of matches of one: its matchmaker, which may be at home elsewhere, wants the same
/// servers.
pub(super) const RIVAL: &str = "solo";

/// The queue of pairs that are near in rank, cut into so many parts.
pub(super) fn pairs(parts: u32) -> QueueSpec {
    let text = format!(
        r#"
        name = {QUEUE:?}
        fleet = {FLEET:?}
        players = 2
        ticket_ttl_s = 60
        parts = {parts}
        attributes = {{ rank = {{ kind = "number", default = 0 }} }}
        [[rules]]
        name = "near in rank"
        kind = "spread"
        attribute = "rank"
        most = 40
        expand = [{{ after_s = 5, to = {MAX_RANK} }}]
        "#
    );
    toml::from_str(&text).expect("a queue")
}

/// A player's request. Some live nearer to a region that has no machines, and are led by another part for it.
fn request(queue: &str, name: String, number: u64, is_abroad: bool) -> TicketRequest {
    let rank = [("rank".to_owned(), Value::Number(number as f64))];
    let nearer = is_abroad.then(|| ("abroad".to_owned(), 10));
    TicketRequest {
        attributes: if queue == QUEUE { rank.into() } else { BTreeMap::new() },
        latencies_ms: [(REGION.to_owned(), 20)].into_iter().chain(nearer).collect(),
        ..TicketRequest::new(queue, name)
    }
}

/// One player's evening.
pub(super) async fn play(stage: Arc<Stage>, edge: Arc<Edge>, number: u64) {
    let queue = if stage.chance.happens(0.3) { RIVAL } else { QUEUE };
    // Some are nobody else's namesake: they drop out, and what they come back to is looked at.
    let drops_out = stage.chance.happens(0.25);
    let name = if drops_out { stage.unique_name() } else { format!("p{number}") };
    let request = request(queue, name, number, stage.chance.happens(0.4));
    let secret = stage.chance.of(0..256) as u8;
    let Some(ticket) = ask(&stage, &request, &Asker::client(secret, &[])).await else { return };
    let patience = if stage.chance.happens(0.1) { stage.chance.millis(0..12_000) } else { Duration::MAX };
    let Some(place) = wait(&stage, ticket.typed_id(), patience).await else { return };
    tokio::time::sleep(stage.chance.millis(100..3_000)).await;
    sit(&stage, &edge, place).await;
    if drops_out {
        come_back(&stage, &edge, &request, (place, (ticket.typed_id(), secret))).await;
    }
}

/// Asks for a match. What is not acknowledged was not promised.
async fn ask(stage: &Stage, request: &TicketRequest, asker: &Asker) -> Option<TicketRecord> {
    let now_ms = time(stage)?;
    let ticket = tickets::create(&stage.db, NAMESPACE, request, asker, now_ms).await.ok()?;
    stage.tickets.lock().expect("whole").insert(ticket.typed_id(), Known::default());
    Some(ticket)
}

/// A player who has dropped out asks again, and has the seat again if it is still kept. Some have lost their token, and are
/// nobody.
async fn come_back(
    stage: &Arc<Stage>,
    edge: &Edge,
    request: &TicketRequest,
    (before, older): (Place, (TicketId, u8)),
) {
    stage.linger(stage.chance.millis(0..90_000), || false).await;
    let back = TicketRequest { rejoin: stage.chance.happens(0.8), ..request.clone() };
    let asker = match stage.chance.of(0..10) {
        0 => Asker::default(),
        1 => Asker::backend(),
        _ => Asker::client(0, &[older]),
    };
    let Some(ticket) = ask(stage, &back, &asker).await else { return };
    if ticket.state() == TicketState::Assigned {
        let (id, seat) = (ticket.typed_id(), ticket.seat_id());
        let same = ticket.server_id() == Some(before.server) && seat == Some(before.seat);
        let known = asker.vouches || !asker.shown.is_empty();
        if !same || !back.rejoin || !known {
            stage.broken(format!("{id} came back to {seat:?} of {:?}, not {before:?}", ticket.server_id()));
        }
        note(stage, id, |known| known.server = ticket.server_id());
        sit(stage, edge, before).await;
    } else if let Some(place) = wait(stage, ticket.typed_id(), Duration::MAX).await {
        if place.seat == before.seat {
            stage.broken(format!("{:?} was given up and sold again", place.seat));
        }
        sit(stage, edge, place).await;
    }
}

/// Plays for a while, if the server is there.
pub(super) async fn sit(stage: &Arc<Stage>, edge: &Edge, Place { server, of, seat }: Place) {
    let arrival = Instant::now() + ARRIVAL;
    let node = loop {
        if let Some(node) = stage.host(server) {
            break node;
        }
        if Instant::now() > arrival {
            return;
        }
        tokio::time::sleep(ASK).await;
    };
    stage.join(server, of);
    edge.join(server);
    let says = stage.chance.happens(0.7);
    if says {
        node.say(server, SdkCall::SeatConnected(seat)).await;
    }
    stage.linger(stage.chance.millis(5_000..70_000), || !stage.goes_on(server)).await;
    edge.leave(server);
    let is_last = stage.leave(server);
    if says {
        let for_good = stage.chance.happens(0.3);
        let call = if for_good { SdkCall::SeatReleased(seat) } else { SdkCall::SeatDisconnected(seat) };
        node.say(server, call).await;
    }
    // Most games end when the last player leaves; the others are found to be idle.
    if is_last && stage.chance.happens(0.6) {
        tokio::time::sleep(stage.chance.millis(500..8_000)).await;
        if !stage.goes_on(server) {
            node.end(server, 0);
        }
    }
}

/// The time at some replica, which is where a request goes.
pub(super) fn time(stage: &Stage) -> Option<u64> {
    stage.any_replica().map(|replica| replica.clock.now_ms())
}

/// Waits for a server; `None` once there will be none.
pub(super) async fn wait(stage: &Stage, ticket: TicketId, patience: Duration) -> Option<Place> {
    let began = Instant::now();
    loop {
        tokio::time::sleep(ASK_TICKET).await;
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
            let (of, seat) = (assignment.match_record.typed_id(), view.record.seat_id()?);
            return Some(Place { server, of, seat });
        }
        if view.record.state().is_final() {
            return None;
        }
    }
}

pub(super) fn note(stage: &Stage, ticket: TicketId, change: impl FnOnce(&mut Known)) {
    if let Some(known) = stage.tickets.lock().expect("whole").get_mut(&ticket) {
        change(known);
    }
}
