//! Holding connections to the operator's limits: who may begin, how fast a client is read, and who is shown out.
//!
//! The limits are those of UDP, with what is read at once as a packet. But of a connection nothing can be left out: the
//! next piece is read when this one has passed, so whoever sends more than they may waits, by TCP's own window. What
//! comes meanwhile is read together then. Server to client is not limited, as with UDP.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use muster_protocol::flow::FlowId;
use muster_protocol::id::ServerId;
use tokio::time::sleep;

use crate::drops::DropReason;
use crate::limits::{CurrentLimits, Guard};

/// Shortest wait: many connections that wait for one limit are not all to wake for each piece of it.
const LEAST_WAIT: Duration = Duration::from_millis(10);
/// Longest wait before asking again: the limits may have been lifted.
const MOST_WAIT: Duration = Duration::from_millis(500);

/// What all connections together have used of the limits.
pub(crate) struct Throttle {
    limits: CurrentLimits,
    // Taken once per connection, and per piece where there are limits; never while waiting.
    guard: Mutex<Guard>,
}

/// One connection, as the limits see it.
pub(super) struct Throttled<'a> {
    all: &'a Throttle,
    source: IpAddr,
    flow: FlowId,
    server: ServerId,
}

impl Throttle {
    /// Holds to whatever `limits` are at the time.
    pub(crate) fn new(limits: CurrentLimits, now: Instant) -> Self {
        let guard = Mutex::new(Guard::new(limits.shared(), now));
        Self { limits, guard }
    }

    /// A connection has come from `source`.
    pub(super) fn newcomer(&self, now: Instant, source: IpAddr) -> Result<(), DropReason> {
        self.guard().newcomer(now, source)
    }

    /// That connection is `flow`'s, to `server`.
    pub(super) fn begin(
        &self,
        now: Instant,
        source: IpAddr,
        flow: FlowId,
        server: ServerId,
    ) -> Result<Throttled<'_>, DropReason> {
        self.guard().newcomer_is(now, flow, server)?;
        Ok(Throttled { all: self, source, flow, server })
    }

    fn guard(&self) -> MutexGuard<'_, Guard> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Throttled<'_> {
    /// Waits until `bytes` that were read at once may go on.
    pub(super) async fn pass(&self, bytes: usize) {
        while let Err(wait) = self.try_pass(Instant::now(), bytes) {
            sleep(wait.clamp(LEAST_WAIT, MOST_WAIT)).await;
        }
    }

    fn try_pass(&self, now: Instant, bytes: usize) -> Result<(), Duration> {
        if !self.all.limits.any() {
            return Ok(());
        }
        self.all.guard().piece(now, self.source, self.flow, self.server, bytes)
    }

    /// Returns as soon as the operator denies the connection's source.
    pub(super) async fn denied(&self) {
        self.all.limits.denied(self.source).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;
    use muster_protocol::edge::{EdgeLimits, Rates};

    const PIECE: usize = 16 * 1024;

    fn throttle(limits: &EdgeLimits) -> (Throttle, Instant) {
        let (current, now) = (CurrentLimits::default(), Instant::now());
        current.replace(Limits::from_wire(limits).unwrap());
        (Throttle::new(current, now), now)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    /// Bytes that connections which always have more to send bring through in `seconds`.
    fn passed(connections: &[Throttled<'_>], start: Instant, seconds: u64) -> u64 {
        let (mut now, mut bytes) = (start, 0);
        while now <= start + Duration::from_secs(seconds) {
            let each = connections.iter().map(|one| one.try_pass(now, PIECE));
            let waits: Vec<_> = each.filter_map(Result::err).collect();
            bytes += ((connections.len() - waits.len()) * PIECE) as u64;
            now += waits.into_iter().min().unwrap_or_default().clamp(LEAST_WAIT, MOST_WAIT);
        }
        bytes
    }

    #[test]
    fn connections_of_one_token_have_its_rate_together_and_no_less() {
        let rate = 500_000;
        let token = Some(Rates { bytes_per_s: rate, ..Default::default() });
        let (throttle, now) = throttle(&EdgeLimits { token, ..Default::default() });
        let server = ServerId::new();
        let begin = |flow| throttle.begin(now, ip(1), FlowId(flow), server).unwrap();
        let of_one: Vec<_> = (0..5).map(|_| begin(1)).collect();
        let bytes = passed(&of_one, now, 10);
        // What a quiet second has left goes at once.
        assert!((10 * rate..=11 * rate).contains(&bytes), "{bytes}");
        assert_eq!(begin(2).try_pass(now, PIECE), Ok(()), "another token has its own");
    }

    #[test]
    fn one_connection_of_many_takes_no_more_than_its_server_lets_through() {
        let server = Some(Rates { packets_per_s: 100, ..Default::default() });
        let (throttle, now) = throttle(&EdgeLimits { server, ..Default::default() });
        let server = ServerId::new();
        let each: Vec<_> =
            (1..=9).map(|n| throttle.begin(now, ip(n), FlowId(n.into()), server).unwrap()).collect();
        let pieces = passed(&each, now, 10) / PIECE as u64;
        assert!((1_000..=1_100).contains(&pieces), "{pieces}");
    }

    #[test]
    fn a_connection_begins_within_the_limits_of_its_source_its_token_and_its_server() {
        let one = Some(Rates { new_flows_per_s: 1, ..Default::default() });
        let limits = EdgeLimits { address: one, token: one, ..Default::default() };
        let (throttle, now) = throttle(&limits);
        assert_eq!(throttle.newcomer(now, ip(1)), Ok(()));
        assert_eq!(throttle.newcomer(now, ip(1)), Err(DropReason::AddressNewFlows));
        let begin = |flow, server| throttle.begin(now, ip(1), FlowId(flow), server).map(drop);
        assert_eq!(begin(1, ServerId::new()), Ok(()));
        assert_eq!(begin(1, ServerId::new()), Err(DropReason::TokenNewFlows));
        assert_eq!(begin(2, ServerId::new()), Ok(()));
    }

    #[test]
    fn where_nothing_is_limited_nothing_waits() {
        let (throttle, now) = throttle(&EdgeLimits::default());
        let connection = throttle.begin(now, ip(1), FlowId(1), ServerId::new()).unwrap();
        assert!((0..10_000).all(|_| connection.try_pass(now, PIECE).is_ok()));
    }
}
