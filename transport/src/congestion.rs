//! Congestion control for game packets: a fixed window.
//!
//! A game sends at its tick rate whatever the network does; it cannot slow down, and a packet that
//! waits is worth nothing. Loss-based control does the opposite of what it needs: on a path with 1%
//! random loss and 38 ms, quinn's default let its window fall until 74% of datagrams were dropped at
//! the sender and the rest waited 3.9 s at the median. Here the window is a constant, so loss on the
//! path stays loss on the path. It still bounds what is in flight: a peer that stops acknowledging is
//! sent one window and no more, which is what keeps the sender from flooding a dead path.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory};

/// Bytes in flight a tunnel is provisioned for: 8 MiB carry 1.6 Gbit/s at 40 ms.
pub(crate) const GAME_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// A window that neither loss nor delay changes.
#[derive(Clone, Copy, Debug)]
pub struct FixedWindow {
    bytes: u64,
}

impl FixedWindow {
    /// A window of `bytes` in flight.
    pub fn new(bytes: u64) -> Self {
        Self { bytes }
    }
}

impl ControllerFactory for FixedWindow {
    fn build(self: Arc<Self>, _now: Instant, _mtu: u16) -> Box<dyn Controller> {
        Box::new(*self)
    }
}

impl Controller for FixedWindow {
    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _lost: u64) {}

    fn on_mtu_update(&mut self, _mtu: u16) {}

    fn window(&self) -> u64 {
        self.bytes
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
    fn loss_does_not_shrink_it() {
        let mut window = FixedWindow::new(4096);
        let now = Instant::now();
        window.on_congestion_event(now, now, true, 4096);
        assert_eq!(window.window(), 4096);
    }
}
