//! Connections beside a loop's own, on the same socket: quinn's, driven by the runtime.
//!
//! The loop receives, since a socket's packets go to one reader, and hands over what is not of its own connections; what
//! these send leaves by the socket itself. Room to send is not waited for, since Linux tells of it after each packet
//! that has left, the loop's too: what finds none is tried again a moment later.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use quinn::udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, ServerConfig, TokioRuntime, UdpPoller};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep};

use crate::udp::Glued;

/// Handed over and not yet taken, in reads of the socket of up to 64 KiB each. What finds no room is dropped, as by a full
/// socket.
const MOST_WAITING: usize = 256;
/// How soon it is tried again to send what the system did not take.
const RETRY: Duration = Duration::from_millis(1);
/// QUIC packets that one read may have glued together: of the largest that we take, a little more than 64 KiB.
const MOST_SEGMENTS: usize = 11;

/// What becomes an endpoint for the other connections.
pub struct Beside {
    socket: Socket,
    config: EndpointConfig,
}

/// The loop's end.
pub(crate) struct Hand(mpsc::Sender<Handed>);

/// As it came off the socket.
struct Handed {
    from: SocketAddr,
    local_ip: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    stride: usize,
    bytes: Bytes,
}

struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    inbox: Mutex<mpsc::Receiver<Handed>>,
    // The system took no more when it was last tried.
    is_full: Arc<AtomicBool>,
}

impl Beside {
    pub(crate) fn new(io: UdpSocket, config: EndpointConfig) -> io::Result<(Self, Hand)> {
        let state = UdpSocketState::new((&io).into())?;
        let (sender, inbox) = mpsc::channel(MOST_WAITING);
        let socket = Socket { io, state, inbox: Mutex::new(inbox), is_full: Arc::default() };
        Ok((Self { socket, config }, Hand(sender)))
    }

    /// Takes in, as `server` says, who does not announce datagrams. Must be called within a tokio runtime. The endpoint
    /// hears nothing any more when the loop's end is dropped.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub fn endpoint(self, server: ServerConfig) -> io::Result<Endpoint> {
        let Self { socket, config } = self;
        Endpoint::new_with_abstract_socket(config, Some(server), Arc::new(socket), Arc::new(TokioRuntime))
    }
}

impl Hand {
    /// Hands packets over; says whether there was room, and somebody who takes them. If not, they are lost.
    pub(crate) fn over(&self, glued: &Glued<'_>) -> bool {
        let Ok(room) = self.0.try_reserve() else { return false };
        room.send(Handed {
            from: glued.from,
            local_ip: glued.local_ip,
            ecn: glued.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            stride: glued.stride,
            bytes: Bytes::copy_from_slice(glued.bytes),
        });
        true
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("io", &self.io).finish_non_exhaustive()
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Retry { is_full: Arc::clone(&self.is_full), waits: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // Whatever else the system says is as if the packet had been lost on the way, such as of a probe that is larger than the
        // path. It is not said here: quinn would give its connection up.
        let sent = self.state.send((&self.io).into(), transmit);
        if sent.is_err() {
            self.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        rooms: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        // A panic within leaves the channel as it was.
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = 0;
        for (room, meta) in rooms.iter_mut().zip(metas) {
            let handed = match inbox.poll_recv(context) {
                Poll::Ready(Some(handed)) => handed,
                Poll::Ready(None) if filled == 0 => {
                    return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                }
                Poll::Pending if filled == 0 => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            };
            // What has no room is cut, as the system would.
            let len = handed.bytes.len().min(room.len());
            room[..len].copy_from_slice(&handed.bytes[..len]);
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (handed.from, len, handed.stride);
            (meta.ecn, meta.dst_ip) = (handed.ecn, handed.local_ip);
            filled += 1;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        MOST_SEGMENTS
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Room to send, as far as one connection knows.
#[derive(Debug)]
struct Retry {
    is_full: Arc<AtomicBool>,
    waits: Option<Pin<Box<Sleep>>>,
}

impl UdpPoller for Retry {
    fn poll_writable(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whoever looks first waits. Another that was refused is so again, and looks again.
        if self.waits.is_none() && self.is_full.swap(false, Ordering::Relaxed) {
            self.waits = Some(Box::pin(sleep(RETRY)));
        }
        if let Some(waits) = &mut self.waits {
            ready!(waits.as_mut().poll(context));
            self.waits = None;
        }
        Poll::Ready(Ok(()))
    }
}
