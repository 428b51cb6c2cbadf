//! A player who chooses: finds a lobby or makes one, waits for its server or gives up, plays, leaves.

use std::sync::Arc;
use std::time::Duration;

use muster_protocol::api::{FindLobbyRequest, LobbySpec};

use super::Stage;
use super::edge::Edge;
use super::player::{note, sit, time, wait};
use super::stage::Known;
use crate::asker::Asker;
use crate::records::TicketState;
use crate::world::{FLEET, NAMESPACE};
use crate::{lobbies, tickets};

/// One player's evening.
pub(super) async fn play(stage: Arc<Stage>, edge: Arc<Edge>) {
    let request = FindLobbyRequest {
        fleet: FLEET.into(),
        player: stage.unique_name(),
        create: Some(LobbySpec { max_players: Some(stage.chance.of(1..4) as u32), ..LobbySpec::default() }),
        ..FindLobbyRequest::default()
    };
    let Some(now_ms) = time(&stage) else { return };
    // Not acknowledged, or refused because no server can come: nothing was promised.
    let found = lobbies::find(&stage.db, NAMESPACE, &request, &Asker::default(), now_ms).await;
    let Ok(ticket) = found else { return };
    let id = ticket.typed_id();
    stage.tickets.lock().expect("whole").insert(id, Known::default());
    let patience = if stage.chance.happens(0.2) { stage.chance.millis(0..12_000) } else { Duration::MAX };
    let Some(place) = wait(&stage, id, patience).await else { return };
    sit(&stage, &edge, place).await;
    // Who leaves says so, as a rule, and then others may have the seat.
    let Some(now_ms) = time(&stage).filter(|_| stage.chance.happens(0.7)) else { return };
    if let Ok(Some(left)) = tickets::cancel(&stage.db, NAMESPACE, id, now_ms).await
        && left.state() == TicketState::Cancelled
    {
        note(&stage, id, |known| known.cancelled = true);
    }
}
