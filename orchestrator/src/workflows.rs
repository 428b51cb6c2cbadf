//! The orchestrator's workflows, and the worker of this process that does its part of them.
//!
//! A workflow's truth lies in records of its own, which the API, links and other workflows change in their
//! own transactions; each such change nudges it. So there is one way in which things change, and the engine
//! adds who looks, when, how often it is tried again, and what is told of it.

mod fleet;
mod node;
mod placement;
mod queue;
mod server;
#[cfg(test)]
pub(crate) mod testing;
mod timers;
mod upload;

use muster_engine::{Engine, Options, Registry, WorkerId, nudge};
use muster_store::{Bytes, Database};

use crate::keyspace::{self, KeyRange};
use crate::matchmaking::MAX_MATCHMAKERS;
use crate::records::ServerRecord;
use crate::state::{StateError, builds, edges, fleets, kv, nodes, queues, servers, workflows};

pub(crate) use fleet::Fleet;

/// Rows read and nudged in one transaction.
const PAGE: usize = 256;
/// Most uploads of an installation.
const MAX_UPLOADS: usize = 1_000;
/// Raised when servers of older stores have to be nudged once, because they have got a workflow, say.
const SERVERS_NUDGED: i64 = 1;

/// Every kind there is code for. What is over is kept for `retention_ms`.
pub(crate) fn registry(retention_ms: u64) -> Registry {
    Registry::new()
        .with_machine(Fleet)
        .with_machine(node::Node)
        .with_machine(placement::Placement)
        .with_machine(queue::Queue)
        .with_machine(server::Server { retention_ms })
        .with_machine(timers::Timers { retention_ms })
        .with_machine(upload::Upload)
}

/// Starts this process's worker, which is the `alone` one if the store admits no other process. `name` is
/// what it calls itself to people.
pub(crate) fn start(db: &Database, worker: WorkerId, alone: bool, retention_ms: u64, name: &str) -> Engine {
    let options = Options { name: name.to_owned(), alone, worker, ..Options::default() };
    Engine::start(db.clone(), registry(retention_ms), options)
}

/// Nudges what older code may not have: everything of which there is little at each start, and servers once.
pub(crate) async fn nudge_all(db: &Database) -> Result<(), StateError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page =
            db.read("fleets", async |mut tx| fleets::page(&mut tx, after.as_deref(), PAGE).await).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.to_vec());
        db.run("nudge_fleets", async |mut tx| {
            for (_, record) in &page {
                fleets::touch(&mut tx, &record.namespace, &record.name);
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    db.run("nudge_machines", async |mut tx| {
        for node in nodes::list(&mut tx).await? {
            nodes::touch(&mut tx, node.typed_id());
            workflows::touch_placement(&mut tx, &node.region);
        }
        for edge in edges::list(&mut tx).await? {
            workflows::touch_placement(&mut tx, &edge.region);
        }
        for upload in builds::list_uploads(&mut tx, MAX_UPLOADS).await? {
            nudge(&mut tx, &workflows::upload(&upload.namespace, upload.typed_id()));
        }
        for (_, queue) in queues::page(&mut tx, None, MAX_MATCHMAKERS).await? {
            nudge(&mut tx, &workflows::queue(&queue.namespace, &queue.name));
        }
        nudge(&mut tx, &workflows::timers());
        Ok::<_, StateError>(())
    })
    .await?;
    nudge_servers(db).await
}

/// Nudges every server, unless that has been done on this store.
async fn nudge_servers(db: &Database) -> Result<(), StateError> {
    let key = keyspace::servers_nudged();
    if db.read("servers_nudged", async |mut tx| kv::peek_number(&mut tx, &key).await).await? >= SERVERS_NUDGED
    {
        return Ok(());
    }
    let mut range: KeyRange = keyspace::all_servers();
    loop {
        let page: Vec<(Bytes, ServerRecord)> =
            db.read("servers", async |mut tx| kv::scan(&mut tx, &range, PAGE).await).await?;
        let Some((last, _)) = page.last() else { break };
        range = range.after(last);
        db.run("nudge_servers", async |mut tx| {
            for (_, record) in &page {
                servers::touch(&mut tx, record);
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    db.run("servers_nudged", async |mut tx| {
        tx.set(&key, &SERVERS_NUDGED.to_le_bytes());
        Ok::<_, StateError>(())
    })
    .await
}
