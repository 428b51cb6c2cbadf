//! Framed prost messages over quinn streams.
//!
//! Reading is cancel-safe: a frame half read when a `select!` takes another branch is still there at
//! the next call. What lies behind the last frame read comes back from [`FrameReader::into_inner`].

use bytes::{Bytes, BytesMut};
use muster_protocol::framing::{self, FrameError};
use prost::Message;
use quinn::{RecvStream, SendStream};

/// Bytes taken off the stream at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameIoError {
    /// The bytes are no frame of the message expected.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The stream ended within a frame.
    #[error("stream ended within a frame")]
    Truncated,
    /// The stream or its connection failed while reading.
    #[error("reading failed: {0}")]
    Read(#[from] quinn::ReadError),
    /// The stream or its connection failed while writing.
    #[error("writing failed: {0}")]
    Write(#[from] quinn::WriteError),
}

/// Writes frames.
pub struct FrameWriter {
    stream: SendStream,
    buffer: BytesMut,
}

impl FrameWriter {
    /// A writer onto `stream`.
    pub fn new(stream: SendStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Writes one message. Not cancel-safe: a dropped send leaves the stream unusable.
    ///
    /// # Errors
    /// [`FrameIoError`] if it is too large or the stream has failed.
    pub async fn send<M: Message>(&mut self, message: &M) -> Result<(), FrameIoError> {
        self.buffer.clear();
        framing::encode(message, &mut self.buffer)?;
        Ok(self.stream.write_all(&self.buffer).await?)
    }

    /// Ends the stream; what was sent still arrives.
    pub fn finish(&mut self) {
        // An error says that it is ended already.
        let _ = self.stream.finish();
    }

    /// The stream, for raw bytes behind the frames.
    pub fn into_inner(self) -> SendStream {
        self.stream
    }
}

/// Reads frames.
pub struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
}

impl FrameReader {
    /// A reader of `stream`.
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// The next message; `None` when the stream has ended between frames. Cancel-safe.
    ///
    /// # Errors
    /// [`FrameIoError`] if the bytes are no such message or the stream has failed.
    pub async fn recv<M: Message + Default>(&mut self) -> Result<Option<M>, FrameIoError> {
        loop {
            if let Some(payload) = framing::take_frame(&mut self.buffer)? {
                return Ok(Some(framing::decode(payload)?));
            }
            match self.stream.read_chunk(READ_BYTES, true).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(FrameIoError::Truncated),
            }
        }
    }

    /// The stream, and the bytes already taken off it that lie behind the last frame.
    pub fn into_inner(self) -> (RecvStream, Bytes) {
        (self.stream, self.buffer.freeze())
    }
}
