//! For tests with a time of their own: what workflows do, done at once and without a worker.

use muster_store::Database;

use super::{fleet, node, placement, server, timers};
use crate::keyspace;
use crate::records::ServerRecord;
use crate::state::{StateError, edges, fleets, kv, nodes};

/// One turn of what follows changes.
pub(crate) async fn turn(db: &Database, now_ms: u64) -> Result<(), StateError> {
    let page = db.read("fleets", async |mut tx| fleets::page(&mut tx, None, 1_000).await).await?;
    for (_, record) in page {
        db.run("look", async |mut tx| {
            fleet::look(&mut tx, &record.namespace, &record.name, now_ms).await.map(drop)
        })
        .await?;
    }
    let (nodes, edges) = db
        .read("machines", async |mut tx| {
            Ok::<_, StateError>((nodes::list(&mut tx).await?, edges::list(&mut tx).await?))
        })
        .await?;
    let regions: std::collections::BTreeSet<String> =
        nodes.into_iter().map(|node| node.region).chain(edges.into_iter().map(|edge| edge.region)).collect();
    let pending = db
        .read("pending", async |mut tx| kv::scan_keys(&mut tx, &keyspace::servers_pending(), 10_000).await)
        .await?;
    let waiting =
        pending.iter().filter_map(|key| keyspace::split_server_pending(key)).map(|(region, _)| region);
    for region in regions.into_iter().chain(waiting).collect::<std::collections::BTreeSet<_>>() {
        while db.run("place", async |mut tx| placement::look(&mut tx, &region, now_ms).await).await?.more {}
    }
    Ok(())
}

/// Everything that time does by `now_ms`.
pub(crate) async fn fire_timers(db: &Database, retention_ms: u64, now_ms: u64) -> Result<(), StateError> {
    while db.run("timers", async |mut tx| timers::look(&mut tx, retention_ms, now_ms).await).await? {}
    for record in db.read("nodes", async |mut tx| nodes::list(&mut tx).await).await? {
        let look = async || {
            db.run("node", async |mut tx| node::look(&mut tx, record.typed_id(), now_ms).await).await
        };
        while look().await? == node::Looked::More {}
    }
    let servers = db
        .read("servers", async |mut tx| {
            kv::scan::<ServerRecord>(&mut tx, &keyspace::all_servers(), 10_000).await
        })
        .await?;
    for (_, record) in servers {
        db.run("server", async |mut tx| {
            server::look(&mut tx, record.typed_id(), retention_ms, now_ms).await.map(drop)
        })
        .await?;
    }
    Ok(())
}
