//! Kept flows when the number of workers has changed since they were kept: each goes to the worker that has it now.
//!
//! Done before any worker reads, and only then: otherwise each goes on with its own file. A process that is killed meanwhile
//! loses nothing: all flows are in [`WHOLE_FILE`] before the first file is another's, and as long as that is there it is what
//! counts. Nor does one that takes over and breaks off: the one before, whose open files are in nobody's place any more,
//! puts them back.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::kept::{KeptFlow, KeptKey, SLOT_BYTES};
use super::kept_file::{Found, file_name, header, open_private, read};

/// Files that are looked for: as many as there may ever have been workers.
const MOST_FILES: usize = 256;
/// All flows, while those of workers are exchanged.
const WHOLE_FILE: &str = "flows-all.bin";

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
    let whole = dir.join(WHOLE_FILE);
    // One that was cut off, if it had come so far.
    let cut_off = if whole.exists() { of_file(&whole, most)? } else { None };
    let (there, is_cut_off) = (files(dir, 0), cut_off.is_some());
    let found = if is_cut_off {
        vec![cut_off]
    } else {
        there.iter().map(|path| of_file(path, most)).collect::<io::Result<_>>()?
    };
    let lives = |found: &&Found| found.lives(idle, now_ms);
    let first = found.iter().flatten().find(lives);
    let key = first.map_or_else(rand::random, |first| first.key);
    let of_one_key = found.iter().all(|found| found.as_ref().is_some_and(|found| found.key == key));
    if !is_cut_off && there.len() == workers && (workers == 1 || of_one_key) {
        return Ok(());
    }
    // Tokens are known by the key: flows of another are of no use.
    let mine = found.iter().flatten().filter(lives).filter(|found| found.key == key);
    let mut dealt = vec![header(key, now_ms).to_vec(); workers];
    for flow in mine.flat_map(|found| found.slots.iter().flatten()) {
        if let Some(file) = dealt.get_mut(of(flow)) {
            file.extend_from_slice(&flow.encode(&key));
        }
    }
    exchange(dir, (key, now_ms), &dealt).map(drop)
}

/// Puts the files of this process's workers, of each once more if it has one, back into `dir`, whatever another process has
/// left in their place. Returns them anew: those that are open are nobody's any more. Nobody may write meanwhile.
///
/// # Errors
/// What the system says of the files.
pub(super) fn put_back(dir: &Path, open: Vec<Option<File>>) -> io::Result<Vec<Option<File>>> {
    let contents = |file: Option<File>| {
        let Some(mut file) = file else { return Ok(None) };
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    };
    let contents: Vec<_> = open.into_iter().map(contents).collect::<io::Result<_>>()?;
    let Some(Found { key, alive_ms, .. }) = contents.iter().flatten().find_map(|bytes| read(bytes)) else {
        return Ok(contents.iter().map(|_| None).collect());
    };
    let has_file: Vec<_> = contents.iter().map(Option::is_some).collect();
    let empty = || header(key, alive_ms).to_vec();
    let files: Vec<_> = contents.into_iter().map(|bytes| bytes.unwrap_or_else(empty)).collect();
    let anew = exchange(dir, (key, alive_ms), &files)?;
    Ok(has_file.into_iter().zip(anew).map(|(had, file)| had.then_some(file)).collect())
}

/// Puts `files`, of one key, in the place of those of all workers, and returns them open.
fn exchange(dir: &Path, (key, alive_ms): (KeptKey, u64), files: &[Vec<u8>]) -> io::Result<Vec<File>> {
    let slots = files.iter().filter_map(|file| file.get(SLOT_BYTES..)).flatten().copied();
    let whole: Vec<u8> = header(key, alive_ms).into_iter().chain(slots).collect();
    replace(&dir.join(WHOLE_FILE), &whole)?;
    let each = files.iter().enumerate();
    let open = each.map(|(worker, bytes)| replace(&dir.join(file_name(worker)), bytes));
    let open = open.collect::<io::Result<_>>()?;
    self::files(dir, files.len()).iter().try_for_each(fs::remove_file)?;
    fs::remove_file(dir.join(WHOLE_FILE))?;
    Ok(open)
}

/// Puts a file of `bytes` at `path` at once; who has the one that was there open keeps it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let new = path.with_extension("new");
    let mut file = open_private(&new)?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    fs::rename(new, path)?;
    Ok(file)
}

/// The files of workers from the one numbered `first` on.
fn files(dir: &Path, first: usize) -> Vec<PathBuf> {
    let paths = (first..MOST_FILES).map(|worker| dir.join(file_name(worker)));
    paths.take_while(|path| path.exists()).collect()
}

/// What is in the file at `path`, at most `most` slots; `None` if it is none of ours.
fn of_file(path: &Path, most: usize) -> io::Result<Option<Found>> {
    let mut bytes = fs::read(path)?;
    bytes.truncate(most.saturating_add(1).saturating_mul(SLOT_BYTES));
    Ok(read(&bytes))
}

#[cfg(test)]
mod tests {
    use super::super::kept::KeptFlows;
    use super::super::kept_file::KeptFile;
    use super::*;

    const IDLE: Duration = Duration::from_mins(1);
    const NOW_MS: u64 = 1_800_000_000_000;
    const MOST: usize = 100;

    fn flow(number: u16) -> KeptFlow {
        KeptFlow::example(number, "10.0.0.1:9000")
    }

    fn deal_to(dir: &Path, workers: usize) {
        deal(dir, (workers, MOST), (IDLE, NOW_MS), |flow| flow.id.0 as usize % workers).unwrap();
    }

    fn open(dir: &Path, worker: usize) -> (KeptFile, Found) {
        KeptFile::open(&dir.join(file_name(worker)), MOST, IDLE, NOW_MS)
    }

    fn ids(dir: &Path, worker: usize) -> Vec<u64> {
        let mut ids: Vec<_> = open(dir, worker).1.slots.iter().flatten().map(|flow| flow.id.0).collect();
        ids.sort_unstable();
        ids
    }

    /// Keeps flows of these numbers in the file of `worker`, as a worker does, and returns it open.
    fn keep(dir: &Path, worker: usize, numbers: &[u16]) -> (KeptFile, KeptFlows) {
        let (mut file, found) = open(dir, worker);
        let mut kept = KeptFlows::new(found.key, MOST, found.slots);
        for number in numbers {
            kept.keep(None, &flow(*number)).unwrap();
        }
        file.write(&kept.take_writes());
        (file, kept)
    }

    #[test]
    fn each_flow_goes_to_its_worker_however_many_there_were() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        deal_to(dir, 1);
        keep(dir, 0, &[1, 2, 3, 4, 5, 6]);
        let key = open(dir, 0).1.key;
        deal_to(dir, 3);
        assert_eq!([0, 1, 2].map(|worker| ids(dir, worker)), [vec![3, 6], vec![1, 4], vec![2, 5]]);
        assert!([0, 1, 2].iter().all(|worker| open(dir, *worker).1.key == key));
        deal_to(dir, 3);
        assert_eq!(ids(dir, 1), [1, 4], "as it was");
        deal_to(dir, 2);
        assert_eq!([0, 1].map(|worker| ids(dir, worker)), [vec![2, 4, 6], vec![1, 3, 5]]);
        assert!(!dir.join(file_name(2)).exists());
        deal_to(dir, 1);
        assert_eq!(ids(dir, 0), [1, 2, 3, 4, 5, 6]);
        assert!(!dir.join(WHOLE_FILE).exists());
    }

    #[test]
    fn a_kill_in_the_midst_of_it_loses_nothing() {
        for exchanged in 0..=2 {
            let (before, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (dir, after) = (before.path(), after.path());
            deal_to(dir, 3);
            (0..3).for_each(|worker| drop(keep(dir, worker, &[worker as u16, worker as u16 + 3])));
            for worker in 0..3 {
                fs::copy(dir.join(file_name(worker)), after.join(file_name(worker))).unwrap();
            }
            // All in one file, and then as many of the new ones as there was time for.
            deal_to(after, 1);
            fs::copy(after.join(file_name(0)), dir.join(WHOLE_FILE)).unwrap();
            deal_to(after, 2);
            for worker in 0..exchanged {
                fs::copy(after.join(file_name(worker)), dir.join(file_name(worker))).unwrap();
            }
            deal_to(dir, 2);
            assert_eq!([0, 1].map(|worker| ids(dir, worker)), [[0, 2, 4], [1, 3, 5]], "after {exchanged}");
            assert!(!dir.join(WHOLE_FILE).exists() && !dir.join(file_name(2)).exists());
        }
    }

    #[test]
    fn who_took_over_and_broke_off_leaves_the_one_before_as_it_was() {
        for workers in [1, 2, 3, 5] {
            let dir = tempfile::tempdir().unwrap();
            let dir = dir.path();
            deal_to(dir, 3);
            let mut before: Vec<_> = (0..3).map(|worker| keep(dir, worker, &[worker as u16])).collect();
            deal_to(dir, workers);
            let anew = put_back(dir, before.iter().map(|(file, _)| file.another()).collect()).unwrap();
            for ((file, _), anew) in before.iter_mut().zip(anew) {
                file.go_on_in(anew.expect("each had a file"));
            }
            // It goes on: one flow more, and one less.
            let (file, kept) = &mut before[1];
            kept.keep(None, &flow(4)).unwrap();
            let struck = kept.keep(None, &flow(7)).unwrap();
            kept.strike(struck);
            file.write(&kept.take_writes());
            assert_eq!([0, 1, 2].map(|worker| ids(dir, worker)), [vec![0], vec![1, 4], vec![2]]);
            assert!(!dir.join(file_name(3)).exists() && !dir.join(WHOLE_FILE).exists());
        }
    }

    #[test]
    fn a_worker_that_keeps_nothing_goes_on_keeping_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        deal_to(dir, 2);
        let (file, _) = keep(dir, 1, &[1]);
        let anew = put_back(dir, vec![None, file.another()]).unwrap();
        assert_eq!(anew.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
        assert_eq!((ids(dir, 0), ids(dir, 1)), (vec![], vec![1]));
        assert!(put_back(dir, vec![None, None]).unwrap().iter().all(Option::is_none));
        assert_eq!(ids(dir, 1), [1], "nothing was touched");
    }

    #[test]
    fn files_of_something_else_are_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        fs::write(dir.join(file_name(0)), b"junk").unwrap();
        fs::write(dir.join(file_name(1)), [7; 1_000]).unwrap();
        fs::write(dir.join(WHOLE_FILE), [8; 1_000]).unwrap();
        deal_to(dir, 2);
        assert_eq!(open(dir, 0).1.key, open(dir, 1).1.key);
        assert!(ids(dir, 0).is_empty() && ids(dir, 1).is_empty());
    }
}
