//! `kill -9` in the middle of commits: everything acknowledged is there, nothing is there by half, on the
//! embedded store and, with the feature `foundationdb`, on the cluster of `MUSTER_TEST_CLUSTER`.
//!
//! The child is this very test executable, started again with an environment variable that makes
//! one of its tests the committing process.

#![allow(clippy::unwrap_used, reason = "a failed test is how a test speaks")]
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use muster_store::{Database, OpenOptions, StoreError, StoreLocation, Transaction};

/// Tells a child where its store is, and in which file if it is embedded.
const CHILD_STORE: &str = "MUSTER_STORE_TEST_LOCATION";
const CHILD: &str = "MUSTER_STORE_TEST_CHILD";
const WRITERS: u8 = 4;
/// Keys each transaction writes; all or none must be found.
const PARTS: u8 = 6;

fn part(writer: u8, number: u64, part: u8) -> Vec<u8> {
    [&[writer][..], &number.to_be_bytes(), &[part]].concat()
}

/// Not a test by itself: commits until it is killed, and prints every acknowledged transaction.
#[test]
fn child_commits_until_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let location: StoreLocation = std::env::var(CHILD_STORE).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = Database::open_location(&location, path.as_ref(), OpenOptions::default()).await;
        let database = opened.unwrap();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let database = database.clone();
            writers.spawn(async move {
                let next = database
                    .read("next", async |mut tx: Transaction| {
                        tx.get_range(&[writer], &[writer + 1], 1, true).await
                    })
                    .await
                    .unwrap()
                    .first()
                    .map_or(0, |(key, _)| u64::from_be_bytes(key[1..9].try_into().unwrap()) + 1);
                for number in next.. {
                    database
                        .run("commit", async |mut tx| {
                            // A commit of the process before may have reached a cluster just now.
                            if tx.get(&part(writer, number, 0)).await?.is_some() {
                                return Ok(());
                            }
                            for n in 0..PARTS {
                                tx.set(&part(writer, number, n), &[n; 300]);
                            }
                            tx.atomic_add(b"\x80count", 1);
                            Ok::<_, StoreError>(())
                        })
                        .await
                        .unwrap();
                    // Printed after the answer: the parent counts it as acknowledged.
                    println!("acknowledged {writer} {number}");
                }
            });
        }
        writers.join_all().await;
    });
}

/// Kills the child if the test fails before it does.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn kill_loses_nothing_acknowledged_and_leaves_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    kill_again_and_again(&StoreLocation::Embedded, &dir.path().join("store"));
}

#[cfg(feature = "foundationdb")]
#[test]
fn kill_loses_nothing_on_a_cluster() {
    let file = std::env::var("MUSTER_TEST_CLUSTER")
        .expect("MUSTER_TEST_CLUSTER names the cluster file of a FoundationDB to test on");
    let prefix = format!("muster-crash/{:032x}/", rand::random::<u128>());
    let location = StoreLocation::Cluster { file: file.into(), prefix };
    kill_again_and_again(&location, Path::new("none"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = Database::open_location(&location, Path::new("none"), OpenOptions::default()).await;
        let database = opened.unwrap();
        let cleared = database.run("clear", async |mut tx: Transaction| {
            tx.clear_range(b"", muster_store::limits::KEYSPACE_END);
            Ok::<_, StoreError>(())
        });
        cleared.await.unwrap();
    });
}

fn kill_again_and_again(location: &StoreLocation, path: &Path) {
    let mut acknowledged = [None::<u64>; WRITERS as usize];
    for round in 0..8u64 {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_commits_until_killed", "--nocapture", "--test-threads", "1"])
            .env(CHILD, path)
            .env(CHILD_STORE, location.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut child = Killed(child);
        let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
        let mut seen = 0;
        // A different point every round; then whatever was in flight is cut off.
        while seen < 40 + round * 37 {
            let line = lines.next().expect("the child commits on").unwrap();
            seen += u64::from(note(&line, &mut acknowledged));
        }
        std::thread::sleep(Duration::from_micros(round * 311));
        child.0.kill().unwrap();
        // What it printed before it died is acknowledged too.
        for line in lines.map_while(Result::ok) {
            note(&line, &mut acknowledged);
        }
        child.0.wait().unwrap();
        check(location, path, &acknowledged);
    }
}

fn note(line: &str, acknowledged: &mut [Option<u64>]) -> bool {
    // The test harness prints on the same line before the first.
    let Some((_, rest)) = line.split_once("acknowledged ") else { return false };
    let Some((writer, number)) = rest.split_once(' ') else { return false };
    let (Ok(writer), Ok(number)) = (writer.parse::<usize>(), number.parse()) else { return false };
    acknowledged[writer] = acknowledged[writer].max(Some(number));
    true
}

fn check(location: &StoreLocation, path: &Path, acknowledged: &[Option<u64>]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let opened = Database::open_location(location, path, OpenOptions::default()).await;
        let database = opened.unwrap();
        // All at one version: on a cluster a commit of the killed process may arrive meanwhile.
        let found = database.read("found", async |mut tx: Transaction| {
            let mut rows = Vec::new();
            for writer in 0..WRITERS {
                rows.push(tx.get_range(&[writer], &[writer + 1], usize::MAX, false).await?);
            }
            Ok::<_, StoreError>((rows, tx.get(b"\x80count").await?))
        });
        let (rows, counted) = found.await.unwrap();
        let mut transactions = 0;
        for (writer, rows) in (0..WRITERS).zip(rows) {
            let count = rows.len() as u64 / u64::from(PARTS);
            assert_eq!(rows.len() as u64, count * u64::from(PARTS), "a transaction is there by half");
            let expected = (0..count)
                .flat_map(|number| (0..PARTS).map(move |n| (part(writer, number, n), vec![n; 300])));
            assert!(rows.into_iter().map(|(k, v)| (k.to_vec(), v.to_vec())).eq(expected));
            let least = acknowledged[usize::from(writer)].map_or(0, |last| last + 1);
            assert!(count >= least, "writer {writer}: {least} acknowledged, {count} found");
            transactions += count;
        }
        assert_eq!(counted.as_deref(), Some(&transactions.to_le_bytes()[..]), "additions are exactly once");
        database.shutdown().await;
    });
}
