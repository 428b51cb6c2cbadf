//! What can be wrong with the file: in use, truncated, damaged, foreign, in no directory. Each has
//! its error, and the file stays as it was.

#![allow(clippy::unwrap_used, reason = "a failed test is how a test speaks")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use muster_store::limits::KEYSPACE_END;
use muster_store::{Database, OpenError, OpenOptions, StoreError, Transaction};

const CHILD: &str = "MUSTER_STORE_TEST_HOLDER";

fn open(path: &Path) -> Result<Database, OpenError> {
    Database::open(path, OpenOptions::default())
}

/// Not a test by itself: holds the store open until its input ends.
#[test]
fn child_holds_the_store() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let _database = open(path.as_ref()).unwrap();
    println!("\nholding");
    std::io::stdin().lines().for_each(drop);
}

#[test]
fn a_second_process_is_told_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_holds_the_store", "--nocapture"])
        .env(CHILD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "holding"), "the child opened the store");
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains("stop it"), "{error}");
    drop(child.stdin.take());
    child.wait().unwrap();
    open(&path).unwrap();
}

#[test]
fn opening_twice_in_one_process_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let first = open(&path).unwrap();
    assert!(matches!(open(&path).unwrap_err(), OpenError::InUse { .. }));
    drop(first);
    open(&path).unwrap();
}

#[test]
fn several_that_make_it_at_once_share_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let opened: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(&path))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (open, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(open.len(), 1, "{refused:?}");
    for error in refused {
        assert!(matches!(error, Err(OpenError::InUse { .. })), "{error:?}");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["store"], "nothing is left beside it");
}

#[cfg(unix)]
#[test]
fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_missing_directory_is_an_error_of_the_system() {
    let dir = tempfile::tempdir().unwrap();
    let error = open(&dir.path().join("absent").join("store")).unwrap_err();
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(error.to_string().contains("directory exists"));
}

/// A store with some content: as it is after a clean end, and as it is while running, which is how
/// a crash leaves it.
fn images() -> [(&'static str, Vec<u8>); 2] {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let database = open(&path).unwrap();
    runtime.block_on(async {
        for batch in 0..20u32 {
            database
                .run("fill", async |mut tx| {
                    for n in 0..50 {
                        tx.set(&(batch * 50 + n).to_be_bytes(), &[n as u8; 200]);
                    }
                    Ok::<_, StoreError>(())
                })
                .await
                .unwrap();
        }
    });
    let crashed = fs::read(&path).unwrap();
    drop(database);
    [("crashed", crashed), ("clean", fs::read(&path).unwrap())]
}

fn refused_untouched(path: &Path, content: &[u8], what: &str) {
    fs::write(path, content).unwrap();
    let error = open(path).expect_err(what);
    assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error:?}");
    assert!(error.to_string().contains("restore it from a backup"), "{error}");
    assert!(fs::read(path).unwrap() == content, "{what}: the file was changed");
}

#[test]
fn a_truncated_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    for (state, image) in images() {
        for length in [0, 1, 100, 320, 4096, 8192, 12288, 50_000, image.len() / 2, image.len() - 1] {
            refused_untouched(&path, &image[..length], &format!("{state} cut to {length}"));
        }
    }
}

#[test]
fn garbage_and_foreign_files_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    refused_untouched(&path, &vec![b'x'; 100_000], "garbage");
    refused_untouched(&path, b"hello", "text");
    let other = dir.path().join("other");
    drop(redb::Database::create(&other).unwrap());
    refused_untouched(&path, &fs::read(&other).unwrap(), "a redb file of another program");
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    drop(open(&path).unwrap());
    let file = redb::Database::open(&path).unwrap();
    let transaction = file.begin_write().unwrap();
    {
        let mut meta = transaction.open_table(redb::TableDefinition::<&str, u64>::new("meta")).unwrap();
        meta.insert("format", 999).unwrap();
    }
    transaction.commit().unwrap();
    drop(file);
    let before = fs::read(&path).unwrap();
    let error = open(&path).unwrap_err();
    assert!(matches!(error, OpenError::NewerFormat { found: 999, .. }), "{error:?}");
    assert!(error.to_string().contains("upgrade"));
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_flipped_bit_is_refused_or_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut refused = 0;
    let [_, (_, image)] = images();
    for offset in (0..image.len()).step_by(image.len() / 150) {
        let mut damaged = image.clone();
        damaged[offset] ^= 0x10;
        fs::write(&path, &damaged).unwrap();
        match open(&path) {
            Err(error) => {
                assert!(matches!(error, OpenError::Damaged { .. }), "{offset}: {error:?}");
                assert!(fs::read(&path).unwrap() == damaged, "{offset}: the file was changed");
                refused += 1;
            }
            Ok(database) => {
                // The bit was in a page that is not in use: every row must be there, unchanged.
                let rows = runtime
                    .block_on(database.read("all", async |mut tx: Transaction| {
                        tx.get_range(b"", KEYSPACE_END, usize::MAX, false).await
                    }))
                    .unwrap();
                assert_eq!(rows.len(), 1000, "{offset}");
                for (n, (key, value)) in rows.iter().enumerate() {
                    assert_eq!(key[..], (n as u32).to_be_bytes(), "{offset}");
                    assert_eq!(value[..], [(n % 50) as u8; 200], "{offset}");
                }
            }
        }
    }
    assert!(refused > 0, "some of the flipped bits are in use");
}

#[tokio::test]
async fn versions_grow_across_reopening_and_data_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let mut last = None;
    for round in 0..3u8 {
        let database = Database::open(&path, OpenOptions::default()).unwrap();
        for n in 0..5u8 {
            let written = database.run("write", async |mut tx: Transaction| {
                tx.set(&[round, n], b"v");
                Ok::<_, StoreError>(tx.versionstamp())
            });
            let stamp = written.await.unwrap().get().await.unwrap();
            assert!(Some(stamp) > last, "{stamp:?} after {last:?}");
            last = Some(stamp);
        }
        if round == 0 {
            database.shutdown().await;
        }
    }
    let database = Database::open(&path, OpenOptions::default()).unwrap();
    let rows =
        database.read("all", async |mut tx: Transaction| tx.get_range(b"", KEYSPACE_END, 100, false).await);
    assert_eq!(rows.await.unwrap().len(), 15);
}

#[tokio::test]
async fn shutdown_cancels_watches() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&dir.path().join("store"), OpenOptions::default()).unwrap();
    let mut watch = database.watch(b"k").await.unwrap();
    database.shutdown().await;
    assert_eq!(watch.changed().await, Err(StoreError::WatchCancelled));
}
