//! Answers that are read as they come: logs, archives, backups.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::ClientError;

/// An answer's bytes as they come, in pieces of any length. An answer that breaks off ends with an error.
pub struct ByteStream(pub(crate) Pin<Box<dyn Stream<Item = Result<Bytes, ClientError>> + Send>>);

impl std::fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByteStream")
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(context)
    }
}
