//! Into how many parts a queue is cut, and where: decided by the matchmaker of its first part, which holds every ticket
//! as the others do, and written for all.
//!
//! While the table changes, a ticket may have two leaders for a moment, or none: of two the store lets one win, and who
//! becomes its leader lets it lead at once.

use muster_engine::inspect;
use muster_matchmaker::parts::{self, PART_TICKETS, Parts};
use muster_store::Database;

use super::memory::Memory;
use crate::state::{self, StateError};

/// How often parts are thought about, in milliseconds.
pub(super) const EVERY_MS: u64 = 10_000;

/// Changes the parts of the queue whose tickets `memory` holds, if others are better now: returns them.
pub(super) async fn change(db: &Database, memory: &Memory) -> Result<Option<Parts>, StateError> {
    let (now, tickets) = (memory.parts.count(), memory.pool.len());
    let wanted = match memory.fixed_parts {
        0 => parts::wanted(tickets, now),
        fixed => fixed,
    };
    if wanted == now && tickets <= PART_TICKETS {
        return Ok(None);
    }
    // Several parts in one process would hold every ticket as often, on the same cores.
    if memory.fixed_parts == 0 && wanted > now && !has_several_replicas(db).await? {
        return Ok(None);
    }
    let Some(better) = memory.pool.census().better(&memory.parts, wanted) else { return Ok(None) };
    let changed = db.run("change_parts", async |mut tx| {
        state::parts::change(&mut tx, &memory.record, &memory.parts, &better).await
    });
    Ok(changed.await?.then_some(better))
}

async fn has_several_replicas(db: &Database) -> Result<bool, StateError> {
    Ok(db.read("replicas", async |mut tx| inspect::workers(&mut tx).await).await?.len() > 1)
}
