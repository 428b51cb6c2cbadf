//! The world: who is in it, where they stand, and what time it is. No sockets and no clock.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::wire::{Move, State};

/// Time between two ticks.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// A UDP player who is silent for this long has left: nothing else tells.
const SILENCE: Duration = Duration::from_secs(15);
/// Most players at a time.
const MAX_PLAYERS: usize = 2_048;

/// Who is at the other end, as the transport tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// Source of datagrams.
    Udp(SocketAddr),
    /// A TCP connection's other end.
    Tcp(SocketAddr),
    /// A WebSocket connection's other end.
    Ws(SocketAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "udp/{address}"),
            Self::Tcp(address) => write!(f, "tcp/{address}"),
            Self::Ws(address) => write!(f, "ws/{address}"),
        }
    }
}

struct Player {
    name: String,
    seat: Option<String>,
    packets: u64,
    position: [i32; 2],
    step: [i8; 2],
    heard: Instant,
}

/// A player who has just come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) player: String,
    pub(crate) seat: Option<String>,
}

impl Arrival {
    pub(crate) fn seat_text(&self) -> &str {
        self.seat.as_deref().unwrap_or("-")
    }
}

/// A player who has gone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) player: String,
    pub(crate) seat: Option<String>,
    pub(crate) packets: u64,
    pub(crate) why: &'static str,
}

/// What one move led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) state: State,
    pub(crate) arrival: Option<Arrival>,
}

/// Everyone, and the time.
#[derive(Default)]
pub(crate) struct World {
    tick: u64,
    players: HashMap<Peer, Player>,
}

impl World {
    /// Plays one move; `None` if the world is full and the peer is new.
    pub(crate) fn receive(&mut self, peer: Peer, message: Move, now: Instant) -> Option<Turn> {
        let mut arrival = None;
        if !self.players.contains_key(&peer) {
            if self.players.len() >= MAX_PLAYERS {
                return None;
            }
            arrival = Some(Arrival { player: message.player.clone(), seat: message.seat.clone() });
            let player = Player {
                name: message.player,
                seat: message.seat,
                packets: 0,
                position: [0; 2],
                step: [0; 2],
                heard: now,
            };
            self.players.insert(peer, player);
        }
        let player = self.players.get_mut(&peer)?;
        player.packets += 1;
        player.heard = now;
        player.step = message.step;
        let state = State {
            player: player.name.clone(),
            seq: message.seq,
            nonce: message.nonce,
            tick: self.tick,
            count: player.packets,
            peer: fingerprint(peer),
            position: player.position,
            pad: message.pad,
        };
        Some(Turn { state, arrival })
    }

    /// Lets one tick pass; those who fell silent leave.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Departure> {
        self.tick += 1;
        let mut departed = Vec::new();
        self.players.retain(|peer, player| {
            for (position, step) in player.position.iter_mut().zip(player.step) {
                *position = position.saturating_add(i32::from(step));
            }
            player.step = [0; 2];
            let silent = matches!(peer, Peer::Udp(_)) && now.duration_since(player.heard) >= SILENCE;
            if silent {
                departed.push(departure(player, "silent"));
            }
            !silent
        });
        departed.into_iter().map(|departed| self.unless_back(departed)).collect()
    }

    /// The peer's connection is over.
    pub(crate) fn leave(&mut self, peer: Peer) -> Option<Departure> {
        let player = self.players.remove(&peer)?;
        Some(self.unless_back(departure(&player, "closed")))
    }

    /// A player who came back by another connection before this one was found dead has not left their seat.
    fn unless_back(&self, departed: Departure) -> Departure {
        let is_back =
            departed.seat.is_some() && self.players.values().any(|other| other.seat == departed.seat);
        Departure { seat: departed.seat.filter(|_| !is_back), ..departed }
    }
}

fn departure(player: &Player, why: &'static str) -> Departure {
    Departure { player: player.name.clone(), seat: player.seat.clone(), packets: player.packets, why }
}

fn fingerprint(peer: Peer) -> String {
    let mut hasher = DefaultHasher::new();
    peer.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> Peer {
        Peer::Udp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn says(player: &str, seq: u32) -> Move {
        Move { player: player.to_owned(), seq, step: [1, -2], ..Move::default() }
    }

    #[test]
    fn a_peer_is_counted_and_keeps_the_name_it_came_with() {
        let (mut world, now) = (World::default(), Instant::now());
        let first = world.receive(peer(1), says("ann", 1), now).expect("room");
        assert_eq!(first.arrival, Some(Arrival { player: "ann".into(), seat: None }));
        // Were ben's packet to come out of ann's flow, ben could tell by the name.
        let mixed = world.receive(peer(1), says("ben", 2), now).expect("room");
        assert_eq!((mixed.state.player.as_str(), mixed.state.count, mixed.arrival), ("ann", 2, None));
        let other = world.receive(peer(2), says("ben", 1), now).expect("room");
        assert_eq!(other.state.count, 1);
        assert_ne!(other.state.peer, first.state.peer);
    }

    #[test]
    fn moves_are_taken_on_the_tick() {
        let (mut world, now) = (World::default(), Instant::now());
        world.receive(peer(1), says("ann", 1), now).expect("room");
        world.tick(now);
        world.tick(now);
        let turn = world.receive(peer(1), says("ann", 2), now).expect("room");
        assert_eq!((turn.state.position, turn.state.tick), ([1, -2], 2));
    }

    #[test]
    fn the_silent_leave_but_a_connection_may_be_quiet() {
        let (mut world, now) = (World::default(), Instant::now());
        let tcp = Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], 1)));
        world.receive(peer(1), says("ann", 1), now).expect("room");
        world.receive(tcp, says("ben", 1), now).expect("room");
        let departed = world.tick(now + SILENCE);
        assert_eq!(departed.iter().map(|d| d.player.as_str()).collect::<Vec<_>>(), ["ann"]);
        assert_eq!(world.leave(tcp).map(|d| d.player).as_deref(), Some("ben"));
        assert_eq!(world.leave(tcp), None);
    }

    #[test]
    fn who_is_back_by_another_connection_has_not_left_the_seat() {
        let (mut world, now) = (World::default(), Instant::now());
        let [old, new] = [1, 2].map(|port| Peer::Tcp(SocketAddr::from(([127, 0, 0, 1], port))));
        let seated = Move { seat: Some("seat_1".into()), ..says("ann", 1) };
        world.receive(old, seated.clone(), now).expect("room");
        world.receive(new, seated, now).expect("room");
        assert_eq!(world.leave(old).map(|departed| departed.seat), Some(None));
        assert_eq!(world.leave(new).map(|departed| departed.seat), Some(Some("seat_1".into())));
    }

    #[test]
    fn a_full_world_keeps_those_it_has() {
        let (mut world, now) = (World::default(), Instant::now());
        for port in 0..MAX_PLAYERS {
            world.receive(peer(port as u16), says("x", 1), now).expect("room");
        }
        assert_eq!(world.receive(peer(60_000), says("late", 1), now), None);
        assert!(world.receive(peer(0), says("x", 2), now).is_some());
    }
}
