//! Roles that a match's teams need, taken together: a group that the seats left cannot complete is given up early.
//!
//! Which team has which of them is not asked here.

use std::collections::BTreeMap;

use crate::near::Window;
use crate::pool::Pool;
use crate::queue::Queue;

/// At least so many players of a match have a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    attribute: usize,
    is: String,
    min: usize,
}

/// What all teams of a queue need together, by attribute.
pub(crate) fn needs_of(queue: &Queue) -> Vec<Need> {
    let mut all = BTreeMap::<(usize, &str), usize>::new();
    for role in queue.teams.iter().flat_map(|team| &team.roles) {
        *all.entry((role.attribute, &role.is)).or_default() += role.min;
    }
    all.into_iter().map(|((attribute, is), min)| Need { attribute, is: is.to_owned(), min }).collect()
}

/// The needs, and what each of a window has of them.
pub(crate) struct Needs<'a> {
    needs: &'a [Need],
    /// By place in the window, then by need.
    has: Vec<usize>,
}

impl<'a> Needs<'a> {
    pub(crate) fn new(pool: &'a Pool, window: &Window) -> Self {
        let needs = pool.needs.as_slice();
        let mut has = Vec::with_capacity(needs.len() * window.candidates.len());
        if !needs.is_empty() {
            for candidate in &window.candidates {
                let ticket = &pool.entry(candidate.slot).ticket;
                let count =
                    |need: &Need| ticket.texts(need.attribute).filter(|text| *text == need.is).count();
                has.extend(needs.iter().map(count));
            }
        }
        Self { needs, has }
    }

    pub(crate) fn none(&self) -> Vec<usize> {
        vec![0; self.needs.len()]
    }

    fn of(&self, place: usize) -> &[usize] {
        &self.has[place * self.needs.len()..][..self.needs.len()]
    }

    pub(crate) fn join(&self, roles: &mut [usize], place: usize) {
        roles.iter_mut().zip(self.of(place)).for_each(|(sum, has)| *sum += has);
    }

    pub(crate) fn leave(&self, roles: &mut [usize], place: usize) {
        roles.iter_mut().zip(self.of(place)).for_each(|(sum, has)| *sum -= has);
    }

    /// Whether `seats` can still bring what is missing once the one at `place` has joined. Roles of one attribute
    /// exclude each other, so that each missing one needs a seat of its own.
    pub(crate) fn fit(&self, roles: &[usize], place: usize, seats: usize) -> bool {
        let (mut attribute, mut missing) = (usize::MAX, 0);
        self.needs.iter().zip(roles).zip(self.of(place)).all(|((need, sum), has)| {
            if need.attribute != attribute {
                (attribute, missing) = (need.attribute, 0);
            }
            missing += need.min.saturating_sub(sum + has);
            missing <= seats
        })
    }

    pub(crate) fn are_met(&self, roles: &[usize]) -> bool {
        self.needs.iter().zip(roles).all(|(need, sum)| *sum >= need.min)
    }
}
