//! Who of a window plays with whom: filters, block lists and tags, each pair asked once.

use crate::near::Window;
use crate::pool::Pool;

/// Largest window for which answers are kept: as many bits as a word has.
const MAX_KEPT: usize = u128::BITS as usize;

/// The answers.
pub(crate) struct Willing<'a> {
    pool: &'a Pool,
    window: &'a Window,
    /// Whether everybody is, which needs no asking.
    is_everybody: bool,
    /// By place, a bit for each other that was asked about, and for each that is willing.
    asked: Vec<u128>,
    answers: Vec<u128>,
}

impl<'a> Willing<'a> {
    pub(crate) fn new(pool: &'a Pool, window: &'a Window) -> Self {
        let is_picky = window.candidates.iter().any(|candidate| candidate.hot.is_picky);
        let is_everybody = !is_picky && !pool.queue.compares_tags();
        let count = window.candidates.len();
        let kept = if is_everybody || count > MAX_KEPT { 0 } else { count };
        Self { pool, window, is_everybody, asked: vec![0; kept], answers: vec![0; kept] }
    }

    pub(crate) fn is_everybody(&self) -> bool {
        self.is_everybody
    }

    /// Whether those at two places of the window could be in one match.
    pub(crate) fn pair(&mut self, one: usize, other: usize) -> bool {
        if self.asked.is_empty() {
            return self.ask(one, other);
        }
        if self.asked[one] >> other & 1 == 0 {
            let answer = u128::from(self.ask(one, other));
            for (place, of) in [(one, other), (other, one)] {
                self.asked[place] |= 1 << of;
                self.answers[place] |= answer << of;
            }
        }
        self.answers[one] >> other & 1 == 1
    }

    fn ask(&self, one: usize, other: usize) -> bool {
        let of = |place: usize| {
            let candidate = &self.window.candidates[place];
            (candidate.slot, &candidate.hot)
        };
        self.pool.may_meet(of(one), of(other))
    }
}
