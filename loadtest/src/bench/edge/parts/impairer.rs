//! A bad path: packets are late by a constant, and some are lost. For machines without netem.
//!
//! A relay: whoever sends to its address is passed on from a socket of their own, so that answers find back.
//! Each packet of either direction is lost by its own chance, or leaves when its delay is over; order is kept.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::ensure;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::udp::Udp;

/// Peers told apart, at most.
const MAX_PEERS: usize = 1_024;
/// Packets under way, at most; a packet more is lost, as in a router's queue.
const MAX_UNDER_WAY: usize = 65_536;
/// Seed of the losses: two paths of one run lose alike as long as the same packets pass.
const SEED: u64 = 20;

/// One packet under way.
struct UnderWay {
    due: Instant,
    /// Number of the peer it is from or for.
    peer: usize,
    inwards: bool,
    bytes: Vec<u8>,
}

/// The path itself. Pure: the time is an argument.
struct Path {
    loss: f64,
    delay: Duration,
    chance: StdRng,
    under_way: VecDeque<UnderWay>,
}

impl Path {
    fn new(loss_pct: f64, delay_ms: u64) -> Self {
        Self {
            loss: loss_pct / 100.0,
            delay: Duration::from_millis(delay_ms),
            chance: StdRng::seed_from_u64(SEED),
            under_way: VecDeque::new(),
        }
    }

    fn enter(&mut self, now: Instant, peer: usize, inwards: bool, bytes: &[u8]) {
        if self.under_way.len() < MAX_UNDER_WAY && !self.chance.random_bool(self.loss) {
            let due = now + self.delay;
            self.under_way.push_back(UnderWay { due, peer, inwards, bytes: bytes.to_vec() });
        }
    }

    fn leave(&mut self, now: Instant) -> Option<UnderWay> {
        self.under_way.pop_front_if(|first| first.due <= now)
    }

    fn next_due(&self) -> Option<Instant> {
        self.under_way.front().map(|first| first.due)
    }
}

struct Peer {
    address: SocketAddrV4,
    onwards: Udp,
}

/// Is the path from `listen` to `to` until it is killed.
pub(super) fn run(
    listen: SocketAddrV4,
    to: SocketAddrV4,
    loss_pct: f64,
    delay_ms: u64,
) -> anyhow::Result<()> {
    ensure!((0.0..=100.0).contains(&loss_pct), "a loss of {loss_pct} % there is not");
    let mut path = Path::new(loss_pct, delay_ms);
    let mut front = Udp::bind(listen)?;
    let back = front.socket().try_clone()?;
    let mut peers: Vec<Peer> = Vec::new();
    let mut numbers: HashMap<SocketAddrV4, usize> = HashMap::new();
    loop {
        wait(&back, &peers, path.next_due())?;
        let now = Instant::now();
        let mut failed = None;
        front.drain(|packet| {
            let known = numbers.get(&packet.from).copied();
            let peer =
                known.map_or_else(|| add(&mut peers, &mut numbers, packet.from), |known| Ok(Some(known)));
            match peer {
                Ok(Some(peer)) => path.enter(now, peer, true, packet.payload),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.onwards.drain(|packet| path.enter(now, number, false, packet.payload))?;
        }
        while let Some(packet) = path.leave(Instant::now()) {
            let peer = &peers[packet.peer];
            // What the system does not take is lost too.
            let _ = if packet.inwards {
                peer.onwards.socket().send_to(&packet.bytes, to)
            } else {
                back.send_to(&packet.bytes, peer.address)
            };
        }
    }
}

/// A peer more, and its number; `None` if there are too many.
fn add(
    peers: &mut Vec<Peer>,
    numbers: &mut HashMap<SocketAddrV4, usize>,
    address: SocketAddrV4,
) -> anyhow::Result<Option<usize>> {
    if peers.len() >= MAX_PEERS {
        return Ok(None);
    }
    let onwards = Udp::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?;
    numbers.insert(address, peers.len());
    peers.push(Peer { address, onwards });
    Ok(Some(peers.len() - 1))
}

/// Until a packet is there, or one is due.
fn wait(front: &UdpSocket, peers: &[Peer], due: Option<Instant>) -> anyhow::Result<()> {
    let sockets = std::iter::once(front).chain(peers.iter().map(|peer| peer.onwards.socket()));
    let mut sockets: Vec<_> = sockets.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    let timeout = due.map(|due| TimeSpec::from(due.saturating_duration_since(Instant::now())));
    match ppoll(&mut sockets, timeout, None) {
        Ok(_) | Err(nix::Error::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_leave_in_order_when_their_delay_is_over() {
        let (mut path, start) = (Path::new(0.0, 20), Instant::now());
        path.enter(start, 1, true, b"a");
        path.enter(start + Duration::from_millis(5), 2, false, b"b");
        assert!(path.leave(start + Duration::from_millis(19)).is_none());
        assert_eq!(path.leave(start + Duration::from_millis(20)).map(|packet| packet.peer), Some(1));
        assert!(path.leave(start + Duration::from_millis(20)).is_none());
        assert_eq!(
            path.leave(start + Duration::from_millis(25)).map(|packet| packet.bytes),
            Some(b"b".to_vec())
        );
        assert_eq!(path.next_due(), None);
    }

    #[test]
    fn as_many_are_lost_as_asked() {
        let (mut path, start) = (Path::new(1.0, 0), Instant::now());
        let lost = (0..50_000).filter(|_| {
            path.enter(start, 0, true, b"");
            path.leave(start).is_none()
        });
        let lost = lost.count();
        assert!((400..600).contains(&lost), "{lost} of 50,000");
    }
}
