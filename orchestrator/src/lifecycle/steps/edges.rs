//! Edges come and go, and say which routes they serve.

use muster_engine::WorkerId;
use muster_protocol::edge::{EdgeHello, RouteFailure};
use muster_protocol::id::{EdgeId, ServerId};
use muster_store::{Database, Transaction};

use super::{BATCH, Event, StepError, check_ready, happen};
use crate::keyspace;
use crate::records::{PortProtocol, ServerState};
use crate::state::routes::MAX_ROUTED_SERVERS;
use crate::state::{StateError, edges, kv, ports, servers};

/// Takes over that an edge serves the ports of the servers in `ok`, and what it could not serve, as it said on
/// its link of `session`. May be told the whole table every time: what is known already costs a read.
///
/// # Errors
/// [`StepError::Superseded`], or the store's.
pub async fn routes_applied(
    db: &Database,
    region: &str,
    (edge, session): (EdgeId, u64),
    ok: &[ServerId],
    failures: &[RouteFailure],
    now_ms: u64,
) -> Result<(), StepError> {
    for failure in failures {
        route_failed(db, region, (edge, session), failure, now_ms).await?;
    }
    let news = db
        .read("routes_applied_news", async |mut tx| {
            let mut news = Vec::new();
            for server in ok {
                let record = servers::peek(&mut tx, *server).await?;
                if record.is_some_and(|record| {
                    // One that became ready while no edge was connected waits for nothing but this word.
                    let waits = record.state() == ServerState::Starting && record.agent_ready_at_ms > 0;
                    record.holds_resources
                        && record.region == region
                        && (waits || !record.routed_edges.contains(&edge.into()))
                }) {
                    news.push(*server);
                }
            }
            Ok::<_, StateError>(news)
        })
        .await?;
    for batch in news.chunks(BATCH) {
        db.run("routes_applied", async |mut tx| {
            require_link(&mut tx, edge, session).await?;
            for server in batch {
                if let Some(record) = happen(&mut tx, *server, &Event::RoutesApplied(edge), now_ms).await? {
                    check_ready(&mut tx, &record, now_ms).await?;
                }
            }
            Ok::<_, StepError>(())
        })
        .await?;
    }
    Ok(())
}

/// What is written because of what a link said is written only while it is the edge's newest.
pub(crate) async fn require_link(tx: &mut Transaction, edge: EdgeId, session: u64) -> Result<(), StepError> {
    if edges::has_link(tx, edge, session).await? {
        Ok(())
    } else {
        Err(StepError::Superseded(edge.to_string()))
    }
}

async fn route_failed(
    db: &Database,
    region: &str,
    (edge, session): (EdgeId, u64),
    failure: &RouteFailure,
    now_ms: u64,
) -> Result<(), StepError> {
    use muster_protocol::agent::PortProtocol as Wire;
    let server: ServerId =
        failure.server_id.parse().map_err(|_| StepError::NotAServer(failure.server_id.clone()))?;
    let protocol = match failure.protocol() {
        Wire::Tcp => PortProtocol::Tcp,
        Wire::Ws => PortProtocol::Ws,
        Wire::Udp | Wire::Unspecified => PortProtocol::Udp,
    };
    let Ok(edge_port) = u16::try_from(failure.edge_port) else { return Ok(()) };
    let event = Event::RouteFailed { protocol, edge_port, code: &failure.code, detail: &failure.detail };
    db.run("route_failed", async |mut tx| {
        require_link(&mut tx, edge, session).await?;
        let record = servers::load(&mut tx, server).await?;
        // An edge may speak of what is over already, or of a port the server no longer has.
        let concerned = record.filter(|record| {
            record.region == region && record.ports.iter().any(|port| port.edge_port == u32::from(edge_port))
        });
        match concerned {
            Some(record) if record.holds_resources => {
                happen(&mut tx, server, &event, now_ms).await?;
            }
            // Several of its ports failed: the first has ended it, the others must not be given out
            // again either.
            Some(_) => ports::quarantine(&mut tx, region, protocol, edge_port, now_ms).await?,
            None => {}
        }
        Ok(())
    })
    .await
}

/// Takes over an edge's hello. Returns the link's session, to be given to [`edge_disconnected`].
///
/// # Errors
/// [`StepError::Unknown`] if the edge is not on record, or the store's.
pub async fn edge_connected(
    db: &Database,
    edge: EdgeId,
    hello: &EdgeHello,
    replica: WorkerId,
    now_ms: u64,
) -> Result<u64, StepError> {
    db.run("edge_connected", async |mut tx| {
        edges::upsert_hello(&mut tx, edge, hello, replica, now_ms)
            .await?
            .ok_or_else(|| StepError::Unknown(edge.to_string()))
    })
    .await
}

/// Takes over that an edge's link of `session` is down. Servers that waited for this edge alone are
/// ready then.
///
/// # Errors
/// The store's.
pub async fn edge_disconnected(
    db: &Database,
    edge: EdgeId,
    session: u64,
    now_ms: u64,
) -> Result<(), StepError> {
    let region = db
        .run("edge_disconnected", async |mut tx| edges::disconnected(&mut tx, edge, session, now_ms).await)
        .await?;
    if let Some(region) = region {
        check_awaiting(db, &region, now_ms).await?;
    }
    Ok(())
}

/// Looks at every server of a region that waits for edges.
async fn check_awaiting(db: &Database, region: &str, now_ms: u64) -> Result<(), StateError> {
    let keys = db
        .read("awaiting_routes", async |mut tx| {
            let range = keyspace::servers_awaiting_routes(region);
            kv::scan_keys(&mut tx, &range, MAX_ROUTED_SERVERS).await
        })
        .await?;
    for server in keys.iter().filter_map(|key| keyspace::last_id(key)) {
        db.run("check_ready", async |mut tx| {
            if let Some(record) = servers::load(&mut tx, server).await? {
                check_ready(&mut tx, &record, now_ms).await?;
            }
            Ok::<_, StateError>(())
        })
        .await?;
    }
    Ok(())
}
