//! The yardstick of the store's benchmark: redb as it comes, with a group commit like the store's.
//!
//! Readers read a snapshot; one thread takes all writes that wait and makes them durable together.
//! Nobody checks whether what was read is still so, which is what the store adds.

use std::path::Path;

use anyhow::Context as _;
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::store::{PUTS, Plan, ROWS, RUN, VALUE_BYTES, file_in, key};

const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Transactions that may wait for the thread, and that it takes together: the store's own bounds.
const QUEUE: usize = 4_096;
const BATCH: usize = 1_024;

struct Write {
    rows: [u32; PUTS],
    done: oneshot::Sender<Result<(), String>>,
}

/// redb and the thread that writes.
pub(super) struct BareRedb {
    database: std::sync::Arc<Database>,
    writes: mpsc::Sender<Write>,
}

impl BareRedb {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let database = std::sync::Arc::new(file_in(path)?);
        let (writes, waiting) = mpsc::channel(QUEUE);
        let writer = database.clone();
        std::thread::Builder::new()
            .name("bare-redb".to_owned())
            .spawn(move || commit_all(&writer, waiting))
            .context("no thread for the yardstick")?;
        Ok(Self { database, writes })
    }

    /// Puts the rows there that a transaction finds.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for row in 0..ROWS {
                table.insert(key(row).as_slice(), [7; VALUE_BYTES].as_slice())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Reads and writes as `plan` says; returns once that is durable.
    pub(super) async fn transact(&self, plan: Plan) -> anyhow::Result<()> {
        {
            let table = self.database.begin_read()?.open_table(TABLE)?;
            table.get(key(plan.get).as_slice())?.map(|value| value.value().to_vec());
            let mut rows = Vec::new();
            for row in table.range(key(plan.run).as_slice()..)?.take(RUN as usize) {
                let (key, value) = row?;
                rows.push((key.value().to_vec(), value.value().to_vec()));
            }
        }
        let (done, answer) = oneshot::channel();
        self.writes
            .send(Write { rows: plan.puts, done })
            .await
            .ok()
            .context("the yardstick's thread ended")?;
        answer.await.context("the yardstick's thread ended")?.map_err(anyhow::Error::msg)
    }
}

fn commit_all(database: &Database, mut waiting: mpsc::Receiver<Write>) {
    let mut batch = Vec::new();
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        let committed = commit(database, &batch).map_err(|error| error.to_string());
        for write in batch.drain(..) {
            // Whoever stopped waiting is not told.
            let _ = write.done.send(committed.clone());
        }
    }
}

fn commit(database: &Database, batch: &[Write]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(TABLE)?;
        for row in batch.iter().flat_map(|write| write.rows) {
            table.insert(key(row).as_slice(), [8; VALUE_BYTES].as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}
