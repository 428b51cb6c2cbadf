//! The orchestrator's workflows, and the worker of this process that does its part of them.
//!
//! A workflow's truth lies in records of its own, which the API, links and other workflows change in their
//! own transactions; each such change nudges it. So there is one way in which things change, and the engine
//! adds who looks, when, how often it is tried again, and what is told of it.

mod fleet;

use muster_engine::{Engine, Options, Registry};
use muster_store::{Database, StoreLocation};

use crate::state::{StateError, fleets};

pub(crate) use fleet::Fleet;
#[cfg(test)]
pub(crate) use fleet::look;

/// Fleets nudged in one transaction.
const PAGE: usize = 256;

/// Every kind there is code for.
pub(crate) fn registry() -> Registry {
    Registry::new().with_machine(Fleet)
}

/// Starts this process's worker. `name` is what it calls itself to people.
pub(crate) fn start(db: &Database, location: &StoreLocation, name: &str) -> Engine {
    // The file of an embedded store is locked: whoever did the work before is gone.
    let alone = matches!(location, StoreLocation::Embedded);
    Engine::start(db.clone(), registry(), Options { name: name.to_owned(), alone, ..Options::default() })
}

/// Nudges every fleet, once at a start: those of a store that older code wrote were never nudged.
pub(crate) async fn nudge_all(db: &Database) -> Result<(), StateError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page =
            db.read("fleets", async |mut tx| fleets::page(&mut tx, after.as_deref(), PAGE).await).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.to_vec());
        db.run("nudge_fleets", async |mut tx| {
            for (_, record) in &page {
                fleets::touch(&mut tx, &record.namespace, &record.name);
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
}
