//! Frames and descriptors over a Unix socket. A descriptor goes with the first byte of the frame that names it, so
//! that the n-th descriptor is the n-th such frame's.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::{Buf, BytesMut};
use muster_protocol::framing::{decode, encode, take_frame};
use prost::Message;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Descriptors that come with one read, at most: each frame that has one is a write of its own.
const DESCRIPTORS: usize = 64;

/// One end.
pub(super) struct Channel {
    stream: UnixStream,
    read: BytesMut,
    descriptors: VecDeque<OwnedFd>,
}

impl Channel {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, read: BytesMut::new(), descriptors: VecDeque::new() }
    }

    /// Sends one message, and a descriptor with it.
    pub(super) async fn send(
        &self,
        message: &impl Message,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let mut bytes = BytesMut::new();
        encode(message, &mut bytes).map_err(io::Error::other)?;
        let mut descriptor = descriptor;
        while !bytes.is_empty() {
            let sent =
                self.stream.async_io(Interest::WRITABLE, || self.send_part(&bytes, descriptor)).await?;
            // It went with the first byte.
            descriptor = None;
            bytes.advance(sent);
        }
        Ok(())
    }

    fn send_part(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.into_iter().collect();
        if !descriptors.is_empty() {
            let fits = ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            debug_assert!(fits, "there is room for one");
        }
        Ok(sendmsg(self.stream.as_fd(), &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
    }

    /// The next message; `None` at the end.
    pub(super) async fn receive<M: Message + Default>(&mut self) -> io::Result<Option<M>> {
        loop {
            if let Some(payload) = take_frame(&mut self.read).map_err(io::Error::other)? {
                return decode(payload).map(Some).map_err(io::Error::other);
            }
            if self.fill().await? == 0 {
                let whole = self.read.is_empty();
                return if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The descriptor of the message received last, which names one.
    pub(super) fn descriptor(&mut self) -> io::Result<OwnedFd> {
        self.descriptors.pop_front().ok_or_else(|| io::Error::other("a socket came without its descriptor"))
    }

    async fn fill(&mut self) -> io::Result<usize> {
        let (read, descriptors) = (&mut self.read, &mut self.descriptors);
        let stream = &self.stream;
        stream
            .async_io(Interest::READABLE, || {
                let mut bytes = [0; READ_BYTES];
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let into = &mut [IoSliceMut::new(&mut bytes)];
                let received = recvmsg(stream.as_fd(), into, &mut ancillary, flags())?;
                for message in ancillary.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                read.extend_from_slice(&bytes[..received.bytes]);
                Ok(received.bytes)
            })
            .await
    }
}

/// Descriptors are not for programs that this one starts.
fn flags() -> RecvFlags {
    #[cfg(target_os = "linux")]
    return RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    RecvFlags::empty()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use muster_protocol::handover::{Claim, FromBefore, Socket, SocketUse, from_before::Body};

    use super::*;

    fn said(body: Body) -> FromBefore {
        FromBefore { body: Some(body) }
    }

    #[tokio::test]
    async fn each_socket_comes_with_its_own_frame() {
        let (a, b) = UnixStream::pair().unwrap();
        let (before, mut next) = (Channel::new(a), Channel::new(b));
        let sockets: Vec<_> = (0..200).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        let sending = async {
            for (socket, port) in sockets.iter().zip(&ports) {
                let what = Socket { r#use: SocketUse::Udp.into(), port: u32::from(*port) };
                before.send(&said(Body::Socket(what)), Some(socket.as_fd())).await.unwrap();
                let claim = Claim { address: "x".repeat(300), ..Claim::default() };
                before.send(&said(Body::Claim(claim)), None).await.unwrap();
            }
            drop(before);
        };
        let receiving = async {
            let mut seen = Vec::new();
            while let Some(heard) = next.receive::<FromBefore>().await.unwrap() {
                if let Some(Body::Socket(socket)) = heard.body {
                    let handed = UdpSocket::from(next.descriptor().unwrap());
                    let port = handed.local_addr().unwrap().port();
                    assert_eq!(u32::from(port), socket.port);
                    seen.push(port);
                }
            }
            seen
        };
        let ((), seen) = tokio::join!(sending, receiving);
        assert_eq!(seen, ports);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_an_error() {
        for bytes in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x03ab", b"\0\0\0\x02\xff\xff"] {
            let (a, b) = UnixStream::pair().unwrap();
            let mut next = Channel::new(b);
            tokio::io::AsyncWriteExt::write_all(&mut { a }, bytes).await.unwrap();
            assert!(next.receive::<FromBefore>().await.is_err(), "{bytes:?}");
        }
    }
}
