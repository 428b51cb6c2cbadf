//! A backup goes round: taken while the store is written to, looked through, restored, gone on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use muster_protocol::id::UploadId;
use muster_store::{Database, StoreError};
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::format::{FormatError, MAGIC, encode, verify};
use super::{Body, Definition, End, Header, RestoreError, Row, Rows, restore, take};
use crate::blobs::{Blobs, Digest};
use crate::records::BuildRecord;
use crate::state::{StateError, builds};
use crate::testing::{Bench, eventually};
use crate::{check, installation};

/// Everything `bench` has, as a file's bytes.
async fn taken(bench: &Bench) -> Vec<u8> {
    let (out, mut pieces) = mpsc::channel(4);
    let taking = tokio::spawn(take(bench.app.clone(), out));
    let mut file = Vec::new();
    while let Some(piece) = pieces.recv().await {
        file.extend(piece.expect("a whole backup"));
    }
    taking.await.expect("it ends");
    file
}

async fn rows(db: &Database) -> Vec<(Bytes, Bytes)> {
    let mut rows = Vec::new();
    let visited = check::visit(db, |key, value| {
        rows.push((key.clone(), value.clone()));
        Ok::<_, StoreError>(())
    });
    visited.await.expect("readable");
    rows
}

/// A restore of `file` into an empty memory store and directory.
async fn restored(file: &[u8]) -> (Result<super::Restored, RestoreError>, Database, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    std::fs::write(&path, file).expect("written");
    let db = Database::memory(7);
    let outcome = restore(&path, &db, directory.path()).await;
    (outcome, db, directory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_one_moment_comes_back_though_the_store_is_written_to() {
    let bench = Bench::start().await;
    let archive = b"an archive".repeat(300_000);
    let (digest, size, upload) = (Digest::of(&archive), archive.len() as u64, UploadId::new());
    bench.app.blobs.upload_append(upload, size, 0, Bytes::from(archive.clone())).await.expect("held");
    bench.app.blobs.upload_finish(upload, size, digest).await.expect("whole");
    let build = |digest: String| BuildRecord {
        namespace: installation::FIRST_NAMESPACE.into(),
        digest,
        ..BuildRecord::default()
    };
    let lost = Digest::of(b"lost").to_string();
    let saved = bench.app.db.run("test", async |mut tx| {
        builds::save(&mut tx, &build(digest.to_string()));
        builds::save(&mut tx, &build(lost.clone()));
        Ok::<_, StateError>(())
    });
    saved.await.expect("saved");
    // Two numbers that are the same at every moment, at both ends of the store.
    let stop = Arc::new(AtomicBool::new(false));
    let (db, stopped) = (bench.app.db.clone(), stop.clone());
    let writer = tokio::spawn(async move {
        let mut round = 0u64;
        while !stopped.load(Ordering::Relaxed) {
            round += 1;
            let written = db.run("test", async |mut tx| {
                for end in [b"\x01first".as_slice(), b"\xf0last"] {
                    tx.set(end, &round.to_be_bytes());
                }
                Ok::<_, StoreError>(())
            });
            written.await.expect("written");
        }
    });
    let begun = async || {
        let read = bench.app.db.read("test", async |mut tx| tx.get(b"\xf0last").await).await;
        read.expect("readable")
    };
    eventually("the writer to be at work", begun).await;
    let file = taken(&bench).await;
    stop.store(true, Ordering::Relaxed);
    writer.await.expect("ends");

    let (outcome, db, directory) = restored(&file).await;
    let outcome = outcome.expect("restored");
    assert_eq!((outcome.end.archives, outcome.end.missing_archives), (1, vec![lost]));
    let found = rows(&db).await;
    assert_eq!(found.len() as u64, outcome.end.rows);
    let value = |key: &[u8]| found.iter().find(|row| row.0 == key).map(|row| row.1.clone());
    assert!(value(b"\x01first").is_some() && value(b"\x01first") == value(b"\xf0last"), "one moment");
    let blobs = Blobs::open(directory.path()).expect("opened");
    assert_eq!(blobs.size(&digest).await.expect("readable"), Some(size));
    // The same installation: its keys are the old ones.
    let authority = installation::open(&db, directory.path(), 1).await.expect("made");
    assert_eq!(authority.fingerprint(), bench.app.authority.fingerprint());
    bench.stop().await;
}

#[tokio::test]
async fn what_is_there_is_not_written_over_and_what_was_cut_off_is_begun_again() {
    let bench = Bench::start().await;
    let file = taken(&bench).await;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("backup");
    std::fs::write(&path, &file).expect("written");
    let before = rows(&bench.app.db).await;
    let refused = restore(&path, &bench.app.db, directory.path()).await.expect_err("not empty");
    assert!(refused.to_string().contains("not empty"), "{refused}");
    assert_eq!(rows(&bench.app.db).await, before);

    // As a restore that was cut off leaves it.
    let half = Database::memory(1);
    let written = half.run("test", async |mut tx| {
        tx.set(&crate::keyspace::restoring(), b"");
        tx.set(b"\x01left over", b"");
        Ok::<_, StoreError>(())
    });
    written.await.expect("written");
    let refused = installation::open(&half, directory.path(), 1).await.err().expect("half of it");
    assert!(refused.to_string().contains("run `muster backup restore` again"), "{refused}");
    restore(&path, &half, directory.path()).await.expect("restored");
    assert_eq!(rows(&half).await, before);
    bench.stop().await;
}

fn small() -> Vec<u8> {
    let header = Header { release: "1".into(), taken_at_ms: 1, namespace: "a/b".into() };
    let row = |key: &str| Row { key: key.into(), value: b"value".to_vec() };
    let definition = Definition { kind: "queue".into(), body: "{}".into() };
    let frames = [
        Body::Header(header),
        Body::Rows(Rows { rows: vec![row("one"), row("two")] }),
        Body::Definition(definition),
        Body::End(End { rows: 2, definitions: 1, ..End::default() }),
    ];
    frames.into_iter().fold(MAGIC.to_vec(), |file, body| [file, encode(body)].concat())
}

#[test]
fn a_file_is_told_for_what_it_is() {
    let file = small();
    let (header, end) = verify(&file[..]).expect("whole");
    assert_eq!((header.namespace.as_str(), end.rows), ("a/b", 2));
    assert!(matches!(verify(&b"something else altogether"[..]), Err(FormatError::NotABackup)));
    assert!(matches!(verify(&b""[..]), Err(FormatError::NotABackup)));
    let newer = [b"muster-backup 2\n", &file[MAGIC.len()..]].concat();
    assert!(matches!(verify(&newer[..]), Err(FormatError::Newer)));
    let more = [file.clone(), encode(Body::Rows(Rows::default()))].concat();
    assert!(matches!(verify(&more[..]), Err(FormatError::Damaged { .. })));
}

#[test]
fn a_file_that_is_cut_anywhere_is_no_backup() {
    let file = small();
    for length in 0..file.len() {
        assert!(verify(&file[..length]).is_err(), "cut at byte {length}");
    }
}

proptest! {
    #[test]
    fn a_bit_that_flips_anywhere_is_found(at in 0..small().len(), bit in 0u8..8) {
        let mut file = small();
        file[at] ^= 1u8 << bit;
        prop_assert!(verify(&file[..]).is_err());
    }

    #[test]
    fn any_bytes_are_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = verify(&[MAGIC, &bytes].concat()[..]);
    }
}

#[tokio::test]
async fn a_damaged_file_writes_nothing() {
    let bench = Bench::start().await;
    let mut file = taken(&bench).await;
    let last = file.len() - 1;
    file[last] ^= 1;
    let (outcome, db, _directory) = restored(&file).await;
    assert!(matches!(outcome, Err(RestoreError::Format(_))));
    assert!(rows(&db).await.is_empty());
    bench.stop().await;
}
