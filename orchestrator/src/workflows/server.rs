//! The workflow of one server: what time does to it. It is stopped when its time to finish is over or when
//! nobody has played on it for long enough, and removed when it has been over for long enough.
//!
//! Everything else happens to a server in the transaction of whoever has news of it, which nudges this
//! workflow.

use std::time::Duration;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_protocol::id::ServerId;
use muster_store::Transaction;

use crate::lifecycle::machine::Event as ServerEvent;
use crate::lifecycle::{explain, happen, pass_drain_deadline};
use crate::records::{Goal, ServerRecord, ServerState};
use crate::state::{StateError, flows, servers, workflows};

/// The timer of whatever comes next.
const TIMER: &str = "due";
/// Most servers that are over and kept, in one namespace; beyond, they are removed as they end.
const MAX_ENDED: u32 = 10_000;
/// How soon it is asked again whether anybody plays, while no edge says.
const ASK_AGAIN_MS: u64 = 2_000;

/// Keeps servers.
pub(crate) struct Server {
    /// How long what is over is kept, in milliseconds.
    pub(crate) retention_ms: u64,
}

impl Kind for Server {
    const KIND: &'static str = workflows::SERVER;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    const RETENTION: Duration = Duration::ZERO;
    type Input = ();
    type Signal = ();
}

impl Machine for Server {
    /// All there is to know is on record.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        if matches!(event, Event::Cancel) {
            return Ok(());
        }
        let (key, now_ms) = (cx.address().key().to_owned(), cx.now_ms());
        let server: ServerId =
            key.parse().map_err(|error| Failure::Because(format!("{key:?} is no server: {error}")))?;
        let looked = look(cx.tx(), server, self.retention_ms, now_ms).await?;
        match looked.due_ms {
            Some(due_ms) => cx.set_timer(TIMER, due_ms)?,
            None => cx.cancel_timer(TIMER),
        }
        cx.waiting_for(&looked.waits_for);
        if looked.gone {
            cx.finish(&())?;
        }
        Ok(())
    }
}

/// What a look at a server found.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// There is no such server any more.
    pub(crate) gone: bool,
    /// When to look again at the latest, Unix milliseconds.
    pub(crate) due_ms: Option<u64>,
    waits_for: String,
}

impl Looked {
    fn gone() -> Self {
        Self { gone: true, ..Self::default() }
    }

    fn until(due_ms: u64, waits_for: String) -> Self {
        Self { gone: false, due_ms: Some(due_ms), waits_for }
    }
}

/// Looks at the server, and does what is due.
pub(crate) async fn look(
    tx: &mut Transaction,
    server: ServerId,
    retention_ms: u64,
    now_ms: u64,
) -> Result<Looked, StateError> {
    // Without conflict, for most looks find nothing to do, and all of a batch would be made again.
    let Some(record) = servers::peek(tx, server).await? else { return Ok(Looked::gone()) };
    let state = record.state();
    if state.is_final() {
        return over(tx, record, retention_ms, now_ms).await;
    }
    if state == ServerState::Draining && record.goal() == Goal::Drain {
        if record.drain_deadline_ms > now_ms {
            return Ok(Looked::until(record.drain_deadline_ms, explain(&record, None)));
        }
        pass_drain_deadline(tx, server, now_ms).await?;
        // What it did nudges this workflow.
        return Ok(Looked::default());
    }
    if state == ServerState::Allocated && record.idle_s > 0 {
        return idle(tx, record, now_ms).await;
    }
    Ok(Looked { waits_for: explain(&record, None), ..Looked::default() })
}

/// A server that is over: kept for a while, then removed.
async fn over(
    tx: &mut Transaction,
    record: ServerRecord,
    retention_ms: u64,
    now_ms: u64,
) -> Result<Looked, StateError> {
    let ended_ms = record.entered_ms(record.state()).unwrap_or_default();
    let until_ms = ended_ms.saturating_add(retention_ms);
    if until_ms > now_ms {
        let totals = servers::totals(tx, Some(&record.namespace)).await?;
        let ended = |state| totals.get(&state).copied().unwrap_or_default();
        if ended(ServerState::Stopped) + ended(ServerState::Failed) <= MAX_ENDED {
            return Ok(Looked::until(until_ms, "the time it is kept for, to be over".to_owned()));
        }
    }
    if let Some(record) = servers::load(tx, record.typed_id()).await? {
        servers::remove(tx, &record);
    }
    Ok(Looked::gone())
}

/// A claimed server that is stopped once nobody has played on it for its `idle_s`.
async fn idle(tx: &mut Transaction, seen: ServerRecord, now_ms: u64) -> Result<Looked, StateError> {
    let idle_ms = u64::from(seen.idle_s) * 1_000;
    let players = flows::of_server(tx, &seen.region, seen.typed_id(), now_ms).await?;
    let Some(players) = players else {
        let again_ms = now_ms + ASK_AGAIN_MS.min(idle_ms);
        return Ok(Looked::until(again_ms, "an edge to say whether anybody plays on it".to_owned()));
    };
    let is_idle = players == 0 && (!seen.uses_sdk || seen.connected_seats.is_empty());
    if !is_idle && seen.idle_since_ms == 0 {
        return Ok(Looked::until(now_ms + idle_ms, format!("its {players} players to leave")));
    }
    if is_idle && seen.idle_since_ms > 0 && seen.idle_since_ms.saturating_add(idle_ms) > now_ms {
        return Ok(Looked::until(
            seen.idle_since_ms + idle_ms,
            "a player, or it is stopped as idle".to_owned(),
        ));
    }
    // Something is to be written: from here on what is seen must not have changed.
    let Some(before) = servers::load(tx, seen.typed_id()).await? else { return Ok(Looked::gone()) };
    if before == seen {
        if is_idle && seen.idle_since_ms > 0 {
            tracing::info!(server = %seen.typed_id(), "stopping an idle server");
            happen(tx, seen.typed_id(), &ServerEvent::Stop { reason: "idle" }, now_ms).await?;
            return Ok(Looked::default());
        }
        let after = ServerRecord { idle_since_ms: if is_idle { now_ms } else { 0 }, ..before.clone() };
        servers::save(tx, &before, &after);
    }
    Ok(Looked::until(now_ms + idle_ms, "a player, or it is stopped as idle".to_owned()))
}
