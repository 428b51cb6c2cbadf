//! Taking over an archive that another replica holds.

use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::{BlobError, Blobs, Digest, blocking, finish};

/// Bytes read and written at a time.
const BUFFER_BYTES: usize = 256 * 1024;

impl Blobs {
    /// Makes what `source` yields the archive of `digest`, if it has that digest and `size_bytes`. Nothing is
    /// there before all of it is; what an attempt cut off has left is overwritten by the next.
    ///
    /// # Errors
    /// [`BlobError::Busy`] while another import of it runs; [`BlobError::Incomplete`],
    /// [`BlobError::BeyondSize`], [`BlobError::WrongDigest`] if it is not what it should be;
    /// [`BlobError::Full`]; [`BlobError::Io`], which a failing `source` is, too.
    pub(crate) async fn import(
        &self,
        digest: Digest,
        size_bytes: u64,
        mut source: impl AsyncRead + Unpin + Send,
    ) -> Result<(), BlobError> {
        let path = self.import_path(&digest);
        let io = |error| BlobError::io(&path, error);
        let file =
            std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(BlobError::Busy),
            Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
        }
        file.set_len(0).map_err(io)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut received = 0u64;
        loop {
            let read = source.read(&mut buffer).await.map_err(io)?;
            if read == 0 {
                break;
            }
            received += read as u64;
            if received > size_bytes {
                return Err(BlobError::BeyondSize { end: received, size: size_bytes });
            }
            file.write_all(&buffer[..read]).await.map_err(io)?;
        }
        file.sync_all().await.map_err(io)?;
        let (from, to) = (path.clone(), self.path(&digest));
        // The file stays locked until it has its name.
        let finished = blocking(move || finish(&from, &to, size_bytes, digest)).await;
        drop(file);
        finished
    }

    fn import_path(&self, digest: &Digest) -> PathBuf {
        self.directories.uploads.join(format!("import-{}", digest.hex()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_what_has_the_digest_is_taken_over_and_an_attempt_may_be_repeated() {
        let directory = tempfile::tempdir().expect("a directory");
        let blobs = Blobs::open(directory.path()).expect("opened");
        let digest = Digest::of(b"hello world");
        let of = async |bytes: &'static [u8]| blobs.import(digest, 11, bytes).await;
        assert!(matches!(of(b"hello").await, Err(BlobError::Incomplete { received: 5, size: 11 })));
        assert!(matches!(of(b"hello worlds").await, Err(BlobError::BeyondSize { .. })));
        assert!(matches!(of(b"hello_world").await, Err(BlobError::WrongDigest { .. })));
        assert_eq!(blobs.size(&digest).await.expect("readable"), None);
        of(b"hello world").await.expect("taken over");
        of(b"hello world").await.expect("taken over again");
        assert_eq!(blobs.size(&digest).await.expect("readable"), Some(11));
    }
}
