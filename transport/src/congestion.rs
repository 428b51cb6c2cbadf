//! Congestion control for game packets: a fixed window.
//!
//! A game sends at its tick rate whatever the network does; it cannot slow down, and a packet that
//! waits is worth nothing. Loss-based control does the opposite of what it needs: on a path with 1%
//! random loss and 38 ms, quinn's default let its window fall until 74% of datagrams were dropped at
//! the sender and the rest waited 3.9 s at the median. Here the window is a constant, so loss on the
//! path stays loss on the path. It still bounds what is in flight: a peer that stops acknowledging is
//! sent one window and no more, which is what keeps the sender from flooding a dead path.
//!
//! quinn spreads what a window allows over the round trip, and no connection can be told not to: after a burst, which at first
//! is some 50 KB, packets would wait for a timer, and those for which there is no room would be lost. It does not pace
//! windows beyond 4 GiB. So that is what the window is said to be as long as less than the true one is in flight.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory};

/// Bytes in flight a tunnel is provisioned for: 8 MiB carry 1.6 Gbit/s at 40 ms.
pub(crate) const GAME_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// The least window that quinn does not pace, in bytes.
const UNPACED: u64 = u32::MAX as u64 + 1;

/// A window that neither loss nor delay changes, and that is not paced.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindow {
    bytes: u64,
    // Never less than what is in flight in truth: what was sent since acknowledgements last came is all added.
    in_flight: u64,
}

impl FixedWindow {
    /// A window of `bytes` in flight.
    pub fn new(bytes: u64) -> Self {
        Self { bytes, in_flight: 0 }
    }
}

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, _now: Instant, _mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

impl Controller for FixedWindow {
    fn on_sent(&mut self, _now: Instant, bytes: u64, _last_packet_number: u64) {
        self.in_flight = self.in_flight.saturating_add(bytes);
    }

    fn on_end_acks(&mut self, _now: Instant, in_flight: u64, _app_limited: bool, _largest: Option<u64>) {
        self.in_flight = in_flight;
    }

    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _lost: u64) {}

    fn on_mtu_update(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        if self.in_flight < self.bytes { UNPACED.max(self.bytes) } else { self.bytes }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        self.bytes
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_paced_until_a_window_is_in_flight_and_then_it_is_full() {
        let mut window = FixedWindow::new(4096);
        let now = Instant::now();
        assert!(window.window() > u64::from(u32::MAX));
        window.on_sent(now, 4095, 1);
        assert!(window.window() > u64::from(u32::MAX));
        window.on_sent(now, 1, 2);
        assert_eq!(window.window(), 4096);
        window.on_end_acks(now, 100, false, Some(1));
        assert!(window.window() > u64::from(u32::MAX));
    }

    #[test]
    fn loss_does_not_shrink_it() {
        let mut window = FixedWindow::new(4096);
        let now = Instant::now();
        window.on_sent(now, 4096, 1);
        window.on_congestion_event(now, now, true, 4096);
        assert_eq!(window.window(), 4096);
        window.on_end_acks(now, 0, false, None);
        assert!(window.window() >= 4096);
    }
}
