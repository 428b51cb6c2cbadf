//! `muster backup`: take, check and restore backups, of everything or of one namespace's definitions.
//!
//! Everything comes from the orchestrator as one file, and goes back into an empty store without one. A namespace
//! is read and written through the API like any other client would, so it can go into another installation.

use std::fs::File;
use std::io::{BufReader, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use muster_client::{ByteStream, Client};
use muster_orchestrator::backup::format::{CHUNK_BYTES, MAGIC, Reader, encode, verify};
use muster_orchestrator::backup::{Archive, Body, Definition, End, Header, Restored, restore};
use muster_orchestrator::run::STORE_FILE;
use muster_orchestrator::{Database, OpenOptions, StoreLocation};
use muster_protocol::api::{Build, BuildRequest, FleetSpec, QueueSpec};
use serde::Serialize;

use super::Ops;
use crate::args::Global;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Take a backup of a running installation into a file
    Take {
        /// File to write; it appears once it is whole
        file: PathBuf,
        /// Only the builds, fleets and queues of this namespace
        #[arg(long, value_name = "GAME/ENV")]
        only: Option<String>,
    },
    /// Look a backup through to its end
    Check {
        /// The backup
        file: PathBuf,
    },
    /// Restore a backup: everything into an empty store, or a namespace into a running installation
    Restore(Restore),
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// Of everything: the `data_dir` of the orchestrator that will go on with it, not running
    #[arg(long, env = "MUSTER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Of everything: the store, `embedded`, or fdb: and a cluster file
    #[arg(long, env = "MUSTER_STORE", default_value = "embedded")]
    store: StoreLocation,
    /// Of a namespace: the namespace to restore into, which is made if it is not there
    #[arg(long, value_name = "GAME/ENV")]
    into: Option<String>,
}

/// What a backup holds; its JSON is what other programs read.
#[derive(Serialize)]
struct Contents {
    release: String,
    taken_at_ms: u64,
    namespace: Option<String>,
    rows: u64,
    definitions: u64,
    archives: u64,
    missing_archives: Vec<String>,
}

pub(crate) async fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Take { file, only } => {
            let client = context::client(global)?;
            match only {
                None => take(&client, &file).await?,
                Some(namespace) => {
                    take_namespace(&client.with_namespace(&namespace)?, &namespace, &file).await?;
                }
            }
            show(global.json, &file)
        }
        Command::Check { file } => show(global.json, &file),
        Command::Restore(options) => match &options.into {
            None => restore_all(global.json, &options).await,
            Some(namespace) => {
                let ops = Ops { client: context::client(global)?, json: global.json };
                restore_namespace(&ops, &options.file, namespace).await
            }
        },
    }
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(BufReader::new(file))
}

fn show(json: bool, file: &Path) -> anyhow::Result<()> {
    let (header, end) = verify(open(file)?).with_context(|| file.display().to_string())?;
    tell(json, file, header, end)
}

fn tell(json: bool, file: &Path, header: Header, end: End) -> anyhow::Result<()> {
    let contents = Contents {
        release: header.release,
        taken_at_ms: header.taken_at_ms,
        namespace: Some(header.namespace).filter(|namespace| !namespace.is_empty()),
        rows: end.rows,
        definitions: end.definitions,
        archives: end.archives,
        missing_archives: end.missing_archives,
    };
    let missing = match contents.missing_archives.as_slice() {
        [] => "none".to_owned(),
        missing => format!("{}\npush these builds again", missing.join("\n")),
    };
    let lines = [
        ("backup", file.display().to_string()),
        ("of", contents.namespace.clone().unwrap_or_else(|| "everything".to_owned())),
        ("taken", format!("{} ago, by {}", output::ago(contents.taken_at_ms), contents.release)),
        ("rows", contents.rows.to_string()),
        ("definitions", contents.definitions.to_string()),
        ("archives", contents.archives.to_string()),
        ("archives missing", missing),
    ];
    output::details(json, &contents, &lines)
}

/// A file that appears under its name once it is whole.
struct Fresh {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl Fresh {
    fn create(path: &Path) -> anyhow::Result<Self> {
        ensure!(!path.exists(), "{} is there already; give a new name", path.display());
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let mut options = File::options();
        options.create(true).truncate(true).write(true).read(true);
        // It holds keys.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&partial).with_context(|| format!("cannot write {}", partial.display()))?;
        Ok(Self { file, partial, path: path.to_owned() })
    }

    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {}", self.partial.display()))
    }

    /// Looks what was written through, and gives it its name.
    fn finish(mut self) -> anyhow::Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {}", self.partial.display()))?;
        self.file.rewind()?;
        verify(BufReader::new(&self.file)).context("what came is no whole backup; take it again")?;
        std::fs::rename(&self.partial, &self.path)
            .with_context(|| format!("cannot give {} its name", self.path.display()))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = std::fs::remove_file(&self.partial);
    }
}

async fn take(client: &Client, path: &Path) -> anyhow::Result<()> {
    let mut fresh = Fresh::create(path)?;
    let mut pieces = client.backup().await?;
    while let Some(piece) = pieces.next().await {
        fresh.write(&piece.context("the backup broke off; the orchestrator's log says why")?)?;
    }
    fresh.finish()
}

async fn take_namespace(client: &Client, namespace: &str, path: &Path) -> anyhow::Result<()> {
    let mut fresh = Fresh::create(path)?;
    let taken_at_ms =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    let release = env!("CARGO_PKG_VERSION").to_owned();
    let header = Header { release, taken_at_ms, namespace: namespace.to_owned() };
    fresh.write(MAGIC)?;
    fresh.write(&encode(Body::Header(header)))?;
    let mut end = End::default();
    for build in context::all(async |after| client.builds(after).await).await? {
        if build.reference.is_none() {
            fresh.write(&encode(Body::Archive(Archive {
                digest: build.digest.clone(),
                size_bytes: build.size_bytes,
            })))?;
            copy(client.archive(&build.digest).await?, &mut fresh).await?;
            end.archives += 1;
        }
        define(&mut fresh, &mut end, "build", &build)?;
    }
    for fleet in context::all(async |after| client.fleets(after).await).await? {
        define(&mut fresh, &mut end, "fleet", &fleet.spec)?;
    }
    for queue in context::all(async |after| client.queues(after).await).await? {
        define(&mut fresh, &mut end, "queue", &queue.spec)?;
    }
    fresh.write(&encode(Body::End(end)))?;
    fresh.finish()
}

fn define(fresh: &mut Fresh, end: &mut End, kind: &str, value: &impl Serialize) -> anyhow::Result<()> {
    end.definitions += 1;
    let definition = Definition { kind: kind.to_owned(), body: serde_json::to_string(value)? };
    fresh.write(&encode(Body::Definition(definition)))
}

async fn copy(mut pieces: ByteStream, fresh: &mut Fresh) -> anyhow::Result<()> {
    while let Some(piece) = pieces.next().await {
        for chunk in piece.context("an archive broke off; take the backup again")?.chunks(CHUNK_BYTES) {
            fresh.write(&encode(Body::Chunk(chunk.to_vec())))?;
        }
    }
    Ok(())
}

async fn restore_all(json: bool, options: &Restore) -> anyhow::Result<()> {
    let Some(data_dir) = &options.data_dir else {
        bail!(
            "say where to: --data-dir DIR for a backup of everything, --into GAME/ENV for one of a namespace"
        );
    };
    // Before anything is made: a file that is none must leave no trace.
    verify(open(&options.file)?).with_context(|| options.file.display().to_string())?;
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot make {}", data_dir.display()))?;
    let db =
        Database::open_location(&options.store, &data_dir.join(STORE_FILE), OpenOptions::default()).await?;
    let restored = restore(&options.file, &db, data_dir).await;
    db.shutdown().await;
    let Restored { header, end } = restored?;
    tell(json, &options.file, header, end)
}

async fn restore_namespace(ops: &Ops, path: &Path, namespace: &str) -> anyhow::Result<()> {
    let (header, end) = verify(open(path)?).with_context(|| path.display().to_string())?;
    ensure!(
        !header.namespace.is_empty(),
        "the backup is of everything; restore it into an empty store with --data-dir, or take one with --only \
         GAME/ENV"
    );
    let (game, environment) =
        namespace.split_once('/').context("a namespace is game/environment, such as arena/prod")?;
    ops.client.create_namespace(game, environment).await?;
    let client = ops.client.with_namespace(namespace)?;
    let empty = client.fleets(None).await?.items.is_empty() && client.queues(None).await?.items.is_empty();
    ensure!(empty, "the namespace {namespace} has fleets or queues already; restore into another one");
    let (mut reader, _) = Reader::open(open(path)?)?;
    while let Some(body) = reader.next_body()? {
        match body {
            Body::Archive(archive) => push(&client, &mut reader, &archive).await?,
            Body::Definition(definition) => apply(&client, &definition).await?,
            _ => {}
        }
    }
    tell(ops.json, path, header, end)
}

/// Uploads the archive whose chunks come next.
async fn push(
    client: &Client,
    reader: &mut Reader<BufReader<File>>,
    archive: &Archive,
) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::with_prefix("muster-restore-").context("no temporary file")?;
    let mut left = archive.size_bytes;
    while left > 0 {
        let Some(Body::Chunk(chunk)) = reader.next_body()? else { bail!("the archive lacks bytes") };
        left = left.saturating_sub(chunk.len() as u64);
        file.write_all(&chunk).context("cannot write a temporary file")?;
    }
    file.flush()?;
    client.upload_file(file.path(), &archive.digest, |_| {}).await?;
    Ok(())
}

async fn apply(client: &Client, definition: &Definition) -> anyhow::Result<()> {
    let body = definition.body.as_str();
    match definition.kind.as_str() {
        "build" => {
            let build: Build = serde_json::from_str(body)?;
            let digest = Some(build.digest).filter(|_| build.reference.is_none());
            client
                .create_build(&BuildRequest { digest, reference: build.reference, tags: build.tags })
                .await?;
        }
        "fleet" => drop(client.apply_fleet(&serde_json::from_str::<FleetSpec>(body)?).await?),
        "queue" => drop(client.apply_queue(&serde_json::from_str::<QueueSpec>(body)?).await?),
        other => bail!("the backup has a {other}, which this release does not know; use a later one"),
    }
    Ok(())
}
