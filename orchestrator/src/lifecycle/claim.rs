//! Taking a warm server for a match, within the transaction that makes or serves the match.

use muster_protocol::id::MatchId;
use muster_store::Transaction;

use super::machine::{self, Event};
use crate::keyspace;
use crate::random;
use crate::records::ServerRecord;
use crate::state::{StateError, nodes, servers};

/// Warm servers looked at before looking at many.
const FIRST_LOOK: usize = 2;
/// Warm servers looked at if none of the first will do: their nodes may be out of reach.
const SECOND_LOOK: usize = 256;

/// Claims a warm server of a fleet in a region for `match_id`: the server as it is then, or `None` if
/// there is none whose node is in reach.
///
/// Looks from a random place on and conflicts only on the server it takes, so that claimants at the same
/// time seldom meet; where two take the same one, the store lets one win and the other look again.
pub(crate) async fn claim_warm(
    tx: &mut Transaction,
    namespace: &str,
    fleet: &str,
    region: &str,
    match_id: MatchId,
    now_ms: u64,
) -> Result<Option<ServerRecord>, StateError> {
    let spread = random::spread();
    for limit in [FIRST_LOOK, SECOND_LOOK] {
        let candidates = servers::warm_from(tx, namespace, fleet, region, spread, limit).await?;
        let fewer_than_asked = candidates.len() < limit;
        for server in candidates {
            // Looked at without conflict: only the one that is taken counts as read.
            let Some(before) = servers::peek(tx, server).await? else { continue };
            let Some(node) = before.node_id() else { continue };
            if !nodes::peek(tx, node).await?.is_some_and(|node| node.connected) {
                continue;
            }
            tx.add_read_conflict_key(&keyspace::server(server));
            let mut after = before.clone();
            if machine::apply(&mut after, &Event::Claimed(match_id), now_ms).is_ok() {
                servers::save(tx, &before, &after);
                return Ok(Some(after));
            }
        }
        if fewer_than_asked {
            break;
        }
    }
    Ok(None)
}
