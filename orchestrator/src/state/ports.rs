//! Ports of a region's edges: which are free, who holds one, which are in quarantine.
//!
//! A server has the same port on every edge of its region, so a port is taken region-wide.

use muster_protocol::id::ServerId;
use muster_store::Transaction;

use super::{StateError, kv, timers, workflows};
use crate::keyspace::{self, Timer};
use crate::records::{EdgePortRecord, Port, PortProtocol};

/// Rows looked at in the first read for a free port, which mostly finds one: looking begins anywhere. Each further read
/// looks at [`MORE`] times as many, up to [`MAX_ROWS`].
const FIRST_ROWS: usize = 4;
const MORE: usize = 4;
const MAX_ROWS: usize = 256;
/// How long a port that an edge could not open is not given out again.
pub const QUARANTINE_MS: u64 = 10 * 60 * 1_000;

/// Takes a free port of `first..=last` for each of `ports`, looking from `start` on and round. Returns
/// whether there were enough; if not, nothing may be committed.
pub(crate) async fn take(
    tx: &mut Transaction,
    region: &str,
    server: ServerId,
    ports: &mut [Port],
    (first, last): (u16, u16),
    start: u16,
) -> Result<bool, StateError> {
    let start = start.clamp(first, last);
    for port in ports {
        let protocol = port.protocol();
        let found = match free(tx, region, protocol, start, last).await? {
            Some(number) => Some(number),
            None if start > first => free(tx, region, protocol, first, start - 1).await?,
            None => None,
        };
        let Some(number) = found else { return Ok(false) };
        let key = keyspace::edge_port(region, protocol, number);
        // The scan does not conflict; taking the port does.
        tx.add_read_conflict_key(&key);
        kv::save(tx, &key, &EdgePortRecord { server: Some(server.into()), quarantined_until_ms: 0 });
        port.edge_port = u32::from(number);
    }
    Ok(true)
}

/// The lowest free port of `from..=last`.
async fn free(
    tx: &mut Transaction,
    region: &str,
    protocol: PortProtocol,
    from: u16,
    last: u16,
) -> Result<Option<u16>, StateError> {
    let (mut candidate, mut most) = (from, FIRST_ROWS);
    loop {
        let range =
            keyspace::edge_ports(region, protocol).from(keyspace::edge_port(region, protocol, candidate));
        let rows = kv::scan_keys(tx, &range, most).await?;
        let full = rows.len() == most;
        most = (most * MORE).min(MAX_ROWS);
        for key in rows {
            match keyspace::split_edge_port(&key) {
                Some(taken) if taken == candidate => match candidate.checked_add(1) {
                    Some(next) => candidate = next,
                    None => return Ok(None),
                },
                _ => return Ok((candidate <= last).then_some(candidate)),
            }
        }
        if candidate > last {
            return Ok(None);
        }
        if !full {
            return Ok(Some(candidate));
        }
    }
}

/// Gives back the ports of a server.
pub(crate) fn give_back(tx: &mut Transaction, region: &str, ports: &[Port]) {
    for port in ports {
        if let Ok(number @ 1..) = u16::try_from(port.edge_port) {
            tx.clear(&keyspace::edge_port(region, port.protocol(), number));
        }
    }
}

/// Keeps a port from being given out for [`QUARANTINE_MS`]. A port that a server holds is not taken
/// from it.
pub(crate) async fn quarantine(
    tx: &mut Transaction,
    region: &str,
    protocol: PortProtocol,
    port: u16,
    now_ms: u64,
) -> Result<(), StateError> {
    let key = keyspace::edge_port(region, protocol, port);
    let held = kv::load::<EdgePortRecord>(tx, &key).await?.is_some_and(|record| record.server.is_some());
    if !held {
        let until_ms = now_ms + QUARANTINE_MS;
        kv::save(tx, &key, &EdgePortRecord { server: None, quarantined_until_ms: until_ms });
        timers::set(tx, until_ms, &Timer::PortRelease(region.to_owned(), protocol, port));
    }
    Ok(())
}

/// Ends a quarantine that is over at `now_ms`.
pub(crate) async fn release(
    tx: &mut Transaction,
    region: &str,
    protocol: PortProtocol,
    port: u16,
    now_ms: u64,
) -> Result<(), StateError> {
    let key = keyspace::edge_port(region, protocol, port);
    if let Some(record) = kv::load::<EdgePortRecord>(tx, &key).await?
        && record.server.is_none()
        && record.quarantined_until_ms <= now_ms
    {
        tx.clear(&key);
        workflows::touch_placement(tx, region);
    }
    Ok(())
}
