//! Running matches with free seats, for one ticket: which it could join by itself, and what keeps it from the others.

use crate::form::Offer;
use crate::opening::Opening;
use crate::pool::Pool;
use crate::rules::Refusal;
use crate::ticket::Ticket;

use super::{Excluded, Exclusion};

/// Most openings that one explanation looks at.
pub const MAX_OPENINGS_LOOKED_AT: usize = 256;

/// The openings there are for a ticket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OpeningsNow {
    /// Those in regions that are offered, as far as they were looked at: at most [`MAX_OPENINGS_LOOKED_AT`].
    pub looked_at: usize,
    /// How many of them each thing excludes, each counted once. `Sizes`: no team has room for the party, or the match may
    /// not go on with so many players; `Roles`: the seats left are for those of a role.
    pub excluded: Vec<Excluded>,
    /// Those that the ticket could join by itself now.
    pub joinable: usize,
}

impl Pool {
    /// The openings there are for a ticket.
    pub(super) fn openings_for(&self, ticket: &Ticket, now_ms: u64, offers: &[Offer]) -> OpeningsNow {
        let mut now = OpeningsNow::default();
        let is_offered = |opening: &&Opening| offers.iter().any(|offer| offer.region == opening.region);
        for opening in self.openings.all().filter(is_offered).take(MAX_OPENINGS_LOOKED_AT) {
            now.looked_at += 1;
            let Some(by) = self.keeps_from(ticket, opening, now_ms) else {
                now.joinable += 1;
                continue;
            };
            match now.excluded.iter_mut().find(|excluded| excluded.by == by) {
                Some(excluded) => excluded.tickets += 1,
                None => now.excluded.push(Excluded { by, tickets: 1 }),
            }
        }
        now
    }

    /// What keeps a ticket from joining an opening by itself: of the team where it comes furthest, the first thing.
    fn keeps_from(&self, ticket: &Ticket, opening: &Opening, now_ms: u64) -> Option<Exclusion> {
        let mut keeps = Exclusion::Sizes;
        for team in 0..self.queue.teams.len() {
            keeps = match self.queue.allows_joining(opening, &[ticket], &[team], now_ms) {
                Ok(()) => return None,
                Err(Refusal::Rule(rule)) => Exclusion::Rule(rule),
                Err(Refusal::Unwilling) => unwilling(ticket, opening),
                Err(Refusal::Roles) if keeps == Exclusion::Sizes => Exclusion::Roles,
                Err(Refusal::Roles | Refusal::Size) => keeps,
            };
        }
        Some(keeps)
    }
}

fn unwilling(ticket: &Ticket, opening: &Opening) -> Exclusion {
    let any = |is: &dyn Fn(&Ticket) -> bool| opening.playing.iter().any(|(playing, _)| is(playing));
    if any(&|playing| !ticket.filter_takes(playing)) {
        Exclusion::OwnFilter
    } else if any(&|playing| !playing.filter_takes(ticket)) {
        Exclusion::TheirFilter
    } else if any(&|playing| ticket.blocks_any_of(playing) || playing.blocks_any_of(ticket)) {
        Exclusion::Block
    } else {
        Exclusion::SamePlayer
    }
}
