//! The latency beacon: answers each request with as many bytes as it had, and nothing else at all.

use std::io;
use std::net::SocketAddr;

use muster_protocol::beacon::{MAX_BYTES, answer_in_place};
use tracing::{error, warn};

use crate::metrics::Metrics;
use crate::udp::{Batch, UdpSocket};

/// A bound beacon.
pub(crate) struct Beacon {
    socket: UdpSocket,
    metrics: Metrics,
}

impl Beacon {
    /// A beacon on `socket`.
    ///
    /// # Errors
    /// What the system says of the socket.
    pub(crate) fn new(socket: std::net::UdpSocket, metrics: Metrics) -> io::Result<Self> {
        Ok(Self { socket: UdpSocket::new(socket)?, metrics })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until it is dropped.
    pub(crate) async fn run(self) {
        let mut batch = Batch::new();
        loop {
            if let Err(error) = self.socket.readable().await {
                error!(%error, "the beacon's socket is lost");
                return;
            }
            match self.socket.receive(&mut batch) {
                Ok(_) => self.answer(&batch),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => warn!(%error, "the beacon's receiving failed"),
            }
        }
    }

    fn answer(&self, batch: &Batch) {
        for packet in batch.packets() {
            let mut bytes = [0; MAX_BYTES];
            let Some(answer) = bytes.get_mut(..packet.payload.len()) else { continue };
            answer.copy_from_slice(packet.payload);
            // A lost answer is as good as one lost on the way: clients ask several times.
            if answer_in_place(answer) && self.socket.send(packet.client, packet.local_ip, answer).is_ok() {
                self.metrics.beacons.increment(1);
            }
        }
    }
}
