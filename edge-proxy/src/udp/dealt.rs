//! Kept flows when the number of workers has changed since they were kept: each goes to the worker that has it now.
//!
//! Done before any worker reads, and only then: otherwise each goes on with its own file.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kept::{KeptFlow, KeptKey, SLOT_BYTES};
use super::kept_file::{file_name, header, open_private, read_header};

/// Files that are looked for: as many as there may ever have been workers.
const MOST_FILES: usize = 256;

/// What one file holds.
struct Kept {
    key: KeptKey,
    alive_ms: u64,
    flows: Vec<KeptFlow>,
}

/// Leaves a file for each of `workers` in `dir`, all of one key, with the flows that are theirs as `of` says; flows of an edge
/// that was away for `idle` before `now_ms` (Unix milliseconds) are nobody's. At most `most` flows are read of each file.
///
/// # Errors
/// What the system says of the files. Flows that were not dealt are not known to this process.
pub(super) fn deal(
    dir: &Path,
    (workers, most): (usize, usize),
    (idle, now_ms): (Duration, u64),
    of: impl Fn(&KeptFlow) -> usize,
) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let there: Vec<PathBuf> =
        (0..MOST_FILES).map(|worker| dir.join(file_name(worker))).take_while(|path| path.exists()).collect();
    let kept: Vec<_> = there.iter().map(|path| read(path, most)).collect::<io::Result<_>>()?;
    let lives = |kept: &&Kept| now_ms.saturating_sub(kept.alive_ms) < idle.as_millis() as u64;
    let first = kept.iter().flatten().find(lives);
    let key = first.map_or_else(rand::random, |first| first.key);
    let of_one_key = kept.iter().all(|kept| kept.as_ref().is_some_and(|kept| kept.key == key));
    if there.len() == workers && (workers == 1 || of_one_key) {
        return Ok(());
    }
    // Tokens are known by the key: flows of another are of no use.
    let mine = kept.iter().flatten().filter(lives).filter(|kept| kept.key == key);
    let mut dealt = vec![header(key, now_ms).to_vec(); workers];
    for flow in mine.flat_map(|kept| &kept.flows) {
        if let Some(file) = dealt.get_mut(of(flow)) {
            file.extend_from_slice(&flow.encode(&key));
        }
    }
    let new = |worker| dir.join(format!("{}.new", file_name(worker)));
    for (worker, bytes) in dealt.iter().enumerate() {
        let mut file = open_private(&new(worker))?;
        file.set_len(0)?;
        file.write_all(bytes)?;
    }
    (0..workers).try_for_each(|worker| fs::rename(new(worker), dir.join(file_name(worker))))?;
    there.iter().skip(workers).try_for_each(fs::remove_file)
}

/// What is in the file at `path`; `None` if it is none of ours.
fn read(path: &Path, most: usize) -> io::Result<Option<Kept>> {
    let bytes = fs::read(path)?;
    let (slots, _) = bytes.as_chunks::<SLOT_BYTES>();
    let Some((first, slots)) = slots.split_first() else { return Ok(None) };
    let Some((key, alive_ms)) = read_header(first) else { return Ok(None) };
    let flows = slots.iter().take(most).filter_map(|slot| KeptFlow::decode(&key, slot)).collect();
    Ok(Some(Kept { key, alive_ms, flows }))
}

#[cfg(test)]
mod tests {
    use super::super::kept::KeptFlows;
    use super::super::kept_file::{Found, KeptFile};
    use super::*;
    use muster_protocol::flow::FlowId;
    use muster_protocol::id::ServerId;

    const IDLE: Duration = Duration::from_mins(1);
    const NOW_MS: u64 = 1_800_000_000_000;
    const MOST: usize = 100;

    fn flow(n: u64) -> KeptFlow {
        KeptFlow {
            id: FlowId(n),
            server: ServerId::new(),
            port_index: 0,
            port: 20_000,
            client: "10.0.0.1:9000".parse().unwrap(),
            local_ip: None,
            proof: n,
        }
    }

    fn deal_to(dir: &Path, workers: usize) {
        deal(dir, (workers, MOST), (IDLE, NOW_MS), |flow| flow.id.0 as usize % workers).unwrap();
    }

    fn found(dir: &Path, worker: usize) -> Found {
        KeptFile::open(&dir.join(file_name(worker)), MOST, IDLE, NOW_MS).1
    }

    fn ids(dir: &Path, worker: usize) -> Vec<u64> {
        let mut ids: Vec<_> = found(dir, worker).slots.iter().flatten().map(|flow| flow.id.0).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn each_flow_goes_to_its_worker_however_many_there_were() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        deal_to(dir, 1);
        let (mut file, found_first) = KeptFile::open(&dir.join(file_name(0)), MOST, IDLE, NOW_MS);
        let mut kept = KeptFlows::new(found_first.key, MOST, found_first.slots);
        for n in 1..=6 {
            kept.keep(None, &flow(n)).unwrap();
        }
        file.write(&kept.take_writes());
        drop(file);
        deal_to(dir, 3);
        assert_eq!([0, 1, 2].map(|worker| ids(dir, worker)), [vec![3, 6], vec![1, 4], vec![2, 5]]);
        assert!([0, 1, 2].iter().all(|worker| found(dir, *worker).key == found_first.key));
        deal_to(dir, 3);
        assert_eq!(ids(dir, 1), [1, 4], "as it was");
        deal_to(dir, 2);
        assert_eq!([0, 1].map(|worker| ids(dir, worker)), [vec![2, 4, 6], vec![1, 3, 5]]);
        assert!(!dir.join(file_name(2)).exists());
        deal_to(dir, 1);
        assert_eq!(ids(dir, 0), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn files_of_something_else_are_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join(file_name(0)), b"junk").unwrap();
        fs::write(dir.join(file_name(1)), [7; 1_000]).unwrap();
        deal_to(dir, 2);
        assert_eq!(found(dir, 0).key, found(dir, 1).key);
        assert!(ids(dir, 0).is_empty() && ids(dir, 1).is_empty());
    }
}
