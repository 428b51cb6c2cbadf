//! A disk that is really full: a small tmpfs, filled to the last byte.
//!
//! Needs the right to mount. Where it is missing the test says so and checks nothing.

#![allow(clippy::unwrap_used, reason = "a failed test is how a test speaks")]
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_store::{Database, OpenOptions, StoreError, Transaction};

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path, size: &str) -> Option<Self> {
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "muster-store-test"])
            .arg(at)
            .output();
        match output {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                eprintln!("SKIPPED, NOTHING CHECKED: mount: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("SKIPPED, NOTHING CHECKED: mount: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

async fn write(database: &Database, number: u32) -> Result<(), StoreError> {
    database
        .run("write", async |mut tx| {
            for part in 0..20u8 {
                tx.set(&[&number.to_be_bytes()[..], &[part]].concat(), &[part; 2000]);
            }
            Ok(())
        })
        .await
}

async fn rows(database: &Database) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows = database
        .read("rows", async |mut tx: Transaction| {
            tx.get_range(b"", muster_store::limits::KEYSPACE_END, usize::MAX, false).await
        })
        .await?;
    Ok(rows.into_iter().map(|(key, _)| key.to_vec()).collect())
}

fn expected(numbers: &[u32]) -> Vec<Vec<u8>> {
    let mut keys: Vec<_> = numbers
        .iter()
        .flat_map(|n| (0..20u8).map(move |part| [&n.to_be_bytes()[..], &[part]].concat()))
        .collect();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_loses_nothing_and_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::tmpfs(dir.path(), "8m") else { return };
    let path = dir.path().join("store");
    let database = Database::open(&path, OpenOptions::default()).unwrap();
    let mut there = Vec::new();
    for number in 0..10 {
        write(&database, number).await.unwrap();
        there.push(number);
    }
    let mut watch = database.watch(&[&1000u32.to_be_bytes()[..], &[0]].concat()).await.unwrap();

    let filler = dir.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);

    let mut refused = 0;
    for number in 100..400 {
        match write(&database, number).await {
            Ok(()) => there.push(number),
            Err(error) => {
                assert!(matches!(error, StoreError::DiskFull { .. }), "{error:?}");
                assert!(error.to_string().contains("free some space"), "{error}");
                refused += 1;
                // Reads go on, and show all that was acknowledged and nothing else.
                assert_eq!(rows(&database).await.unwrap(), expected(&there));
            }
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk never filled up");

    std::fs::remove_file(&filler).unwrap();
    write(&database, 1000).await.unwrap();
    there.push(1000);
    let fired = tokio::time::timeout(std::time::Duration::from_secs(30), watch.changed()).await;
    fired.expect("the watch fires before the deadline").unwrap();
    assert_eq!(rows(&database).await.unwrap(), expected(&there));
    database.shutdown().await;
    let database = Database::open(&path, OpenOptions::default()).unwrap();
    assert_eq!(rows(&database).await.unwrap(), expected(&there));
}

#[tokio::test]
async fn a_store_cannot_be_made_on_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mounted) = Mounted::tmpfs(dir.path(), "64k") else { return };
    let mut file = File::create(dir.path().join("filler")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let error = Database::open(&dir.path().join("store"), OpenOptions::default()).unwrap_err();
    assert!(error.to_string().contains("has room"), "{error}");
}
