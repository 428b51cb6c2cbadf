//! Claims: seats proven from another socket than the one that will play. Pure: no clock, no I/O.
//!
//! A claim lets the next socket of its address that sends to the port be the seat's, once, within
//! [`CLAIM_LIFETIME`]. An address has one claim per port at a time: were there two, players behind one address could
//! get each other's seat. Who comes second is told to try again, and can as soon as the first has been used.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use muster_protocol::id::SeatId;

use crate::drops::DropReason;
use crate::handover::HandedClaim;

/// How long a claim waits for its seat's first packet.
pub(super) const CLAIM_LIFETIME: Duration = Duration::from_secs(10);
/// Claims made within [`CLAIM_LIFETIME`], at most. Each has cost a good token.
const MAX_CLAIMS: usize = 16_384;

/// One seat's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The seat.
    pub(super) seat: SeatId,
    /// What its token is recognised by.
    pub(super) proof: u64,
}

type Key = (u16, IpAddr);

/// The claims of one worker, by port and address.
#[derive(Default)]
pub(super) struct Claims {
    waiting: HashMap<Key, (Claim, Instant)>,
    // All that were made, by age; those that were used are passed over.
    made: VecDeque<(Key, Instant)>,
}

impl Claims {
    /// Whether the claim that waits for `ip` on `port` was made by the token recognised by `proof`.
    pub(super) fn is_of(&mut self, now: Instant, port: u16, ip: IpAddr, proof: u64) -> bool {
        self.expire(now);
        self.waiting.get(&key(port, ip)).is_some_and(|(claim, _)| claim.proof == proof)
    }

    /// From now on `ip` may open the claim's seat on `port`. A newer token of the same seat takes the place of the
    /// older.
    ///
    /// # Errors
    /// Another seat's claim waits there, or there are too many.
    pub(super) fn put(
        &mut self,
        now: Instant,
        port: u16,
        ip: IpAddr,
        claim: Claim,
    ) -> Result<(), DropReason> {
        self.expire(now);
        let key = key(port, ip);
        if self.waiting.get(&key).is_some_and(|(other, _)| other.seat != claim.seat) {
            return Err(DropReason::ClaimPending);
        }
        if self.made.len() >= MAX_CLAIMS {
            return Err(DropReason::ClaimsFull);
        }
        self.waiting.insert(key, (claim, now));
        self.made.push_back((key, now));
        Ok(())
    }

    /// Uses the claim that waits for `ip` on `port`.
    pub(super) fn take(&mut self, now: Instant, port: u16, ip: IpAddr) -> Option<Claim> {
        self.expire(now);
        self.waiting.remove(&key(port, ip)).map(|(claim, _)| claim)
    }

    /// What waits, for the next edge.
    pub(super) fn handed(&mut self, now: Instant) -> Vec<HandedClaim> {
        self.expire(now);
        let waiting = self.waiting.iter();
        let handed = waiting.map(|((port, ip), (claim, made))| HandedClaim {
            port: *port,
            ip: *ip,
            seat: claim.seat,
            proof: claim.proof,
            age: now.saturating_duration_since(*made),
        });
        handed.collect()
    }

    /// Takes up what waited at the edge before.
    pub(super) fn take_up(&mut self, now: Instant, mut handed: Vec<HandedClaim>) {
        handed.sort_unstable_by_key(|claim| std::cmp::Reverse(claim.age));
        for claim in handed.into_iter().take(MAX_CLAIMS) {
            // A clock that has not run for as long makes it younger.
            let made = now.checked_sub(claim.age).unwrap_or(now);
            let key = key(claim.port, claim.ip);
            self.waiting.insert(key, (Claim { seat: claim.seat, proof: claim.proof }, made));
            self.made.push_back((key, made));
        }
    }

    /// Forgets the claims on `port`: what it will lead to is not what they were for.
    pub(super) fn close_port(&mut self, port: u16) {
        self.waiting.retain(|(of, _), _| *of != port);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((key, made)) =
            self.made.pop_front_if(|(_, made)| now.saturating_duration_since(*made) >= CLAIM_LIFETIME)
        {
            if self.waiting.get(&key).is_some_and(|(_, newest)| *newest == made) {
                self.waiting.remove(&key);
            }
        }
    }
}

fn key(port: u16, ip: IpAddr) -> Key {
    (port, ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 20_000;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn claim(proof: u64) -> Claim {
        Claim { seat: SeatId::new(), proof }
    }

    #[test]
    fn a_claim_is_used_once_by_its_address_on_its_port() {
        let (mut claims, now, mine) = (Claims::default(), Instant::now(), claim(1));
        assert_eq!(claims.put(now, PORT, ip(1), mine), Ok(()));
        assert_eq!(claims.take(now, PORT, ip(2)), None);
        assert_eq!(claims.take(now, PORT + 1, ip(1)), None);
        let mapped = "::ffff:0.0.0.1".parse().unwrap();
        assert_eq!(claims.take(now, PORT, mapped), Some(mine), "the same address in its other form");
        assert_eq!(claims.take(now, PORT, ip(1)), None);
    }

    #[test]
    fn two_seats_of_one_address_go_one_after_the_other() {
        let (mut claims, now) = (Claims::default(), Instant::now());
        let (first, second) = (claim(1), claim(2));
        assert_eq!(claims.put(now, PORT, ip(1), first), Ok(()));
        assert_eq!(claims.put(now, PORT, ip(1), second), Err(DropReason::ClaimPending));
        let renewed = Claim { proof: 3, ..first };
        assert_eq!(claims.put(now, PORT, ip(1), renewed), Ok(()), "a newer token of the same seat");
        assert_eq!(claims.take(now, PORT, ip(1)), Some(renewed));
        assert_eq!(claims.put(now, PORT, ip(1), second), Ok(()));
    }

    #[test]
    fn a_claim_lasts_ten_seconds_from_its_newest_token() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        let mine = claim(1);
        claims.put(start, PORT, ip(1), mine).unwrap();
        let half = start + CLAIM_LIFETIME / 2;
        assert!(claims.is_of(half, PORT, ip(1), 1));
        assert!(!claims.is_of(half, PORT, ip(1), 2));
        claims.put(half, PORT, ip(1), Claim { proof: 2, ..mine }).unwrap();
        assert!(
            claims.is_of(start + CLAIM_LIFETIME, PORT, ip(1), 2),
            "the older one's end is not the newer's"
        );
        assert_eq!(claims.take(half + CLAIM_LIFETIME, PORT, ip(1)), None);
        assert!(claims.made.is_empty());
    }

    #[test]
    fn the_next_edge_has_them_at_their_age() {
        let (mut claims, start) = (Claims::default(), Instant::now());
        let (first, second) = (claim(1), claim(2));
        claims.put(start, PORT, ip(1), first).unwrap();
        let half = start + CLAIM_LIFETIME / 2;
        claims.put(half, PORT, ip(2), second).unwrap();
        let mut next = Claims::default();
        next.take_up(half, claims.handed(half));
        assert!(next.is_of(half, PORT, ip(1), 1) && next.is_of(half, PORT, ip(2), 2));
        let end = start + CLAIM_LIFETIME;
        assert_eq!((next.take(end, PORT, ip(1)), next.take(end, PORT, ip(2))), (None, Some(second)));
    }

    #[test]
    fn they_are_bounded_and_a_closed_port_has_none() {
        let (mut claims, now) = (Claims::default(), Instant::now());
        let taken = (0..20_000).filter(|n| claims.put(now, PORT, ip(*n), claim(1)).is_ok()).count();
        assert_eq!(taken, MAX_CLAIMS);
        assert_eq!(claims.put(now, PORT, ip(30_000), claim(1)), Err(DropReason::ClaimsFull));
        claims.close_port(PORT);
        assert_eq!(claims.take(now, PORT, ip(1)), None);
        assert_eq!(claims.put(now + CLAIM_LIFETIME, PORT, ip(1), claim(1)), Ok(()));
    }
}
