//! Congestion control for game packets: what the path is provisioned for, whatever is lost on it.
//!
//! A game sends at its tick rate whatever the network does; it cannot slow down, and a packet that
//! waits is worth nothing. Loss-based control does the opposite of what it needs: on a path with 1%
//! random loss and 38 ms, quinn's default let its window fall until 74% of datagrams were dropped at
//! the sender and the rest waited 3.9 s at the median. Here the window is what the provisioned rate brings under way in a
//! round trip, twice, so that it never throttles below that rate; loss on the path stays loss on the path. It still bounds what is
//! in flight: a peer that stops acknowledging is sent one window and no more, which is what keeps the sender from flooding
//! a dead path.
//!
//! quinn spreads what a window allows over the round trip, and no connection can be told not to: after a burst packets wait for a
//! timer, and those of a large turn that find no room meanwhile are lost. It does not pace windows beyond 4 GiB. So that is what
//! the window is said to be as long as less than the true one is in flight.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Game packets that a tunnel between an edge and an agent is provisioned for, each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelRate {
    bytes_per_s: u64,
}

/// How long an acknowledgement may be put off (QUIC's `max_ack_delay`), and what is under way for that time with it.
const ACK_DELAY: Duration = Duration::from_millis(25);
/// The round trip before there was one.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);
/// What waits to be sent waits for this long at most, unless the rate is so low that the least buffer takes longer.
const BUFFERED: Duration = Duration::from_millis(8);
/// Room for the largest packet there is, in parts, and for some more.
const LEAST_BUFFER: u64 = 128 * 1024;
/// Bytes in flight at least and at most, whatever the path.
const LEAST_WINDOW: u64 = 256 * 1024;
const MOST_WINDOW: u64 = 256 * 1024 * 1024;

impl TunnelRate {
    /// Megabits per second if nothing else is configured.
    pub const DEFAULT_MBIT: u32 = 500;

    /// A rate of `mbit` megabits per second.
    pub fn from_mbit(mbit: u32) -> Self {
        Self { bytes_per_s: u64::from(mbit) * 1_000_000 / 8 }
    }

    /// Bytes of datagrams that wait to be sent; the oldest goes when there are more.
    pub(crate) fn buffer_bytes(self) -> usize {
        let bytes = self.bytes_in(BUFFERED).clamp(LEAST_BUFFER, MOST_WINDOW);
        // As bounded above, it fits wherever there is memory for it.
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn window(self, rtt: Duration) -> u64 {
        (2 * self.bytes_in(rtt + ACK_DELAY)).clamp(LEAST_WINDOW, MOST_WINDOW)
    }

    fn bytes_in(self, time: Duration) -> u64 {
        let bytes = u128::from(self.bytes_per_s) * time.as_micros() / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX / 2)
    }
}

impl Default for TunnelRate {
    fn default() -> Self {
        Self::from_mbit(Self::DEFAULT_MBIT)
    }
}

/// The least window that quinn does not pace, in bytes.
const UNPACED: u64 = u32::MAX as u64 + 1;

/// Controls a connection that is provisioned for a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provisioned {
    rate: TunnelRate,
    window: u64,
    // Not less than what is in flight in truth: all is added that was sent since acknowledgements last came.
    in_flight: u64,
}

impl Provisioned {
    pub(crate) fn new(rate: TunnelRate) -> Self {
        Self { rate, window: rate.window(UNKNOWN_RTT), in_flight: 0 }
    }
}

impl ControllerFactory for Provisioned {
    fn build(self: Arc<Self>, _now: Instant, _mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

impl Controller for Provisioned {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last_packet_number: u64) {
        self.in_flight = self.in_flight.saturating_add(bytes);
    }

    fn on_end_acks(&mut self, _now: Instant, in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.in_flight = in_flight;
    }

    fn on_ack(&mut self, _now: Instant, _sent: Instant, _bytes: u64, _app_limited: bool, rtt: &RttEstimator) {
        self.window = self.rate.window(rtt.get());
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _lost: u64) {}

    fn on_mtu_update(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        if self.in_flight < self.window { UNPACED } else { self.window }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        self.rate.window(UNKNOWN_RTT)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_does_not_shrink_it() {
        let mut control = Provisioned::new(TunnelRate::default());
        let (now, before) = (Instant::now(), control.window);
        control.on_sent(now, before, 1);
        control.on_congestion_event(now, now, true, before);
        assert_eq!(control.window(), before);
    }

    #[test]
    fn it_is_not_paced_until_a_window_is_in_flight_and_then_it_is_full() {
        let mut control = Provisioned::new(TunnelRate::default());
        let (now, window) = (Instant::now(), control.window);
        assert!(control.window() > u64::from(u32::MAX));
        control.on_sent(now, window - 1, 1);
        assert!(control.window() > u64::from(u32::MAX));
        control.on_sent(now, 1, 2);
        assert_eq!(control.window(), window);
        control.on_end_acks(now, 100, false, Some(1));
        assert!(control.window() > u64::from(u32::MAX));
    }

    #[test]
    fn a_window_each_round_trip_is_never_less_than_the_rate() {
        for mbit in [1, 50, 500, 10_000] {
            let rate = TunnelRate::from_mbit(mbit);
            for ms in [0, 1, 20, 80] {
                let rtt = Duration::from_millis(ms);
                let needed = rate.bytes_in(rtt + ACK_DELAY);
                assert!(rate.window(rtt) >= needed.min(MOST_WINDOW), "{mbit} Mbit/s, {ms} ms");
            }
            assert!(rate.window(Duration::from_hours(1)) <= MOST_WINDOW, "it is bounded");
        }
    }

    #[test]
    fn what_waits_waits_for_eight_milliseconds() {
        assert_eq!(TunnelRate::from_mbit(500).buffer_bytes(), 500_000);
        assert_eq!(TunnelRate::from_mbit(0).buffer_bytes(), 128 * 1024);
    }
}
