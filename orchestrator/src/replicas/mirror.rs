//! Having every build here, and nothing of uploads that are over: builds pushed to another replica are copied.
//!
//! Archives never change and are named by their digest, so whoever holds one holds the right one. A push is
//! answered before it is copied: until then a disk that dies takes the archive with it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use muster_engine::WorkerId;
use muster_protocol::agent::{BlobReply, BlobRequest, blob_reply::Outcome};
use muster_protocol::peer::{Build, peer_request::Body};
use tokio_util::sync::CancellationToken;

use super::is_closed;
use crate::app::App;
use crate::blobs::{BlobError, Digest};
use crate::state::{self, StateError};

/// How often it is looked for builds that are not here.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long another replica may take to say whether it has a build.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Builds of a namespace read in one transaction.
const PAGE: usize = 500;

/// Copies what is not here, until `stop`.
pub(crate) async fn mirror(app: Arc<App>, stop: CancellationToken) {
    let mut held = HashSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let passed = tokio::select! {
            () = stop.cancelled() => return,
            passed = async {
                clear_uploads(&app).await?;
                pass(&app, &mut held).await
            } => passed,
        };
        match passed {
            Ok(()) => {}
            Err(error) if is_closed(&error) => return,
            Err(error) => tracing::warn!(%error, "cannot see which builds there are; trying again"),
        }
    }
}

/// Removes what was received of uploads that have become a build or were forgotten.
async fn clear_uploads(app: &App) -> Result<(), StateError> {
    let received = match app.blobs.uploads().await {
        Ok(received) => received,
        Err(error) => {
            tracing::warn!(%error, "cannot see what was received of uploads");
            return Ok(());
        }
    };
    for id in received {
        let record =
            app.db.read("upload", async |mut tx| state::builds::load_upload(&mut tx, id).await).await?;
        if record.is_none()
            && let Err(error) = app.blobs.upload_remove(id).await
        {
            tracing::warn!(upload = %id, %error, "what was received of an upload that is over stays");
        }
    }
    Ok(())
}

/// Fetches every build that is not in `held` and not on disk.
async fn pass(app: &App, held: &mut HashSet<Digest>) -> Result<(), StateError> {
    if others(app).await?.is_empty() {
        return Ok(());
    }
    for digest in builds(app).await? {
        if held.contains(&digest) {
            continue;
        }
        let there = match app.blobs.size(&digest).await {
            Ok(there) => there.is_some(),
            Err(error) => {
                tracing::warn!(%digest, %error, "cannot see whether a build is here");
                continue;
            }
        };
        if there || fetch(app, &digest).await? == Fetched::Here {
            held.insert(digest);
        }
    }
    Ok(())
}

async fn others(app: &App) -> Result<Vec<WorkerId>, StateError> {
    let live = app.db.read("replicas", async |mut tx| state::replicas::live(&mut tx).await).await?;
    Ok(live.into_iter().map(|(id, _)| id).filter(|id| *id != app.replica).collect())
}

/// Digests of every archive on record.
async fn builds(app: &App) -> Result<HashSet<Digest>, StateError> {
    let namespaces = app.db.read("namespaces", async |mut tx| state::namespaces::list(&mut tx).await).await?;
    let mut digests = HashSet::new();
    for namespace in namespaces {
        let mut after: Option<String> = None;
        loop {
            let page = app
                .db
                .read("builds", async |mut tx| {
                    state::builds::list(&mut tx, &namespace.name, after.as_deref(), PAGE).await
                })
                .await?;
            let archives = page.iter().filter(|build| build.reference.is_empty());
            digests.extend(archives.filter_map(|build| build.digest.parse::<Digest>().ok()));
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.digest.clone()),
                _ => break,
            }
        }
    }
    Ok(digests)
}

/// What came of looking for an archive elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It is here now.
    Here,
    /// No other replica has it.
    Nowhere,
    /// It is on its way already, or a replica that may have it could not be asked. Later it may be here.
    Unsure,
}

/// Brings the archive of `digest` here from another replica.
///
/// # Errors
/// The store's.
pub(crate) async fn fetch(app: &App, digest: &Digest) -> Result<Fetched, StateError> {
    let mut unsure = false;
    for replica in others(app).await? {
        match fetch_from(app, replica, digest).await {
            Ok(Fetched::Here) => {
                tracing::info!(%digest, %replica, "build copied from another orchestrator");
                return Ok(Fetched::Here);
            }
            Ok(Fetched::Nowhere) => {}
            Ok(Fetched::Unsure) => unsure = true,
            Err(why) => {
                tracing::warn!(%digest, %replica, why, "build not copied");
                unsure = true;
            }
        }
    }
    Ok(if unsure { Fetched::Unsure } else { Fetched::Nowhere })
}

async fn fetch_from(app: &App, replica: WorkerId, digest: &Digest) -> Result<Fetched, String> {
    let asked = app.peers.ask(&app.db, replica, Body::Build(Build {})).await;
    let (mut writer, mut reader) = asked.map_err(|error| error.to_string())?;
    let request = BlobRequest { digest: digest.to_string(), offset: 0 };
    writer.send(&request).await.map_err(|error| error.to_string())?;
    writer.finish();
    let reply = tokio::time::timeout(REPLY_TIMEOUT, reader.recv::<BlobReply>()).await;
    let reply = reply.map_err(|_| "no reply".to_owned())?.map_err(|error| error.to_string())?;
    let size_bytes = match reply.and_then(|reply| reply.outcome) {
        Some(Outcome::SizeBytes(size)) => size,
        Some(Outcome::Refused(_)) => return Ok(Fetched::Nowhere),
        None => return Err("an empty reply".to_owned()),
    };
    let (receive, first) = reader.into_inner();
    let source = tokio::io::AsyncReadExt::chain(std::io::Cursor::new(first), receive);
    match app.blobs.import(*digest, size_bytes, source).await {
        Ok(()) => Ok(Fetched::Here),
        Err(BlobError::Busy) => Ok(Fetched::Unsure),
        Err(error) => Err(error.to_string()),
    }
}
