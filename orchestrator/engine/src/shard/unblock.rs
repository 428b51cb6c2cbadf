//! What a worker does first with a shard: lets those go on that an earlier owner had no code for, or could not read.
//!
//! Whoever it still cannot help stays aside.

use std::sync::Mutex;

use muster_store::Transaction;

use crate::address::Address;
use crate::held;
use crate::keyspace::{self, UNREADABLE};
use crate::limits::{BATCH, MAX_PAGE};
use crate::records::{Status, WorkflowRecord};
use crate::shard::Unleased;
use crate::shard::batch::{Batch, Turn, TurnError};
use crate::shard::task::Task;

impl Task {
    /// Lets the workflows that an earlier owner of the shard could not read, or had no code for, go on, if this one can.
    pub(super) async fn unblock(&mut self) -> Result<(), Unleased> {
        let (shared, lease) = (self.shared.clone(), self.lease);
        let range = keyspace::asides(lease.shard);
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = range.clone();
            let page = if let Some(after) = &after { page.after(after) } else { page };
            let rows = shared
                .db
                .read("engine_asides", async |mut tx| {
                    tx.snapshot_get_range(&page.begin, &page.end, MAX_PAGE, false).await
                })
                .await?;
            for (key, _) in rows.iter().filter(|(_, status)| status == UNREADABLE) {
                self.give_back(key).await?;
            }
            let blocked: Vec<Address> = rows
                .iter()
                .filter(|(_, status)| status.as_ref() == [Status::Blocked as u8] || status == UNREADABLE)
                .filter_map(|(key, _)| keyspace::split_address(key))
                .collect();
            for chunk in blocked.chunks(BATCH) {
                let (at_work, cache) = (Mutex::new(None), &self.cache);
                let freed = shared
                    .db
                    .run("engine_unblock", async |tx: Transaction| {
                        let turn = Turn {
                            shared: &shared,
                            lease,
                            cache,
                            after_zone: None,
                            limit: 1,
                            at_work: &at_work,
                        };
                        Batch::new(turn, tx).unblock_all(chunk).await
                    })
                    .await;
                match freed {
                    Ok(_) => {}
                    Err(TurnError::Unleased(error)) => return Err(error),
                    Err(TurnError::Failed(failed)) => {
                        self.blame(&failed.address, &failed.event, &failed.failure).await?;
                    }
                }
            }
            match rows.last() {
                Some((key, _)) if rows.len() == MAX_PAGE => after = Some(key.to_vec()),
                _ => return Ok(()),
            }
        }
    }

    /// Gives back what is held by the aside at `key`, if it can be read now: all of it before the first turn, so that what
    /// comes from then on is behind it.
    async fn give_back(&self, key: &[u8]) -> Result<(), Unleased> {
        let (shared, lease) = (&*self.shared, self.lease);
        let (workflow, nobody) = (keyspace::split_address(key), keyspace::split_nobody(key));
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (begin, more) = shared
                .db
                .run("engine_give_back", async |mut tx: Transaction| {
                    shared.fence(&mut tx, lease).await?;
                    if let Some((shard, namespace)) = &nobody {
                        let zone = (*shard, namespace.as_str());
                        let next = held::give_back_of_nobody(&mut tx, zone, after.as_deref()).await?;
                        let more = next.is_some();
                        return Ok((next.map(|key| key.to_vec()), more));
                    }
                    let Some(address) = &workflow else { return Ok((None, false)) };
                    let row = tx.get(&keyspace::state(address)).await?;
                    let more = match row.as_ref().map(WorkflowRecord::read) {
                        Some(Ok(record)) => held::give_back(&mut tx, address, &record).await?,
                        _ => false,
                    };
                    Ok::<_, Unleased>((None, more))
                })
                .await?;
            if !more {
                return Ok(());
            }
            after = begin;
        }
    }
}
