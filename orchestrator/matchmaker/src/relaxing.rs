//! A limit that relaxes with the wait of a match's oldest ticket.

use muster_protocol::api::Step;

/// Most steps of one limit.
pub const MAX_STEPS: usize = 16;

/// A limit and its steps, the earliest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Relaxing {
    base: f64,
    /// From so many milliseconds of waiting on, this.
    steps: Vec<(u64, f64)>,
}

/// Which way a limit relaxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relaxes {
    Up,
    Down,
}

impl Relaxing {
    /// Whether a limit may begin at `base`.
    ///
    /// # Errors
    /// In words, why not.
    pub(crate) fn check_base(base: f64) -> Result<(), String> {
        if base.is_finite() && base >= 0.0 {
            return Ok(());
        }
        Err(format!("{base} is no limit; give a finite number of at least 0"))
    }

    /// A limit that begins at `base`.
    ///
    /// # Errors
    /// In words, which step does not relax, or is not later than the one before.
    pub(crate) fn new(base: f64, steps: &[Step], way: Relaxes) -> Result<Self, String> {
        Self::check_base(base)?;
        if steps.len() > MAX_STEPS {
            return Err(format!("at most {MAX_STEPS} steps"));
        }
        let mut limit = Self { base, steps: Vec::with_capacity(steps.len()) };
        let (mut last_s, mut last) = (0, base);
        for step in steps {
            if step.after_s <= last_s {
                return Err(format!("the step after {} s must come after {last_s} s", step.after_s));
            }
            let relaxes = match way {
                Relaxes::Up => step.to > last,
                Relaxes::Down => step.to < last && step.to >= 0.0,
            };
            if !relaxes || !step.to.is_finite() {
                return Err(format!(
                    "the step after {} s goes from {last} to {}, which does not relax it",
                    step.after_s, step.to
                ));
            }
            limit.steps.push((u64::from(step.after_s) * 1_000, step.to));
            (last_s, last) = (step.after_s, step.to);
        }
        Ok(limit)
    }

    /// The limit after a wait of so many milliseconds.
    pub fn at(&self, wait_ms: u64) -> f64 {
        self.steps.iter().rev().find(|(after, _)| *after <= wait_ms).map_or(self.base, |(_, to)| *to)
    }

    /// The limit that it relaxes to in the end.
    pub fn last(&self) -> f64 {
        self.steps.last().map_or(self.base, |(_, to)| *to)
    }

    /// The wait, in milliseconds, at which it relaxes next.
    pub fn next_after(&self, wait_ms: u64) -> Option<u64> {
        self.steps.iter().map(|(after, _)| *after).find(|after| *after > wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_relaxes_step_by_step_and_never_back() {
        let steps = [Step { after_s: 5, to: 200.0 }, Step { after_s: 20, to: 500.0 }];
        let limit = Relaxing::new(100.0, &steps, Relaxes::Up).expect("relaxes");
        for (wait_ms, expected, next) in [
            (0, 100.0, Some(5_000)),
            (4_999, 100.0, Some(5_000)),
            (5_000, 200.0, Some(20_000)),
            (60_000, 500.0, None),
        ] {
            assert_eq!((limit.at(wait_ms), limit.next_after(wait_ms)), (expected, next));
        }
        let back = [Step { after_s: 5, to: 50.0 }];
        assert!(Relaxing::new(100.0, &back, Relaxes::Up).expect_err("back").contains("does not relax"));
        assert!(Relaxing::new(3.0, &[Step { after_s: 5, to: 1.0 }], Relaxes::Down).is_ok());
        assert!(Relaxing::new(f64::NAN, &[], Relaxes::Up).is_err());
        let twice = [Step { after_s: 5, to: 200.0 }, Step { after_s: 5, to: 300.0 }];
        assert!(Relaxing::new(100.0, &twice, Relaxes::Up).expect_err("same time").contains("after 5 s"));
    }
}
