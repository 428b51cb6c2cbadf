//! Build archives on disk, addressed by digest, and the uploads that become them.
//!
//! `<data_dir>/blobs/sha256/<first two hex digits>/<hex>` holds whole archives, never changed once there;
//! `<data_dir>/uploads/<upload id>` holds what has been received of an upload. What is said to be held is
//! on disk: every chunk is synced before it is acknowledged, and an archive appears under its digest by
//! one rename. Which uploads exist, and who may use them, is in the store and not known here.

mod import;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use muster_protocol::id::UploadId;
use sha2::{Digest as _, Sha256};

/// Bytes hashed at a time when an upload is finished.
const HASH_BUFFER_BYTES: usize = 1024 * 1024;
const ALGORITHM: &str = "sha256:";

/// The digest that addresses an archive: SHA-256, as text `sha256:` and 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest; it is sha256: and 64 lowercase hex digits")]
pub struct DigestError;

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The hex digits alone.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix(ALGORITHM).ok_or(DigestError)?.as_bytes();
        if hex.len() != 64 {
            return Err(DigestError);
        }
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(DigestError),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

/// Why an archive or upload cannot be read or written. Nothing acknowledged before is lost.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The chunk does not begin where the upload stands.
    #[error("the upload holds {received} bytes, the chunk begins at {offset}; send from byte {received} on")]
    Offset {
        /// Bytes held: where the next chunk has to begin.
        received: u64,
        /// Where this one began.
        offset: u64,
    },
    /// The chunk goes beyond the size announced.
    #[error(
        "the chunk ends at byte {end}, the upload was announced with {size}; announce the archive's size"
    )]
    BeyondSize {
        /// Where the chunk ends.
        end: u64,
        /// Size announced.
        size: u64,
    },
    /// Another chunk of the same upload is being written.
    #[error("another chunk of this upload is being written; send one at a time")]
    Busy,
    /// Not all bytes are there yet.
    #[error("{received} of {size} bytes have been received; send the rest from byte {received} on")]
    Incomplete {
        /// Bytes held.
        received: u64,
        /// Size announced.
        size: u64,
    },
    /// The bytes are not those announced. The upload has been removed.
    #[error("the bytes received have digest {actual}, not {announced}; upload the archive again")]
    WrongDigest {
        /// What was announced.
        announced: Digest,
        /// What was received.
        actual: Digest,
    },
    /// No room on disk.
    #[error("no room on the disk of {path}; free some and go on from where the upload stands")]
    Full {
        /// What was written.
        path: PathBuf,
    },
    /// The system does not let us.
    #[error("{path}: {source}; check that data_dir is on a working disk and ours to write")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl BlobError {
    fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path },
            _ => Self::Io { path, source },
        }
    }
}

/// An archive opened for reading.
pub struct OpenBlob {
    /// Positioned at the offset asked for.
    pub file: tokio::fs::File,
    /// Size of the whole archive.
    pub size_bytes: u64,
}

/// The archives of one data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    directories: Arc<Directories>,
}

#[derive(Debug)]
struct Directories {
    blobs: PathBuf,
    uploads: PathBuf,
}

impl Blobs {
    /// The archives under `data_dir`, whose directories are made if missing.
    ///
    /// # Errors
    /// [`BlobError`] if they cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, BlobError> {
        let directories =
            Directories { blobs: data_dir.join("blobs").join("sha256"), uploads: data_dir.join("uploads") };
        for directory in [&directories.blobs, &directories.uploads] {
            fs::create_dir_all(directory).map_err(|error| BlobError::io(directory, error))?;
        }
        Ok(Self { directories: Arc::new(directories) })
    }

    /// Where the archive of `digest` lies, whether or not it is there.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.directories.blobs.join(&hex[..2]).join(&hex)
    }

    /// Where what has been received of upload `id` lies, whether or not it is there.
    pub fn upload_path(&self, id: UploadId) -> PathBuf {
        self.directories.uploads.join(id.to_string())
    }

    /// Size of the archive of `digest` in bytes; `None` if it is not there.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        size_of(self.path(digest)).await
    }

    /// The archive of `digest` from byte `offset` on; `None` if it is not there. An offset beyond the
    /// end reads nothing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn read_from(&self, digest: &Digest, offset: u64) -> Result<Option<OpenBlob>, BlobError> {
        let path = self.path(digest);
        blocking(move || {
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(BlobError::io(&path, error)),
            };
            let io = |error| BlobError::io(&path, error);
            let size_bytes = file.metadata().map_err(io)?.len();
            file.seek(SeekFrom::Start(offset.min(size_bytes))).map_err(io)?;
            Ok(Some(OpenBlob { file: tokio::fs::File::from_std(file), size_bytes }))
        })
        .await
    }

    /// Removes the archive of `digest`, if it is there.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        remove(self.path(digest)).await
    }

    /// Bytes held of upload `id`; 0 if none were ever received.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn upload_received(&self, id: UploadId) -> Result<u64, BlobError> {
        Ok(size_of(self.upload_path(id)).await?.unwrap_or(0))
    }

    /// Adds `chunk` at `offset` to upload `id`, announced with `size_bytes`, and answers the bytes held.
    ///
    /// Returns once the bytes are on disk. A chunk of which all is held already changes nothing, so a
    /// client that lost the answer may send it again.
    ///
    /// # Errors
    /// [`BlobError::Offset`], [`BlobError::BeyondSize`], [`BlobError::Busy`], [`BlobError::Full`],
    /// [`BlobError::Io`].
    pub async fn upload_append(
        &self,
        id: UploadId,
        size_bytes: u64,
        offset: u64,
        chunk: Bytes,
    ) -> Result<u64, BlobError> {
        let path = self.upload_path(id);
        let directory = self.directories.uploads.clone();
        blocking(move || append(&path, &directory, size_bytes, offset, &chunk)).await
    }

    /// Checks that upload `id` is whole and has `digest`, and makes it the archive of that digest.
    /// Does nothing if that archive is there already, so it may be repeated.
    ///
    /// # Errors
    /// [`BlobError::Incomplete`]; [`BlobError::WrongDigest`], after which the upload starts anew;
    /// [`BlobError::Io`].
    pub async fn upload_finish(
        &self,
        id: UploadId,
        size_bytes: u64,
        digest: Digest,
    ) -> Result<(), BlobError> {
        let (from, to) = (self.upload_path(id), self.path(&digest));
        blocking(move || finish(&from, &to, size_bytes, digest)).await
    }

    /// Uploads of which something was received.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn uploads(&self) -> Result<Vec<UploadId>, BlobError> {
        let directory = self.directories.uploads.clone();
        blocking(move || {
            let io = |error| BlobError::io(&directory, error);
            let mut uploads = Vec::new();
            for entry in fs::read_dir(&directory).map_err(io)? {
                let name = entry.map_err(io)?.file_name();
                uploads.extend(name.to_str().and_then(|name| name.parse::<UploadId>().ok()));
            }
            Ok(uploads)
        })
        .await
    }

    /// Removes what was received of upload `id`, if anything.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub async fn upload_remove(&self, id: UploadId) -> Result<(), BlobError> {
        remove(self.upload_path(id)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => Err(BlobError::Io { path: PathBuf::new(), source: io::Error::other(error) }),
    })
}

async fn size_of(path: PathBuf) -> Result<Option<u64>, BlobError> {
    match tokio::fs::metadata(&path).await {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BlobError::io(&path, error)),
    }
}

async fn remove(path: PathBuf) -> Result<(), BlobError> {
    match tokio::fs::remove_file(&path).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(BlobError::io(&path, error)),
    }
}

fn append(path: &Path, directory: &Path, size: u64, offset: u64, chunk: &[u8]) -> Result<u64, BlobError> {
    let io = |error| BlobError::io(path, error);
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(BlobError::Busy),
        Err(fs::TryLockError::Error(error)) => return Err(io(error)),
    }
    let received = file.metadata().map_err(io)?.len();
    let end = offset.saturating_add(chunk.len() as u64);
    if end > size {
        return Err(BlobError::BeyondSize { end, size });
    }
    if offset > received || (end > received && offset != received) {
        return Err(BlobError::Offset { received, offset });
    }
    if end <= received {
        return Ok(received);
    }
    if let Err(error) = file.write_all(chunk).and_then(|()| file.sync_all()) {
        // What a failed write left is not acknowledged: take it back, so that the offset stays true.
        let _ = file.set_len(received);
        return Err(io(error));
    }
    if received == 0 {
        sync_directory(directory)?;
    }
    Ok(end)
}

fn finish(from: &Path, to: &Path, size: u64, digest: Digest) -> Result<(), BlobError> {
    let io = |error| BlobError::io(from, error);
    if to.exists() {
        let _ = fs::remove_file(from);
        return Ok(());
    }
    let mut file = match File::open(from) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(BlobError::Incomplete { received: 0, size });
        }
        Err(error) => return Err(io(error)),
    };
    let received = file.metadata().map_err(io)?.len();
    if received != size {
        return Err(BlobError::Incomplete { received, size });
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        let read = file.read(&mut buffer).map_err(io)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    drop(file);
    let actual = Digest(hasher.finalize().into());
    if actual != digest {
        fs::remove_file(from).map_err(io)?;
        return Err(BlobError::WrongDigest { announced: digest, actual });
    }
    let directory = to.parent().expect("an archive's path has a directory");
    fs::create_dir_all(directory).map_err(|error| BlobError::io(directory, error))?;
    fs::rename(from, to).map_err(|error| BlobError::io(to, error))?;
    sync_directory(directory)?;
    sync_directory(directory.parent().expect("the digest's directory lies in another"))
}

/// Makes the names in `directory` durable. Windows has no such call; its renames are journalled.
fn sync_directory(directory: &Path) -> Result<(), BlobError> {
    if cfg!(unix) {
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| BlobError::io(directory, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(directory.path()).expect("opened");
        (directory, blobs)
    }

    async fn text_from(blobs: &Blobs, digest: &Digest, offset: u64) -> Option<(String, u64)> {
        let mut blob = blobs.read_from(digest, offset).await.expect("readable")?;
        let mut text = String::new();
        blob.file.read_to_string(&mut text).await.expect("readable");
        Some((text, blob.size_bytes))
    }

    #[tokio::test]
    async fn an_upload_in_chunks_becomes_an_archive() {
        let (_directory, blobs) = blobs();
        let (id, digest) = (UploadId::new(), Digest::of(b"hello world"));
        assert_eq!(blobs.upload_received(id).await.expect("none yet"), 0);
        assert_eq!(blobs.upload_append(id, 11, 0, Bytes::from_static(b"hello ")).await.expect("held"), 6);
        // The answer was lost: the same chunk again is no harm.
        assert_eq!(blobs.upload_append(id, 11, 0, Bytes::from_static(b"hello ")).await.expect("held"), 6);
        // The orchestrator restarts; the upload goes on from where it stood.
        let again = Blobs { directories: blobs.directories.clone() };
        assert_eq!(again.upload_received(id).await.expect("held"), 6);
        assert!(matches!(
            again.upload_finish(id, 11, digest).await,
            Err(BlobError::Incomplete { received: 6, size: 11 })
        ));
        assert_eq!(again.upload_append(id, 11, 6, Bytes::from_static(b"world")).await.expect("held"), 11);
        again.upload_finish(id, 11, digest).await.expect("whole");
        again.upload_finish(id, 11, digest).await.expect("repeated");
        assert_eq!(again.size(&digest).await.expect("there"), Some(11));
        assert_eq!(text_from(&again, &digest, 6).await, Some(("world".to_owned(), 11)));
        assert_eq!(text_from(&again, &digest, 99).await, Some((String::new(), 11)));
        assert_eq!(text_from(&again, &Digest::of(b"another"), 0).await, None);
        again.remove(&digest).await.expect("removed");
        assert_eq!(again.size(&digest).await.expect("gone"), None);
    }

    #[tokio::test]
    async fn chunks_out_of_place_are_refused_and_lose_nothing() {
        let (_directory, blobs) = blobs();
        let id = UploadId::new();
        blobs.upload_append(id, 10, 0, Bytes::from_static(b"0123")).await.expect("held");
        let gap = blobs.upload_append(id, 10, 5, Bytes::from_static(b"5")).await.expect_err("a gap");
        assert!(gap.to_string().contains("from byte 4"), "{gap}");
        let overlap = blobs.upload_append(id, 10, 2, Bytes::from_static(b"2345")).await;
        assert!(matches!(overlap, Err(BlobError::Offset { received: 4, offset: 2 })));
        let beyond = blobs.upload_append(id, 10, 4, Bytes::from_static(b"456789ab")).await;
        assert!(matches!(beyond, Err(BlobError::BeyondSize { end: 12, size: 10 })));
        assert_eq!(blobs.upload_received(id).await.expect("held"), 4);
    }

    #[tokio::test]
    async fn the_wrong_bytes_never_get_the_digest() {
        let (_directory, blobs) = blobs();
        let (id, digest) = (UploadId::new(), Digest::of(b"right"));
        blobs.upload_append(id, 5, 0, Bytes::from_static(b"wrong")).await.expect("held");
        let error = blobs.upload_finish(id, 5, digest).await.expect_err("wrong bytes");
        assert!(matches!(error, BlobError::WrongDigest { actual, .. } if actual == Digest::of(b"wrong")));
        assert_eq!(blobs.size(&digest).await.expect("not there"), None);
        assert_eq!(blobs.upload_received(id).await.expect("starts anew"), 0);
    }

    #[tokio::test]
    async fn a_missing_directory_is_an_error_that_says_so() {
        let (directory, blobs) = blobs();
        drop(directory);
        let error = blobs
            .upload_append(UploadId::new(), 1, 0, Bytes::from_static(b"x"))
            .await
            .expect_err("no directory");
        assert!(error.to_string().contains("data_dir"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_a_digest_or_an_error(text in "\\PC{0,80}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }

        #[test]
        fn digests_come_back_from_their_text(bytes: [u8; 32]) {
            prop_assert_eq!(Digest(bytes).to_string().parse(), Ok(Digest(bytes)));
        }
    }
}
