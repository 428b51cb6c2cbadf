//! When the next packets are due. Pure: the time is an argument.

/// Packets sent at once when the sender was kept from its core; what is due beyond is never sent.
const MAX_BURST: u64 = 64;

/// Evenly spaced packets.
#[derive(Debug)]
pub(super) struct Pace {
    began_ns: u64,
    /// In whole numbers, so that no packet is due a rounding error later.
    per_1000_s: u128,
    /// Packets due so far, sent or skipped.
    due: u64,
    skipped: u64,
}

impl Pace {
    /// `per_s` packets a second from `began_ns` on.
    pub(super) fn new(began_ns: u64, per_s: f64) -> Self {
        Self { began_ns, per_1000_s: (per_s * 1_000.0).round() as u128, due: 0, skipped: 0 }
    }

    /// How many to send now.
    pub(super) fn take(&mut self, now_ns: u64) -> u64 {
        let passed_ns = u128::from(now_ns.saturating_sub(self.began_ns));
        let until_now = (passed_ns * self.per_1000_s / 1_000_000_000_000) as u64;
        let behind = until_now.saturating_sub(self.due);
        let send = behind.min(MAX_BURST);
        self.due += behind;
        self.skipped += behind - send;
        send
    }

    /// Packets that were due and not sent, because the sender was late: its fault, nobody's loss.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_due_and_no_more() {
        let mut pace = Pace::new(1_000, 1_000.0);
        assert_eq!(pace.take(1_000), 0);
        assert_eq!(pace.take(1_000 + 3_500_000), 3);
        assert_eq!(pace.take(1_000 + 3_500_000), 0);
        assert_eq!(pace.take(1_000 + 4_000_000), 1);
        assert_eq!(pace.skipped(), 0);
    }

    #[test]
    fn a_sender_that_stood_still_does_not_make_up_for_it() {
        let mut pace = Pace::new(0, 1_000.0);
        assert_eq!(pace.take(1_000_000_000), MAX_BURST);
        assert_eq!(pace.skipped(), 1_000 - MAX_BURST);
        assert_eq!(pace.take(1_001_000_000), 1);
    }
}
