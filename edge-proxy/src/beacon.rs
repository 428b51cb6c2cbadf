//! The latency beacon: answers each request with as many bytes as it had, and nothing else at all.
//!
//! A client asks a few times a second; who asks more often, or in another's name, is not answered.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use muster_protocol::beacon::{MAX_BYTES, answer_in_place};
use muster_transport::{Batch, Packet, UdpSocket};
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

use crate::drops::DropReason;
use crate::limits::{Guard, Limits};
use crate::metrics::Metrics;
use crate::udp::{players_socket, source_network};

/// How soon it is tried again to receive after that has failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Requests per second of a source that are answered: a household measures every region at once.
const REQUESTS_PER_S: u32 = 100;
/// How often it is looked what found no room in the socket's buffer.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A bound beacon.
pub(crate) struct Beacon {
    socket: UdpSocket<tokio::net::UdpSocket>,
    // The beacon's own limit, and those of the operator.
    guards: [Guard; 2],
    metrics: Metrics,
}

impl Beacon {
    /// A beacon on `socket`.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub(crate) fn new(
        socket: std::net::UdpSocket,
        limits: Arc<ArcSwap<Limits>>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let own = Arc::new(ArcSwap::from_pointee(Limits::of_address(REQUESTS_PER_S)));
        let guards = [own, limits].map(|limits| Guard::new(limits, Instant::now()));
        let socket = players_socket(tokio::net::UdpSocket::from_std(socket)?)?;
        Ok(Self { socket, guards, metrics })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until it is dropped.
    pub(crate) async fn run(mut self) {
        let mut batch = Batch::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let readable = tokio::select! {
                readable = self.socket.io.readable() => readable,
                _ = look.tick() => {
                    self.metrics.drop_many(DropReason::PortFull, self.socket.take_overflow());
                    continue;
                }
            };
            if let Err(error) = readable {
                error!(%error, "the beacon's socket is lost");
                return;
            }
            match self.socket.receive(&mut batch) {
                Ok(_) => self.answer(&batch),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    warn!(%error, "the beacon's receiving failed");
                    // One that stays is to cost no more than that.
                    tokio::time::sleep(AFTER_ERROR).await;
                }
            }
        }
    }

    fn answer(&mut self, batch: &Batch) {
        let now = Instant::now();
        for packet in batch.packets() {
            if let Err(reason) = self.admit(now, &packet) {
                self.metrics.drop(reason);
                continue;
            }
            match self.answer_one(&packet) {
                Ok(()) => self.metrics.beacons.increment(1),
                Err(reason) => self.metrics.drop(reason),
            }
        }
    }

    fn answer_one(&self, request: &Packet<'_>) -> Result<(), DropReason> {
        let mut bytes = [0; MAX_BYTES];
        let answer = bytes.get_mut(..request.payload.len()).ok_or(DropReason::BeaconMalformed)?;
        answer.copy_from_slice(request.payload);
        if !answer_in_place(answer) {
            return Err(DropReason::BeaconMalformed);
        }
        // A lost answer is as good as one lost on the way: clients ask several times.
        self.socket.send(request.client, request.local_ip, answer).map_err(|_| DropReason::AnswerUnsent)
    }

    fn admit(&mut self, now: Instant, packet: &Packet<'_>) -> Result<(), DropReason> {
        let [own, operators] = &mut self.guards;
        let (source, bytes) = (packet.client.ip(), packet.payload.len());
        operators.packet(now, source, bytes)?;
        own.packet(now, source_network(source), bytes).map_err(|_| DropReason::BeaconLimited)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[tokio::test]
    async fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut beacon = Beacon::new(socket, Arc::default(), Metrics::new()).unwrap();
        let now = Instant::now();
        let mut admitted = |of: &dyn Fn(u8) -> IpAddr| {
            let admitted = (0..=u8::MAX).filter(|number| {
                let client = SocketAddr::new(of(*number), 9_000);
                beacon.admit(now, &Packet { client, local_ip: None, payload: b"MSTB" }).is_ok()
            });
            admitted.count()
        };
        assert_eq!(admitted(&|last| IpAddr::from([10, 0, 0, last])), 256);
        assert_eq!(admitted(&|_| IpAddr::from([10, 0, 1, 1])), REQUESTS_PER_S as usize);
        let in_one = |last| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)]);
        assert_eq!(admitted(&in_one), REQUESTS_PER_S as usize, "a /64 has addresses without end");
        assert_eq!(admitted(&|last| IpAddr::from([0x2001, 0xdb8, 0, 1 + u16::from(last), 0, 0, 0, 1])), 256);
    }
}
