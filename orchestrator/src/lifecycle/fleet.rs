//! A fleet in one region against what is wanted there, pure: counts in, actions out.
//!
//! Wanted are the warm servers and one for every match that waits. Servers of an older pod are replaced
//! one at a time if they are ready, at once if they are not, and never once a match has them.

use muster_protocol::id::ServerId;

use crate::records::{RegionTarget, ServerState};

/// Most servers created in one region by one pass; the rest follows in the next.
pub const MAX_CREATE_PER_PASS: u32 = 50;

/// A live server as a plan sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Server.
    pub id: ServerId,
    /// State; not final.
    pub state: ServerState,
    /// Whether it is of the fleet's present pod.
    pub current: bool,
}

/// How things stand in one region.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// What is wanted; `None` if the fleet is not in the region, or no longer.
    pub target: Option<RegionTarget>,
    /// The fleet is being deleted.
    pub deleting: bool,
    /// Live servers.
    pub members: Vec<Member>,
    /// Matches that wait for a server.
    pub waiting: u32,
    /// Nothing is to be started before this, because what was started failed.
    pub retry_at_ms: u64,
    /// What was started failed, and nothing has shown that the next will do better: one at a time.
    pub failing: bool,
}

/// What is to be done in one region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Servers to create.
    pub create: u32,
    /// More are wanted than this pass creates.
    pub more: bool,
    /// Unclaimed servers to stop, with the stable code of why.
    pub stop: Vec<(ServerId, &'static str)>,
    /// Claimed servers to drain.
    pub drain: Vec<ServerId>,
    /// When to look again, if creation has to wait for a time.
    pub retry_at_ms: Option<u64>,
}

/// What is to be done, given how things stand at `now_ms`.
pub fn plan(standing: &Standing, now_ms: u64) -> Plan {
    let mut plan = Plan::default();
    let target = match standing.target {
        Some(target) if !standing.deleting => target,
        _ => {
            wind_down(standing, &mut plan);
            return plan;
        }
    };
    let unclaimed = || standing.members.iter().filter(|member| member.state.is_unclaimed());
    // Old servers that are not ready are of no use to anybody.
    let (old_ready, old_unready): (Vec<&Member>, Vec<&Member>) =
        unclaimed().filter(|member| !member.current).partition(|member| member.state == ServerState::Ready);
    plan.stop.extend(old_unready.iter().map(|member| (member.id, "replaced")));

    let current: Vec<&Member> = unclaimed().filter(|member| member.current).collect();
    let current_ready = current.iter().filter(|member| member.state == ServerState::Ready).count();
    let in_flight = current.len() - current_ready;
    let wanted = (target.warm + standing.waiting).min(target.max) as usize;

    let surplus_old = (current_ready + old_ready.len()).saturating_sub(wanted).min(old_ready.len());
    plan.stop.extend(old_ready.iter().take(surplus_old).map(|member| (member.id, "replaced")));
    plan.stop.extend(surplus(&current, wanted).map(|member| (member.id, "scaled_down")));

    let missing = wanted.saturating_sub(current.len());
    // One more than wanted may be there while ready servers are being replaced.
    let surge = (wanted + 1).saturating_sub(current.len() + old_ready.len());
    let room = (target.max as usize).saturating_sub(standing.members.len());
    let mut create = if old_ready.is_empty() { missing } else { missing.min(surge) };
    if create > room {
        if room == 0 && surplus_old == 0 && in_flight == 0 {
            // No room for a surge: an old one goes first. With none there the fleet is simply full.
            plan.stop.extend(old_ready.first().map(|member| (member.id, "replaced")));
        }
        create = room;
    }
    if create > 0 && standing.retry_at_ms > now_ms {
        plan.retry_at_ms = Some(standing.retry_at_ms);
        create = 0;
    }
    if standing.failing {
        create = create.min(1usize.saturating_sub(in_flight));
    }
    plan.create = (create as u32).min(MAX_CREATE_PER_PASS);
    plan.more = create as u32 > MAX_CREATE_PER_PASS;
    plan
}

/// A region the fleet leaves: what nobody has claimed stops. Claimed servers end in their own time,
/// unless the whole fleet goes: then they are told to finish.
fn wind_down(standing: &Standing, plan: &mut Plan) {
    let reason = if standing.deleting { "fleet_deleted" } else { "region_removed" };
    for member in &standing.members {
        if member.state.is_unclaimed() {
            plan.stop.push((member.id, reason));
        } else if standing.deleting && member.state == ServerState::Allocated {
            plan.drain.push(member.id);
        }
    }
}

/// Those of `current` beyond `wanted`: the least advanced first, and of those the youngest.
fn surplus<'a>(current: &[&'a Member], wanted: usize) -> impl Iterator<Item = &'a Member> {
    let mut order = current.to_vec();
    order.sort_by_key(|member| (member.state, std::cmp::Reverse(member.id.uuid())));
    order.into_iter().take(current.len().saturating_sub(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(state: ServerState, current: bool) -> Member {
        Member { id: ServerId::new(), state, current }
    }

    fn standing(warm: u32, max: u32, members: Vec<Member>) -> Standing {
        Standing { target: Some(RegionTarget { warm, max }), members, ..Default::default() }
    }

    #[test]
    fn creates_what_is_missing_and_stops_what_is_too_much() {
        use ServerState::{Allocated, Draining, Pending, Ready, Starting};
        // (warm, max, waiting, states) -> (created, stopped)
        type Case<'a> = (u32, u32, u32, &'a [ServerState], u32, usize);
        let cases: [Case<'_>; 8] = [
            (3, 10, 0, &[], 3, 0),
            (3, 10, 0, &[Ready, Starting], 1, 0),
            (3, 10, 0, &[Allocated, Allocated], 3, 0),
            (3, 4, 0, &[Allocated, Allocated, Draining], 1, 0),
            (0, 4, 2, &[Allocated], 2, 0),
            (0, 2, 5, &[Allocated, Allocated], 0, 0),
            (1, 4, 0, &[Ready, Ready, Pending], 0, 2),
            (0, 4, 0, &[Ready, Allocated], 0, 1),
        ];
        for (warm, max, waiting, states, created, stopped) in cases {
            let members = states.iter().map(|state| member(*state, true)).collect();
            let plan = plan(&Standing { waiting, ..standing(warm, max, members) }, 0);
            assert_eq!(
                (plan.create, plan.stop.len()),
                (created, stopped),
                "{warm} {max} {waiting} {states:?}"
            );
            assert!(plan.drain.is_empty());
        }
    }

    #[test]
    fn scaling_down_begins_with_what_is_least_advanced() {
        let ready = member(ServerState::Ready, true);
        let pending = member(ServerState::Pending, true);
        assert_eq!(plan(&standing(1, 9, vec![ready, pending]), 0).stop, [(pending.id, "scaled_down")]);
    }

    #[test]
    fn a_new_pod_surges_by_one_and_leaves_claimed_servers_alone() {
        let mut members: Vec<_> = (0..3).map(|_| member(ServerState::Ready, false)).collect();
        members.push(member(ServerState::Allocated, false));
        let mut standing = standing(3, 10, members);
        let mut rounds = 0;
        while standing.members.iter().any(|m| !m.current && m.state == ServerState::Ready) {
            let plan = plan(&standing, 0);
            assert!(plan.create + plan.stop.len() as u32 > 0, "stuck: {:?}", standing.members);
            standing.members.retain(|m| plan.stop.iter().all(|(id, _)| *id != m.id));
            for _ in 0..plan.create {
                standing.members.push(member(ServerState::Ready, true));
            }
            let unclaimed = standing.members.iter().filter(|m| m.state.is_unclaimed()).count();
            assert!((3..=4).contains(&unclaimed), "{unclaimed}");
            rounds += 1;
            assert!(rounds < 20);
        }
        assert_eq!(standing.members.iter().filter(|m| m.state == ServerState::Allocated).count(), 1);
    }

    #[test]
    fn without_room_to_surge_an_old_server_goes_first() {
        let old = member(ServerState::Ready, false);
        let first = plan(&standing(1, 1, vec![old]), 0);
        assert_eq!((first.create, first.stop), (0, vec![(old.id, "replaced")]));
        // While it still stops there is no room; once it is gone there is.
        let gone = Member { state: ServerState::Draining, ..old };
        assert_eq!(plan(&standing(1, 1, vec![gone]), 0), Plan::default());
        assert_eq!(plan(&standing(1, 1, vec![]), 0).create, 1);
    }

    #[test]
    fn a_crash_loop_waits_and_then_tries_one() {
        let loop_ = Standing { retry_at_ms: 500, failing: true, ..standing(5, 9, vec![]) };
        let waiting = plan(&loop_, 499);
        assert_eq!((waiting.create, waiting.retry_at_ms), (0, Some(500)));
        assert_eq!(plan(&loop_, 500).create, 1);
        let probing = Standing { members: vec![member(ServerState::Starting, true)], ..loop_ };
        assert_eq!(plan(&probing, 500).create, 0);
    }

    #[test]
    fn a_deleted_fleet_drains_and_a_left_region_only_stops_what_is_unclaimed() {
        let (ready, allocated) = (member(ServerState::Ready, true), member(ServerState::Allocated, true));
        let mut standing = standing(2, 9, vec![ready, allocated]);
        standing.deleting = true;
        let deleted = plan(&standing, 0);
        assert_eq!(
            (deleted.create, deleted.stop, deleted.drain),
            (0, vec![(ready.id, "fleet_deleted")], vec![allocated.id])
        );
        let left = plan(&Standing { target: None, deleting: false, ..standing }, 0);
        assert_eq!((left.stop, left.drain), (vec![(ready.id, "region_removed")], vec![]));
    }

    proptest! {
        /// Whatever stands: never over `max`, never a claimed server stopped, nothing stopped twice.
        #[test]
        fn plans_keep_the_bounds(
            warm in 0u32..8, max in 0u32..8, waiting in 0u32..8, failing: bool, deleting: bool, in_region: bool,
            states in proptest::collection::vec((0i32..7, any::<bool>()), 0..12),
        ) {
            let members: Vec<Member> = states
                .into_iter()
                .map(|(state, current)| member(ServerState::try_from(state).expect("a live state"), current))
                .collect();
            let standing = Standing {
                target: in_region.then_some(RegionTarget { warm, max }),
                deleting, members, waiting, failing, retry_at_ms: 0,
            };
            let plan = plan(&standing, 1);
            prop_assert!(plan.create == 0 || standing.members.len() + plan.create as usize <= max as usize);
            let mut seen = std::collections::BTreeSet::new();
            for (id, _) in &plan.stop {
                let stopped = standing.members.iter().find(|m| m.id == *id).expect("a member");
                prop_assert!(stopped.state.is_unclaimed());
                prop_assert!(seen.insert(id.uuid()));
            }
            prop_assert!(deleting || plan.drain.is_empty());
        }
    }
}
