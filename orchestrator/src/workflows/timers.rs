//! The workflow of what is due of things too many and too short-lived for workflows of their own: tickets and
//! matches expire and are removed, kept seats become free, ports come out of quarantine.
//!
//! What is due lies in rows sorted by when; one workflow looks at their head. Servers, nodes and fleets have
//! their own workflows, which rows of older releases are handed to.

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_store::{Bytes, Transaction};

use crate::keyspace::{self, Timer};
use crate::matchmaking::{Fate, dissolve, lapse};
use crate::records::{EdgePortRecord, MatchRecord, TicketRecord, TicketState};
use crate::seats;
use crate::state::{StateError, fleets, kv, matches, nodes, ports, servers, tickets, timers, workflows};

/// The timer of the next look.
const TIMER: &str = "look";
/// How long after it is due something may be noticed, in milliseconds.
const TICK_MS: u64 = 500;
/// For how long something is put off whose record cannot be read, in milliseconds.
const PUT_OFF_MS: u64 = 60_000;
/// What is done in one transaction.
const BATCH: usize = 64;
/// Most tickets that are over and kept, in one namespace; beyond, they are removed as they end.
const MAX_ENDED_TICKETS: u32 = 200_000;

/// Does what is due.
pub(crate) struct Timers {
    /// How long what is over is kept, in milliseconds.
    pub(crate) retention_ms: u64,
}

impl Kind for Timers {
    const KIND: &'static str = workflows::TIMERS;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    type Input = ();
    type Signal = ();
}

impl Machine for Timers {
    /// All there is to know is in rows.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        if matches!(event, Event::Cancel) {
            return Ok(());
        }
        let now_ms = cx.now_ms();
        let more = look(cx.tx(), self.retention_ms, now_ms).await?;
        if more {
            cx.again();
        }
        cx.set_timer(TIMER, now_ms + TICK_MS)?;
        cx.waiting_for("the next ticket, match, seat or port whose time comes");
        Ok(())
    }
}

/// Does some of what is due at `now_ms`. Returns whether there may be more.
pub(crate) async fn look(tx: &mut Transaction, retention_ms: u64, now_ms: u64) -> Result<bool, StateError> {
    let due = timers::due(tx, now_ms, BATCH).await?;
    for key in &due {
        tx.clear(key);
        fire(tx, key, retention_ms, now_ms).await?;
    }
    Ok(due.len() == BATCH)
}

async fn fire(tx: &mut Transaction, key: &Bytes, retention_ms: u64, now_ms: u64) -> Result<(), StateError> {
    let Some((due_ms, timer)) = keyspace::split_timer(key) else {
        tracing::warn!(?key, "a timer of an unknown kind is dropped");
        return Ok(());
    };
    // One record that cannot be read must not keep all others from their time, and nothing may be done by half.
    match read(tx, &timer).await {
        Ok(()) => {}
        Err(StateError::Store(error)) => return Err(error.into()),
        Err(error @ (StateError::Corrupt { .. } | StateError::Newer { .. })) => {
            tracing::error!(?timer, %error, "what is due is put off");
            timers::set(tx, now_ms + PUT_OFF_MS, &timer);
            return Ok(());
        }
    }
    let keeps = Keeps { due_ms, now_ms, retention_ms, timer: &timer };
    match &timer {
        Timer::TicketExpiry(ticket) => crate::tickets::expire(tx, *ticket, now_ms).await,
        Timer::TicketRemoval(ticket) => {
            let record = tickets::load(tx, *ticket).await?;
            remove_ticket(tx, record, keeps).await
        }
        Timer::MatchDeadline(match_id) => {
            if lapse(tx, *match_id, now_ms).await? {
                return Ok(());
            }
            let fate = Fate::Fail(
                "no_server",
                "no server became ready for the match in time; muster fleet ls says what the fleet waits for",
            );
            dissolve(tx, *match_id, fate, now_ms).await.map(drop)
        }
        Timer::MatchRemoval(match_id) => {
            let record = matches::load(tx, *match_id).await?;
            remove_match(tx, record, keeps).await
        }
        Timer::PortRelease(region, protocol, port) => {
            ports::release(tx, region, *protocol, *port, now_ms).await
        }
        Timer::SeatRelease(match_id, seat) => seats::pass_kept(tx, *match_id, *seat, now_ms).await,
        // Set by older releases only.
        Timer::DrainDeadline(server) | Timer::ServerRemoval(server) => {
            if let Some(record) = servers::peek(tx, *server).await? {
                workflows::touch_server(tx, &record.namespace, *server);
            }
            Ok(())
        }
        Timer::NodeLoss(node) => {
            nodes::touch(tx, *node);
            Ok(())
        }
        Timer::FleetRetry(namespace, fleet) => {
            fleets::touch(tx, namespace, fleet);
            Ok(())
        }
    }
}

/// Reads what `timer` is of, before anything is done.
async fn read(tx: &mut Transaction, timer: &Timer) -> Result<(), StateError> {
    match timer {
        Timer::TicketExpiry(ticket) | Timer::TicketRemoval(ticket) => {
            tickets::load(tx, *ticket).await?;
        }
        Timer::MatchDeadline(match_id) | Timer::MatchRemoval(match_id) | Timer::SeatRelease(match_id, _) => {
            let Some(record) = matches::load(tx, *match_id).await? else { return Ok(()) };
            for ticket in record.tickets() {
                tickets::load(tx, ticket).await?;
            }
        }
        Timer::PortRelease(region, protocol, port) => {
            kv::load::<EdgePortRecord>(tx, &keyspace::edge_port(region, *protocol, *port)).await?;
        }
        // These are handed on to workflows of their own.
        Timer::DrainDeadline(_) | Timer::ServerRemoval(_) | Timer::NodeLoss(_) | Timer::FleetRetry(..) => {}
    }
    Ok(())
}

/// A removal that may not be due yet: removals are set for the end itself, and moved on from there.
#[derive(Clone, Copy)]
struct Keeps<'a> {
    due_ms: u64,
    now_ms: u64,
    retention_ms: u64,
    timer: &'a Timer,
}

impl Keeps<'_> {
    /// Moves the timer on if what ended at `ended_ms` is still to be kept. Returns whether it is.
    fn on(self, tx: &mut Transaction, ended_ms: u64, too_many: bool) -> bool {
        let until_ms = ended_ms.saturating_add(self.retention_ms);
        let keep = !too_many && until_ms > self.now_ms && until_ms != self.due_ms;
        if keep {
            timers::set(tx, until_ms, self.timer);
        }
        keep
    }
}

async fn remove_ticket(
    tx: &mut Transaction,
    record: Option<TicketRecord>,
    keeps: Keeps<'_>,
) -> Result<(), StateError> {
    let Some(record) = record.filter(|record| record.ended_at_ms > 0) else { return Ok(()) };
    let totals = tickets::totals(tx, Some(&record.namespace)).await?;
    let ended: u32 = totals.iter().filter(|(state, _)| state.is_final()).map(|(_, number)| number).sum();
    if !keeps.on(tx, record.ended_at_ms, ended > MAX_ENDED_TICKETS) {
        tickets::remove(tx, &record);
    }
    Ok(())
}

async fn remove_match(
    tx: &mut Transaction,
    record: Option<MatchRecord>,
    keeps: Keeps<'_>,
) -> Result<(), StateError> {
    let Some(record) = record.filter(|record| record.ended_at_ms > 0) else { return Ok(()) };
    if keeps.on(tx, record.ended_at_ms, false) {
        return Ok(());
    }
    for ticket in record.tickets() {
        if let Some(ticket) = tickets::load(tx, ticket).await?
            && ticket.state() == TicketState::Assigned
        {
            tickets::remove(tx, &ticket);
        }
    }
    matches::remove(tx, &record);
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_protocol::id::TicketId;
    use muster_store::StoreError;

    use super::*;
    use crate::world::World;

    async fn write(world: &World, ticket: TicketId, record: &[u8]) {
        let written = world.db.run("test", async |mut tx| {
            tx.set(&keyspace::ticket(ticket), record);
            Ok::<_, StoreError>(())
        });
        written.await.expect("written");
    }

    #[tokio::test]
    async fn a_record_that_cannot_be_read_keeps_nothing_else_from_its_time() {
        let world = World::with_region().await;
        world.apply_fleet("sha256:one", &[("eu", 1, 5)]).await;
        world.apply_queue(2).await;
        let damaged = world.ticket("ada").await;
        let well = world.ticket("bob").await;
        let row = world.db.read("test", async |mut tx| tx.get(&keyspace::ticket(damaged)).await).await;
        let row = row.expect("read").expect("there");
        write(&world, damaged, b"\xff").await;
        world.pass_time(600_000);
        world.fire_timers().await;
        assert_eq!(world.see(well).await.record.state(), TicketState::Expired);
        // Its own time comes once it can be read.
        write(&world, damaged, &row).await;
        world.pass_time(PUT_OFF_MS);
        world.fire_timers().await;
        assert_eq!(world.see(damaged).await.record.state(), TicketState::Expired);
    }
}
