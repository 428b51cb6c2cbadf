//! A file that is being received: what is there already counts, and its digest is known at the end.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Bytes read at a time when hashing what is there.
const READ_BYTES: usize = 1024 * 1024;

/// A file under way. Blocking: large writes belong on a blocking thread.
pub(super) struct PartFile {
    path: PathBuf,
    file: std::fs::File,
    hasher: Sha256,
    length: u64,
}

impl PartFile {
    /// Opens the file at `path`, taking over what an earlier transfer left there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut file = std::fs::OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut hasher = Sha256::new();
        let mut length = 0;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
            length += read as u64;
        }
        Ok(Self { path: path.to_owned(), file, hasher, length })
    }

    /// Bytes there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Adds to its end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Begins anew, from nothing.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// `sha256:…` of what is there.
    pub(super) fn digest(&self) -> String {
        let mut text = "sha256:".to_owned();
        for byte in self.hasher.clone().finalize() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_earlier_transfer_left_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("blob.part");
        let mut first = PartFile::open(&path).expect("opens");
        first.append(b"hello ").expect("writes");
        drop(first);
        let mut second = PartFile::open(&path).expect("opens");
        assert_eq!(second.length(), 6);
        second.append(b"world").expect("writes");
        // echo -n "hello world" | sha256sum
        assert_eq!(
            second.digest(),
            "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"
        );
        second.clear().expect("clears");
        assert_eq!((second.length(), std::fs::metadata(&path).expect("is there").len()), (0, 0));
    }
}
