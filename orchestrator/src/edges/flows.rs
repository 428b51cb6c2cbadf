//! Keeping in the store what flows an edge says it has: pure, but for the loop at the end.
//!
//! Whether a server has flows at all is written as it changes, for idleness hangs on it; by how many they
//! changed is written from time to time, for people to look at.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use muster_protocol::edge::ServerTraffic;
use muster_protocol::id::{EdgeId, ServerId};
use muster_store::{Database, StoreError};
use tokio::sync::watch;

use crate::lifecycle::{StepError, require_edge_link};
use crate::links::Ended;
use crate::state::{self, StateError};

/// Every how many reports changed numbers are written, too; a report comes every two seconds.
const REFRESH_EVERY: u64 = 5;
/// Rows written in one transaction.
const BATCH: usize = 500;
/// Pause before the store is asked again after it failed.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Flows by server, without those that have none.
pub(crate) type Flows = BTreeMap<ServerId, u32>;

/// What a report says of flows.
pub(crate) fn of_report(traffic: &[ServerTraffic]) -> Flows {
    traffic
        .iter()
        .filter(|server| server.flows > 0)
        .filter_map(|server| Some((server.server_id.parse().ok()?, server.flows)))
        .take(state::flows::MAX_SERVERS_PER_EDGE)
        .collect()
}

/// What is to be written to get from `before` to `now`: the number of flows, 0 where there are none left.
/// Numbers that changed and are not 0 only with `refresh`.
fn changes(before: &Flows, now: &Flows, refresh: bool) -> Vec<(ServerId, u32)> {
    let gone = before.keys().filter(|server| !now.contains_key(server)).map(|server| (*server, 0));
    let news = now.iter().filter(|(server, flows)| match before.get(server) {
        None => true,
        Some(known) => refresh && known != *flows,
    });
    gone.chain(news.map(|(server, flows)| (*server, *flows))).collect()
}

/// Writes what `reports` says, the link of `session` having none yet. Ends only with the link or the store.
pub(crate) async fn record(
    db: &Database,
    edge: EdgeId,
    session: u64,
    mut reports: watch::Receiver<Option<Flows>>,
) -> Result<Infallible, Ended> {
    let mut written: Option<Flows> = None;
    for count in 0u64.. {
        reports.changed().await.map_err(|_| Ended::Left)?;
        let Some(now) = reports.borrow_and_update().clone() else { continue };
        loop {
            match write(db, edge, session, &mut written, &now, count.is_multiple_of(REFRESH_EVERY)).await {
                Ok(()) => break,
                Err(StepError::State(StateError::Store(StoreError::Closed))) => {
                    return Err(Ended::ShuttingDown);
                }
                Err(error @ StepError::Superseded(_)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%edge, %error, "not written which servers have players; trying again");
                    tokio::time::sleep(STORE_PAUSE).await;
                }
            }
        }
    }
    Err(Ended::Left)
}

async fn write(
    db: &Database,
    edge: EdgeId,
    session: u64,
    written: &mut Option<Flows>,
    now: &Flows,
    refresh: bool,
) -> Result<(), StepError> {
    let first = written.is_none();
    let before = match written {
        Some(before) => before,
        // What an earlier link wrote, perhaps through another replica.
        None => written
            .insert(db.read("edge_flows", async |mut tx| state::flows::of_edge(&mut tx, edge).await).await?),
    };
    for batch in changes(before, now, refresh || first).chunks(BATCH) {
        db.run("edge_flows", async |mut tx| {
            // What an older link still has to say would undo what the newer one said.
            require_edge_link(&mut tx, edge, session).await?;
            for (server, flows) in batch {
                state::flows::set(&mut tx, edge, *server, *flows).await?;
            }
            Ok::<_, StepError>(())
        })
        .await?;
        for (server, flows) in batch {
            if *flows == 0 {
                before.remove(server);
            } else {
                before.insert(*server, *flows);
            }
        }
    }
    if first {
        db.run("edge_reported", async |mut tx| state::edges::reported_flows(&mut tx, edge, session).await)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{REGION, World};

    #[tokio::test]
    async fn what_an_older_link_says_late_is_not_taken_for_news() {
        let world = World::with_region().await;
        world.apply_fleet("sha256:one", &[(REGION, 1, 9)]).await;
        world.settle().await;
        let server = world.servers().await[0].typed_id();
        let (edge, older) = world.edge_and_session().await;
        world.edges_say_hello().await;
        let (_, newer) = world.edge_and_session().await;
        assert_ne!(older, newer);
        let busy = Flows::from([(server, 3)]);
        let (mut told, mut late) = (None, Some(busy.clone()));
        write(&world.db, edge, newer, &mut told, &busy, true).await.expect("written");
        let refused = write(&world.db, edge, older, &mut late, &Flows::new(), true).await;
        assert!(matches!(refused, Err(StepError::Superseded(_))), "{refused:?}");
        let read = world.db.read("flows", async |mut tx| {
            state::flows::of_server(&mut tx, REGION, server, world.now_ms()).await
        });
        assert_eq!(read.await.expect("read"), Some(3));
    }

    #[test]
    fn coming_and_going_is_written_at_once_and_numbers_now_and_then() {
        let [one, two, three] = [ServerId::new(), ServerId::new(), ServerId::new()];
        let before = Flows::from([(one, 1), (two, 2)]);
        let now = Flows::from([(two, 3), (three, 1)]);
        let mut quiet = changes(&before, &now, false);
        quiet.sort_unstable_by_key(|(_, flows)| *flows);
        assert_eq!(quiet, [(one, 0), (three, 1)]);
        assert!(changes(&before, &now, true).contains(&(two, 3)));
        assert!(changes(&now, &now, true).is_empty());
    }

    #[test]
    fn a_report_of_strangers_is_passed_over() {
        let server = ServerId::new();
        let of = |id: String, flows| ServerTraffic { server_id: id, flows, ..Default::default() };
        let report =
            [of("nonsense".into(), 3), of(server.to_string(), 2), of(ServerId::new().to_string(), 0)];
        assert_eq!(of_report(&report), Flows::from([(server, 2)]));
    }
}
