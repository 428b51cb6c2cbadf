//! How many prefaces are checked: a signature costs thousands of times what forging a packet does.
//!
//! Two bounds. A source (an IPv4 address or an IPv6 /64) that shows bad tokens is not listened to for
//! a while; good tokens cost it nothing, so a house of players behind one address is not hindered. And
//! the worker checks only so many signatures a second in all, so that a flood from forged sources takes
//! a share of its time and no more. Flows that stand are found before any of this. Pure: no clock.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Instant;

/// Bad prefaces a source may show at once.
const FAILURES_BURST: f32 = 32.0;
/// Bad prefaces a source may show per second in the long run.
const FAILURES_PER_S: f32 = 4.0;
/// Signatures checked per second by one worker, at most: about a fifth of a core.
const CHECKS_PER_S: f32 = 2_000.0;
/// Signatures checked at once after a quiet time.
const CHECKS_BURST: f32 = 2_000.0;
/// Sources told apart. Two that fall on one place share its allowance; the hash is keyed, so neither
/// can aim.
const SOURCE_PLACES: usize = 8_192;

/// Whether a preface is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admit {
    /// Check it.
    Check,
    /// Its source has shown too many bad ones.
    SourceLimited,
    /// No time now.
    CheckLimited,
}

/// The bounds of one worker.
pub(crate) struct Admission {
    hasher: RandomState,
    sources: Vec<Allowance>,
    checks: Allowance,
}

#[derive(Clone, Copy)]
struct Allowance {
    tokens: f32,
    at: Instant,
}

impl Allowance {
    fn refill(&mut self, now: Instant, per_s: f32, burst: f32) {
        let passed = now.saturating_duration_since(self.at).as_secs_f32();
        self.tokens = (self.tokens + passed * per_s).min(burst);
        self.at = now;
    }
}

impl Admission {
    /// Bounds that nobody has used yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            hasher: RandomState::new(),
            sources: vec![Allowance { tokens: FAILURES_BURST, at: now }; SOURCE_PLACES],
            checks: Allowance { tokens: CHECKS_BURST, at: now },
        }
    }

    /// Asks before a check, and takes it from the worker's allowance.
    pub(crate) fn admit(&mut self, now: Instant, source: IpAddr) -> Admit {
        let allowance = self.source(source);
        allowance.refill(now, FAILURES_PER_S, FAILURES_BURST);
        if allowance.tokens < 1.0 {
            return Admit::SourceLimited;
        }
        self.checks.refill(now, CHECKS_PER_S, CHECKS_BURST);
        if self.checks.tokens < 1.0 {
            return Admit::CheckLimited;
        }
        self.checks.tokens -= 1.0;
        Admit::Check
    }

    /// Notes that the preface of `source` was bad.
    pub(crate) fn failed(&mut self, source: IpAddr) {
        self.source(source).tokens -= 1.0;
    }

    fn source(&mut self, source: IpAddr) -> &mut Allowance {
        let place = self.hasher.hash_one(source_network(source)) as usize % SOURCE_PLACES;
        &mut self.sources[place]
    }
}

/// What counts as one source: an IPv4 address, or the /64 of an IPv6 address.
pub(crate) fn source_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn bad_prefaces_silence_their_source_for_a_while() {
        let now = Instant::now();
        let mut admission = Admission::new(now);
        let mut checked = 0;
        while admission.admit(now, ip(1)) == Admit::Check {
            admission.failed(ip(1));
            checked += 1;
        }
        assert_eq!(checked, 32);
        assert_eq!(admission.admit(now, ip(1)), Admit::SourceLimited);
        assert_eq!(admission.admit(now + Duration::from_secs(1), ip(1)), Admit::Check);
    }

    #[test]
    fn good_prefaces_cost_their_source_nothing() {
        let now = Instant::now();
        let mut admission = Admission::new(now);
        assert!((0..1_000).all(|_| admission.admit(now, ip(1)) == Admit::Check));
    }

    #[test]
    fn checks_are_bounded_in_all() {
        let now = Instant::now();
        let mut admission = Admission::new(now);
        let checked = (0..5_000u32)
            .filter(|i| admission.admit(now, IpAddr::from(i.to_be_bytes())) == Admit::Check)
            .count();
        assert_eq!(checked, 2_000);
        assert_eq!(admission.admit(now, ip(1)), Admit::CheckLimited);
    }

    #[test]
    fn a_source_is_a_v4_address_or_a_v6_network() {
        let network = |text: &str| source_network(text.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:10.0.0.1"), ip(1));
    }
}
