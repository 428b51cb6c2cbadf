//! The transaction layer of the local drivers: FoundationDB's semantics over anything that keeps rows.
//!
//! ```text
//! work                       what one transaction reads and writes
//!   buffer, conflicts        read-your-writes, what was read and written
//! committer, resolver        who wins; one durable write for all winners
//!   published, watches       versions and snapshots; who waits for which key
//! storage (trait)            snapshots and one durable batch at a time
//! ```
//!
//! This file ties them together for [`crate::Database`]; it retries nothing.

pub(crate) mod buffer;
pub(crate) mod committer;
pub(crate) mod conflicts;
pub(crate) mod published;
pub(crate) mod ranges;
pub(crate) mod resolver;
pub(crate) mod storage;
pub(crate) mod watches;
pub(crate) mod work;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::admission::Admission;
use crate::error::StoreError;
use crate::limits::COMMIT_QUEUE;
use crate::metrics;
use crate::versionstamp::Versionstamp;
use committer::{CommitRequest, Committer, Message, WatchBase};
use published::{Published, Publisher, SnapshotCell};
use resolver::Resolver;
use storage::{Storage, StorageFailure};
use watches::WatchRegistry;
use work::Work;

/// A local driver with its transaction layer.
pub(crate) struct Local {
    place: Arc<str>,
    published: Arc<Published>,
    watches: Arc<WatchRegistry>,
    commits: Commits,
}

/// Who commits.
enum Commits {
    /// A thread of its own, because a disk makes it wait.
    Thread {
        /// `None` only while it is being dropped.
        queue: Option<mpsc::Sender<Message>>,
        thread: Mutex<Option<JoinHandle<()>>>,
    },
    /// Whoever asks, because nothing makes it wait and a simulation wants no threads. `None` once
    /// shut down.
    Inline(Mutex<Option<Committer>>),
}

impl Drop for Local {
    fn drop(&mut self) {
        if let Commits::Thread { queue, thread } = &mut self.commits {
            drop(queue.take());
            let thread = thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                // Waits for at most the commits that are queued. A panic has been reported by then.
                let _ = thread.join();
            }
        }
    }
}

/// A version to begin at again, with its snapshot.
pub(crate) type LocalVersion = Arc<SnapshotCell>;

impl Local {
    /// The layer over `storage`, with a commit thread.
    pub(crate) fn with_thread(place: &str, storage: Box<dyn Storage>) -> Result<Self, std::io::Error> {
        let (committer, published, watches) = assemble(place, storage).map_err(std::io::Error::other)?;
        let (queue, messages) = mpsc::channel(COMMIT_QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-commit".to_owned())
            .spawn(move || committer.run(messages))?;
        let commits = Commits::Thread { queue: Some(queue), thread: Mutex::new(Some(thread)) };
        Ok(Self { place: place.into(), published, watches, commits })
    }

    /// The layer over `storage`, which never waits, without a thread.
    pub(crate) fn inline(place: &str, storage: Box<dyn Storage>) -> Result<Self, String> {
        let (committer, published, watches) = assemble(place, storage)?;
        let commits = Commits::Inline(Mutex::new(Some(committer)));
        Ok(Self { place: place.into(), published, watches, commits })
    }

    /// A transaction that reads at `at`, or at the latest version.
    pub(crate) fn begin(&self, read_only: bool, at: Option<LocalVersion>) -> Result<Work, StoreError> {
        let latest = self.published.begin().inspect_err(|_| {
            self.ask_to_recover(self.published.latest().generation());
        })?;
        let admission = Admission::new(Instant::now(), read_only);
        Ok(Work::new(at.unwrap_or(latest), admission, self.watches.clone(), self.place.clone()))
    }

    /// Takes note of reads that failed because of the file.
    pub(crate) fn note_failed_reads(&self, work: &Work) {
        if work.file_failed {
            self.ask_to_recover(work.snapshot.generation());
        }
    }

    /// Commits; the versionstamp if there was anything to write.
    pub(crate) async fn commit(&self, mut work: Box<Work>) -> Result<Option<Versionstamp>, StoreError> {
        work.admission.check_alive()?;
        let watches = work.take_watches()?;
        if work.writes_nothing() {
            // Serializable as it is, at its read version.
            for (ticket, base) in watches {
                let WatchBase::Seen(value) = base else { unreachable!("nothing was written") };
                self.watches
                    .arm(ticket, value, &self.published)
                    .map_err(|failure: StorageFailure| failure.into_error(&self.place))?;
            }
            return Ok(None);
        }
        let asked = Instant::now();
        let (reply, answer) = oneshot::channel();
        let request = CommitRequest {
            read_version: work.snapshot.version(),
            bytes: work.admission.bytes(),
            reads: work.reads,
            extra_writes: work.extra_writes,
            buffer: work.buffer,
            watches,
            reply,
        };
        // The snapshot is let go while waiting, so that its pages can be reused.
        drop(work.snapshot);
        match &self.commits {
            Commits::Thread { queue, .. } => {
                let queue = queue.as_ref().expect("the queue leaves only in drop");
                queue.send(Message::Commit(Box::new(request))).await.map_err(|_| StoreError::Closed)?;
            }
            Commits::Inline(committer) => {
                let mut committer = committer.lock().unwrap_or_else(PoisonError::into_inner);
                committer.as_mut().ok_or(StoreError::Closed)?.commit(asked, vec![request]);
            }
        }
        let answer = answer.await.unwrap_or_else(|_| {
            Err(StoreError::CommitUnknown {
                place: self.place.to_string(),
                reason: "the commit thread stopped".to_owned(),
            })
        });
        metrics::commit_answered(asked.elapsed());
        answer.map(Some)
    }

    /// Commits what is queued and closes the driver.
    pub(crate) async fn shutdown(&self) {
        match &self.commits {
            Commits::Thread { queue, .. } => {
                let (reply, done) = oneshot::channel();
                let queue = queue.as_ref().expect("the queue leaves only in drop");
                if queue.send(Message::Shutdown(reply)).await.is_ok() {
                    // An error means that the thread is gone, which is what was asked for.
                    let _ = done.await;
                }
            }
            Commits::Inline(committer) => {
                let committer = committer.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(committer) = committer {
                    committer.close();
                }
            }
        }
    }

    /// What the store calls itself.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Has the commit thread open the file again, unless it is asked already or too busy.
    fn ask_to_recover(&self, generation: u64) {
        if let Commits::Thread { queue, .. } = &self.commits {
            let queue = queue.as_ref().expect("the queue leaves only in drop");
            let _ = queue.try_send(Message::Recover(generation));
        }
    }
}

type Assembled = (Committer, Arc<Published>, Arc<WatchRegistry>);

fn assemble(place: &str, storage: Box<dyn Storage>) -> Result<Assembled, String> {
    let (version, snapshot) = storage.snapshot().map_err(|failure| failure.reason())?;
    let published = Arc::new(Published::new(version, storage.generation(), snapshot));
    let watches = Arc::new(WatchRegistry::default());
    let committer = Committer {
        storage,
        resolver: Resolver::new(version),
        published: published.clone(),
        publisher: Publisher::new(published.clone()),
        watches: watches.clone(),
        version,
        place: place.into(),
    };
    Ok((committer, published, watches))
}
