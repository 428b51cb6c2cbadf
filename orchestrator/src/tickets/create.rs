//! Taking a ticket into its queue, or back to the seats that its players have.

use muster_matchmaker::filter::Filter;
use muster_matchmaker::{Player, Queue, TicketError as Misfit};
use muster_protocol::api::{MAX_RECORDED, PartyMember, TicketRequest};
use muster_protocol::id::TicketId;
use muster_store::{Database, Transaction};

use super::{TicketError, withdraw};
use crate::asker::{Asker, Owned};
use crate::matchmaking::compile;
use crate::random;
use crate::records::{QueueMode, QueueRecord, TicketMember, TicketPriority, TicketRecord, TicketState};
use crate::seats::{self, REPLACED};
use crate::state::tickets::MAX_SEARCHING;
use crate::state::{StateError, queues, recordings, tickets};

/// Takes a ticket into its queue, or back to the seats its players have, if the request leaves that open and `asker` may
/// dispose of them. Older tickets of theirs in the queue that wait give way. One that the request's idempotency key made
/// before is answered as it is. What the request looks like by itself was checked before.
///
/// # Errors
/// [`TicketError`]; nothing is taken then.
pub async fn create(
    db: &Database,
    namespace: &str,
    request: &TicketRequest,
    asker: &Asker,
    now_ms: u64,
) -> Result<TicketRecord, TicketError> {
    let ticket: TicketId = random::id();
    db.run("create_ticket", async |mut tx| {
        let queue = queues::peek(&mut tx, namespace, &request.queue).await?;
        let queue = queue.ok_or_else(|| TicketError::UnknownQueue(request.queue.clone()))?;
        let key = request.idempotency_key.as_deref();
        if let Some(made) = asker.made_before(&mut tx, namespace, key).await? {
            return Ok(made);
        }
        let mut record = TicketRecord {
            id: Some(ticket.into()),
            token_sha256: asker.token_sha256.clone(),
            request_sha256: asker.request_sha256.clone(),
            vouched: asker.vouches,
            ..asked(&queue, request, now_ms)
        };
        let owned = asker.owned_beside(&mut tx, &record).await?;
        // Who comes back is no newcomer: neither the queue's mode nor its definition is in the way.
        if request.rejoin
            && let Some(back) = seats::rejoin(&mut tx, &record, &owned, now_ms).await?
        {
            return Ok(back);
        }
        if queue.mode() == QueueMode::Draining {
            return Err(TicketError::Draining(queue.name));
        }
        let compiled = compile(&queue)?;
        admit(&compiled.queue, request)?;
        // Without conflict, so that tickets do not contend: the bound may be passed by as many as race.
        let searching = tickets::count(&mut tx, namespace, &queue.name, TicketState::Searching).await?;
        if searching as usize >= MAX_SEARCHING {
            return Err(TicketError::QueueFull(queue.name));
        }
        if !request.rejoin {
            seats::give_up(&mut tx, &record, &owned, now_ms).await?;
        }
        give_way(&mut tx, &record, &owned, now_ms).await?;
        record.recorded = compiled.spec.recording
            && recordings::count(&mut tx, namespace, &queue.name).await? < MAX_RECORDED;
        tickets::save(&mut tx, None, &record);
        Ok(record)
    })
    .await
}

/// Withdraws older tickets of those who ask for `newer` that wait in its queue: nobody plays two matches at once, and a match
/// of theirs would have somebody who is not there. Those that have their server keep it, to come back to, unless their seats are given up.
async fn give_way(
    tx: &mut Transaction,
    newer: &TicketRecord,
    owned: &Owned,
    now_ms: u64,
) -> Result<(), StateError> {
    for older in owned.tickets.iter().filter(|older| older.queue == newer.queue) {
        if let Some(older) = tickets::load(tx, older.typed_id()).await?
            && !older.state().is_final()
        {
            withdraw(tx, older, REPLACED, now_ms).await?;
        }
    }
    Ok(())
}

/// The ticket that a request asks for, searching.
fn asked(queue: &QueueRecord, request: &TicketRequest, now_ms: u64) -> TicketRecord {
    TicketRecord {
        namespace: queue.namespace.clone(),
        queue: queue.name.clone(),
        player: request.player.clone(),
        latencies_ms: request.latencies_ms.clone(),
        state: TicketState::Searching.into(),
        created_at_ms: now_ms,
        expires_at_ms: now_ms + u64::from(queue.ticket_ttl_s) * 1_000,
        members: players(request).iter().map(TicketMember::from).collect(),
        filter: request.filter.clone(),
        blocks: request.blocks.clone(),
        priority: TicketPriority::from(request.priority).into(),
        idempotency_key: request.idempotency_key.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// The players of a request, the one who asks first.
fn players(request: &TicketRequest) -> Vec<PartyMember> {
    let asks = PartyMember { player: request.player.clone(), attributes: request.attributes.clone() };
    std::iter::once(asks).chain(request.party.iter().cloned()).collect()
}

/// Whether a request can be matched in a queue at all.
fn admit(queue: &Queue, request: &TicketRequest) -> Result<(), TicketError> {
    let known = |member: PartyMember| {
        Ok::<_, Misfit>(Player { attributes: queue.attributes(&member.attributes)?, name: member.player })
    };
    let players: Vec<Player> = players(request).into_iter().map(known).collect::<Result<_, _>>()?;
    if !request.filter.is_empty() {
        let filter = Filter::compile(&request.filter, queue.schema())?;
        filter.can_hold(None)?;
        players.iter().try_for_each(|player| filter.can_hold(Some(&player.attributes)))?;
    }
    Ok(queue.admits_players(players)?)
}
