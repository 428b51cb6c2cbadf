//! The workflow of one upload: it is forgotten once it has taken too long. Its bytes go with the next look of
//! whoever has them.

use std::time::Duration;

use muster_engine::{Context, Event, Failure, Kind, Machine, RetryPolicy};
use muster_protocol::id::UploadId;

use crate::state::{builds, workflows};

/// The timer of its end.
const TIMER: &str = "expiry";

/// Keeps uploads.
pub(crate) struct Upload;

impl Kind for Upload {
    const KIND: &'static str = workflows::UPLOAD;
    const RETRY: RetryPolicy = RetryPolicy { attempts: u32::MAX, ..RetryPolicy::DEFAULT };
    const RETENTION: Duration = Duration::ZERO;
    type Input = ();
    type Signal = ();
}

impl Machine for Upload {
    /// All there is to know is on record.
    type State = ();

    async fn on(&self, cx: &mut Context<'_>, (): &mut (), event: Event<Self>) -> Result<(), Failure> {
        let (key, now_ms) = (cx.address().key().to_owned(), cx.now_ms());
        let upload: UploadId =
            key.parse().map_err(|error| Failure::Because(format!("{key:?} is no upload: {error}")))?;
        match builds::load_upload(cx.tx(), upload).await? {
            None => cx.finish(&())?,
            Some(record) => {
                let expires_ms = builds::upload_expires_ms(&record);
                if matches!(event, Event::Cancel) || expires_ms <= now_ms {
                    builds::remove_upload(cx.tx(), &record);
                    cx.finish(&())?;
                } else {
                    cx.set_timer(TIMER, expires_ms)?;
                    cx.waiting_for("the rest of its bytes, and the build that is made of it");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use muster_engine::inspect;

    use super::*;
    use crate::records::UploadRecord;
    use crate::state::StateError;
    use crate::testing::eventually;
    use crate::world::{NAMESPACE, RETENTION_MS, World, replica};
    use crate::{clock, workflows as all};

    #[tokio::test]
    async fn an_upload_waits_for_its_bytes_and_is_forgotten_when_it_took_too_long() {
        let world = World::new();
        let now_ms = clock::now_ms();
        let of = |created_at_ms| UploadRecord {
            id: Some(UploadId::new().into()),
            namespace: NAMESPACE.into(),
            created_at_ms,
            ..UploadRecord::default()
        };
        let (late, young) = (of(1), of(now_ms));
        let saved = world.db.run("test", async |mut tx| {
            builds::save_upload(&mut tx, &late);
            builds::save_upload(&mut tx, &young);
            Ok::<_, StateError>(())
        });
        saved.await.expect("saved");
        let worker = all::start(&world.db, replica(), true, RETENTION_MS, "test");
        let uploads = async || {
            let read = world.db.read("test", async |mut tx| builds::list_uploads(&mut tx, 10).await);
            read.await.expect("readable")
        };
        eventually("the late one to go", async || (uploads().await == [young.clone()]).then_some(())).await;
        let address = workflows::upload(NAMESPACE, young.typed_id());
        let waits = eventually("the young one to wait", async || {
            let shown = world.db.read("test", async |mut tx| inspect::show(&mut tx, &address).await).await;
            Some(shown.expect("readable")?.waits_for(now_ms)).filter(|words| !words.contains("at work"))
        });
        assert!(waits.await.contains("the rest of its bytes"));
        worker.stop().await;
    }
}
