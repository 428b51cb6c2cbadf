//! Which images of builds may go: an empty file per image remembers when it was last wanted.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use muster_protocol::agent::BuildRef;

use crate::runtime::{Engine, EngineError, image_of};

/// Transfers that nothing was added to for this long are given up: their servers are gone.
const STALE_TRANSFER: Duration = Duration::from_hours(24);

/// Images with their last use.
pub(super) struct Cache {
    dir: PathBuf,
    limit_bytes: u64,
}

impl Cache {
    pub(super) fn new(dir: PathBuf, limit_bytes: u64) -> Self {
        Self { dir, limit_bytes }
    }

    /// The build's image is wanted now.
    pub(super) fn touch(&self, build: &BuildRef) {
        let Some((_, tag)) =
            image_of(Some(build)).rsplit_once(':').map(|(name, tag)| (name.to_owned(), tag.to_owned()))
        else {
            return;
        };
        if build.digest.is_empty() {
            return;
        }
        // Losing the mark costs a later transfer at worst.
        let _ = std::fs::create_dir_all(&self.dir);
        let _ = std::fs::write(self.mark(&tag), []);
    }

    /// Removes what is over the limit. Only images that this agent has marked are its to remove.
    pub(super) async fn clean(&self, engine: &Engine, needed: &HashSet<String>) -> Result<(), EngineError> {
        self.drop_stale_transfers();
        let images: Vec<_> = engine
            .build_images()
            .await?
            .into_iter()
            .filter_map(|(tag, size)| Some((self.last_used(&tag)?, tag, size)))
            .collect();
        let is_needed = |tag: &str| needed.iter().any(|name| name.rsplit(':').next() == Some(tag));
        for tag in excess(images, self.limit_bytes, is_needed) {
            tracing::info!(tag, "removing an image that no server needs, to make room");
            engine.remove_build_image(&tag).await?;
            let _ = std::fs::remove_file(self.mark(&tag));
        }
        Ok(())
    }

    fn drop_stale_transfers(&self) {
        let Ok(entries) = std::fs::read_dir(&self.dir) else { return };
        for entry in entries.flatten().filter(|entry| entry.path().extension() == Some("part".as_ref())) {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= STALE_TRANSFER)) {
                // One that cannot be removed now is tried again at the next cleaning.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn last_used(&self, tag: &str) -> Option<SystemTime> {
        std::fs::metadata(self.mark(tag)).and_then(|mark| mark.modified()).ok()
    }

    fn mark(&self, tag: &str) -> PathBuf {
        self.dir.join(format!("{tag}.used"))
    }
}

/// Tags to remove so that the rest fits into `limit`: the longest unused first, none that is needed.
fn excess(
    mut images: Vec<(SystemTime, String, u64)>,
    limit: u64,
    is_needed: impl Fn(&str) -> bool,
) -> Vec<String> {
    images.sort();
    let mut total: u64 = images.iter().map(|(_, _, size)| size).sum();
    let mut out = Vec::new();
    for (_, tag, size) in images {
        if total <= limit {
            break;
        }
        if !is_needed(&tag) {
            total -= size;
            out.push(tag);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn image(age: u64, tag: &str, size: u64) -> (SystemTime, String, u64) {
        (SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age), tag.to_owned(), size)
    }

    #[test]
    fn transfers_that_nobody_continues_are_dropped() {
        let dir = tempfile::tempdir().expect("a directory");
        let make = |name: &str, age: Duration| {
            let file = std::fs::File::create(dir.path().join(name)).expect("writes");
            file.set_modified(SystemTime::now() - age).expect("settable");
        };
        make("old.part", STALE_TRANSFER + Duration::from_mins(1));
        make("new.part", Duration::ZERO);
        make("old.used", STALE_TRANSFER * 2);
        Cache::new(dir.path().to_owned(), 0).drop_stale_transfers();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .expect("there")
            .map(|entry| entry.expect("there").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["new.part", "old.used"]);
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_needed_stays() {
        let images = || vec![image(1, "new", 10), image(30, "old", 10), image(20, "middle", 10)];
        assert_eq!(excess(images(), 30, |_| false), Vec::<String>::new());
        assert_eq!(excess(images(), 20, |_| false), ["old"]);
        assert_eq!(excess(images(), 20, |tag| tag == "old"), ["middle"]);
        assert_eq!(excess(images(), 0, |tag| tag == "new"), ["old", "middle"]);
    }
}
