//! Who plays with whom and where, pure.
//!
//! Tickets are taken oldest first. The oldest ticket that can be matched leads: of the groups it can be
//! in, one for each region that suits it, the one whose worst latency is least is made, and a region with
//! a warm server is taken before one without where they are equal. No ticket is in two groups, every
//! group has the queue's size, and a group's region is the best of those that all its members can play in.

use std::collections::BTreeMap;

use muster_protocol::id::TicketId;

/// Latency to a region that a ticket does not name, though it names others.
const FAR: u32 = u32::MAX;

/// A region that may host matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionOffer {
    /// Name.
    pub name: String,
    /// Warm servers there.
    pub warm: u32,
    /// Matches that can get a server there, warm or started for them.
    pub capacity: u32,
}

/// A searching ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Ticket.
    pub ticket: TicketId,
    /// Latency to each region of the offers, in their order; `None` where it cannot play.
    latencies: Vec<Option<u32>>,
}

impl Candidate {
    /// A ticket with these latencies by region name. One that names no latency can play anywhere, equally
    /// well; one that names some is far from the others, and with a cap (`max_latency_ms` over 0) does not
    /// play where it is over it.
    pub fn new(
        ticket: TicketId,
        latencies_ms: &BTreeMap<String, u32>,
        offers: &[RegionOffer],
        max_latency_ms: u32,
    ) -> Self {
        let latency = |offer: &RegionOffer| {
            let latency = if latencies_ms.is_empty() {
                0
            } else {
                latencies_ms.get(&offer.name).copied().unwrap_or(FAR)
            };
            (max_latency_ms == 0 || latency <= max_latency_ms).then_some(latency)
        };
        Self { ticket, latencies: offers.iter().map(latency).collect() }
    }

    /// Whether there is a region it can play in.
    pub fn can_play(&self) -> bool {
        self.latencies.iter().any(Option::is_some)
    }
}

/// A group that is to become a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Position of its region among the offers.
    pub region: usize,
    /// Positions of its members in the pool, oldest first.
    pub members: Vec<usize>,
}

/// Forms at most `limit` groups of `players` from `pool`, which is ordered oldest first.
pub fn form(players: usize, offers: &[RegionOffer], pool: &[Candidate], limit: usize) -> Vec<Group> {
    let mut table = Table::new(players, offers, pool);
    let mut groups = Vec::new();
    for leader in 0..pool.len() {
        if groups.len() == limit || table.is_exhausted() {
            break;
        }
        if let Some(group) = table.group_led_by(leader) {
            table.take(&group);
            groups.push(group);
        }
    }
    groups
}

/// The pool during forming.
struct Table<'a> {
    players: usize,
    pool: &'a [Candidate],
    taken: Vec<bool>,
    regions: Vec<RegionState>,
}

struct RegionState {
    warm: u32,
    capacity: u32,
    /// Positions of those who can play here, oldest first.
    able: Vec<usize>,
    /// Everything before this position of `able` is taken.
    head: usize,
}

impl<'a> Table<'a> {
    fn new(players: usize, offers: &[RegionOffer], pool: &'a [Candidate]) -> Self {
        let able = |region: usize| {
            (0..pool.len()).filter(|ticket| pool[*ticket].latencies[region].is_some()).collect()
        };
        let regions = offers
            .iter()
            .enumerate()
            .map(|(at, offer)| RegionState {
                warm: offer.warm,
                capacity: offer.capacity,
                able: able(at),
                head: 0,
            })
            .collect();
        Self { players: players.max(1), pool, taken: vec![false; pool.len()], regions }
    }

    fn is_exhausted(&self) -> bool {
        self.regions.iter().all(|region| region.capacity == 0)
    }

    /// The best group that contains `leader`, which is the oldest ticket not passed yet.
    fn group_led_by(&mut self, leader: usize) -> Option<Group> {
        if self.taken[leader] {
            return None;
        }
        let mut best: Option<((u32, bool, usize), Group)> = None;
        for region in 0..self.regions.len() {
            if let Some(members) = self.gather(region, leader) {
                let (rank, region) = self.best_region(&members)?;
                if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                    best = Some((rank, Group { region, members }));
                }
            }
        }
        best.map(|(_, group)| group)
    }

    /// The leader and the oldest others who can play in `region`, if they are enough.
    fn gather(&mut self, region: usize, leader: usize) -> Option<Vec<usize>> {
        self.pool[leader].latencies[region]?;
        let state = &mut self.regions[region];
        if state.capacity == 0 {
            return None;
        }
        while state.able.get(state.head).is_some_and(|ticket| self.taken[*ticket]) {
            state.head += 1;
        }
        let mut members = vec![leader];
        let others = state.able[state.head..].iter().copied();
        members
            .extend(others.filter(|ticket| *ticket != leader && !self.taken[*ticket]).take(self.players - 1));
        if members.len() < self.players {
            // Tickets only go: there will not be enough here again.
            state.capacity = 0;
            return None;
        }
        members.sort_unstable();
        Some(members)
    }

    /// The region that suits `members` best, and its rank: worst latency, then warmth, then order.
    fn best_region(&self, members: &[usize]) -> Option<((u32, bool, usize), usize)> {
        (0..self.regions.len())
            .filter(|region| self.regions[*region].capacity > 0)
            .filter_map(|region| {
                let latencies = members.iter().map(|ticket| self.pool[*ticket].latencies[region]);
                let worst = latencies.collect::<Option<Vec<u32>>>()?.into_iter().max()?;
                Some(((worst, self.regions[region].warm == 0, region), region))
            })
            .min()
    }

    fn take(&mut self, group: &Group) {
        for ticket in &group.members {
            self.taken[*ticket] = true;
        }
        let region = &mut self.regions[group.region];
        region.capacity -= 1;
        region.warm = region.warm.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offer(name: &str, warm: u32, capacity: u32) -> RegionOffer {
        RegionOffer { name: name.into(), warm, capacity }
    }

    fn pool(offers: &[RegionOffer], cap: u32, tickets: &[&[(&str, u32)]]) -> Vec<Candidate> {
        tickets
            .iter()
            .map(|latencies| {
                let latencies = latencies.iter().map(|(name, ms)| ((*name).to_owned(), *ms)).collect();
                Candidate::new(TicketId::new(), &latencies, offers, cap)
            })
            .collect()
    }

    fn formed(players: usize, offers: &[RegionOffer], pool: &[Candidate]) -> Vec<(usize, Vec<usize>)> {
        form(players, offers, pool, 1_000).into_iter().map(|group| (group.region, group.members)).collect()
    }

    #[test]
    fn the_oldest_come_first_and_the_rest_waits() {
        let offers = [offer("eu", 9, 9)];
        let pool = pool(&offers, 0, &[&[], &[], &[], &[], &[]]);
        assert_eq!(formed(2, &offers, &pool), [(0, vec![0, 1]), (0, vec![2, 3])]);
    }

    #[test]
    fn the_region_of_the_least_worst_latency_wins() {
        let offers = [offer("eu", 9, 9), offer("us", 9, 9)];
        let pool = pool(&offers, 0, &[&[("eu", 10), ("us", 90)], &[("eu", 120), ("us", 80)]]);
        assert_eq!(formed(2, &offers, &pool), [(1, vec![0, 1])]);
    }

    #[test]
    fn warm_decides_between_equals_and_cold_otherwise_does_not_matter() {
        let tickets: [&[(&str, u32)]; 2] = [&[], &[("eu", 20), ("us", 20)]];
        let offers = [offer("eu", 0, 9), offer("us", 1, 9)];
        assert_eq!(formed(2, &offers, &pool(&offers, 0, &tickets)), [(1, vec![0, 1])]);
        let nearer: [&[(&str, u32)]; 2] = [&[], &[("eu", 19), ("us", 20)]];
        assert_eq!(formed(2, &offers, &pool(&offers, 0, &nearer)), [(0, vec![0, 1])]);
    }

    #[test]
    fn a_cap_keeps_players_out_and_those_behind_them_play() {
        let offers = [offer("eu", 9, 9)];
        let pool = pool(&offers, 50, &[&[("eu", 51)], &[("us", 1)], &[("eu", 50)], &[("eu", 1)]]);
        assert!(!pool[0].can_play() && !pool[1].can_play() && pool[2].can_play());
        assert_eq!(formed(2, &offers, &pool), [(0, vec![2, 3])]);
    }

    #[test]
    fn a_region_without_capacity_hosts_nothing() {
        let offers = [offer("eu", 0, 1), offer("us", 0, 0)];
        let pool = pool(&offers, 0, &[&[], &[], &[], &[]]);
        assert_eq!(formed(2, &offers, &pool), [(0, vec![0, 1])]);
    }

    #[test]
    fn players_of_two_continents_do_not_wait_for_each_other() {
        let offers = [offer("eu", 9, 9), offer("us", 9, 9)];
        let (eu, us): (&[_], &[_]) = (&[("eu", 10), ("us", 150)], &[("eu", 150), ("us", 10)]);
        let pool = pool(&offers, 100, &[eu, us, us, eu]);
        assert_eq!(formed(2, &offers, &pool), [(0, vec![0, 3]), (1, vec![1, 2])]);
    }

    proptest! {
        #[test]
        fn groups_are_sound(
            players in 1usize..5,
            cap in prop_oneof![Just(0u32), 1u32..120],
            regions in proptest::collection::vec((0u32..3, 0u32..4), 1..4),
            tickets in proptest::collection::vec(
                proptest::option::of(proptest::collection::vec(proptest::option::of(0u32..150), 3)), 0..24),
        ) {
            let names = ["eu", "us", "ap"];
            let offers: Vec<RegionOffer> = regions
                .iter()
                .enumerate()
                .map(|(at, (warm, extra))| offer(names[at], *warm, warm + extra))
                .collect();
            let pool: Vec<Candidate> = tickets
                .iter()
                .map(|latencies| {
                    let known = latencies.iter().flatten().zip(names);
                    let known = known.filter_map(|(ms, name)| Some((name.to_owned(), (*ms)?))).collect();
                    Candidate::new(TicketId::new(), &known, &offers, cap)
                })
                .collect();
            let groups = form(players, &offers, &pool, 1_000);

            let mut seen = std::collections::BTreeSet::new();
            let mut left: Vec<u32> = offers.iter().map(|offer| offer.capacity).collect();
            for group in &groups {
                prop_assert_eq!(group.members.len(), players);
                for member in &group.members {
                    prop_assert!(seen.insert(*member), "ticket {} is in two matches", member);
                }
                // Brute force over the regions that had capacity when the group was made and were not
                // written off for want of players: none beats the one chosen.
                let worst = |region: usize| {
                    let each = group.members.iter().map(|ticket| pool[*ticket].latencies[region]);
                    each.collect::<Option<Vec<u32>>>().and_then(|all| all.into_iter().max())
                };
                let chosen = worst(group.region);
                prop_assert!(chosen.is_some(), "a member cannot play in the region");
                prop_assert!(left[group.region] > 0, "no capacity");
                for (region, left) in left.iter().enumerate() {
                    if *left > 0 && let Some(other) = worst(region) {
                        prop_assert!(chosen <= Some(other), "region {region} is better");
                    }
                }
                left[group.region] -= 1;
            }
            // Nobody is left who could still have been matched.
            for (region, left) in left.iter().enumerate() {
                let able = (0..pool.len())
                    .filter(|ticket| !seen.contains(ticket) && pool[*ticket].latencies[region].is_some());
                prop_assert!(*left == 0 || able.count() < players, "region {region} had enough players");
            }
        }
    }
}
