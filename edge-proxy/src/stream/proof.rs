//! Checking the tokens that connections show, and naming their flows.
//!
//! Bounded as a UDP worker's checks are, all connections together: a signature costs far more than showing a bad one.
//! Who is not checked is told to try again.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use muster_protocol::flow::{FlowId, FlowOwner, flow_id};
use muster_protocol::id::SeatId;
use muster_protocol::preface::Refusal;

use crate::clock::Now;
use crate::drops::DropReason;
use crate::routes::Route;
use crate::trust::Trust;
use crate::udp::{Admission, Admit};

/// What tokens are checked against, and how many are.
pub(crate) struct Proofs {
    trust: Arc<ArcSwap<Trust>>,
    // Taken twice per token, never during a check.
    admission: Mutex<Admission>,
}

/// Why a client is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not taken in: {}", .counted.as_str())]
pub(super) struct Declined {
    /// What it is told.
    pub(super) told: Refusal,
    /// What it is counted under.
    pub(super) counted: DropReason,
}

impl From<Refusal> for Declined {
    fn from(told: Refusal) -> Self {
        Self { told, counted: told.into() }
    }
}

/// For what is no fault of its token.
impl From<DropReason> for Declined {
    fn from(counted: DropReason) -> Self {
        Self { told: Refusal::Unavailable, counted }
    }
}

impl Proofs {
    /// Holds tokens against whatever `trust` is at the time.
    pub(crate) fn new(trust: Arc<ArcSwap<Trust>>, now: Instant) -> Self {
        Self { trust, admission: Mutex::new(Admission::new(now)) }
    }

    /// The seat that `token`, shown by `source`, opens on `route`, if there is time to check it and it is good.
    pub(super) fn check(
        &self,
        now: Now,
        source: IpAddr,
        route: &Route,
        token: &str,
    ) -> Result<SeatId, Declined> {
        match self.admission().admit(now.instant, source) {
            Admit::Check => {}
            Admit::SourceLimited => return Err(DropReason::SourceLimited.into()),
            Admit::CheckLimited => return Err(DropReason::CheckLimited.into()),
        }
        self.trust.load().check(route, token, now.unix_ms).map_err(|refusal| {
            self.admission().failed(source);
            refusal.into()
        })
    }

    /// The id of `owner`'s flow on `route`: the same as over UDP.
    pub(super) fn flow(&self, route: &Route, owner: FlowOwner) -> FlowId {
        flow_id(&self.trust.load().flow_key, &route.server, route.port_index, owner)
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Proof, Protocol, RouteKey};

    fn route() -> Route {
        Route::to_new_server(RouteKey { port: 20_000, protocol: Protocol::Tcp }, Proof::Preface)
    }

    /// What so many bad tokens at once are counted under, shown by `source` of their number.
    fn counted(tokens: u32, source: impl Fn(u32) -> IpAddr) -> Vec<DropReason> {
        let (now, route) = (Now::read(), route());
        let proofs = Proofs::new(Arc::default(), now.instant);
        let each = (0..tokens).map(|number| proofs.check(now, source(number), &route, "no token"));
        each.map(|checked| checked.expect_err("it is none").counted).collect()
    }

    #[test]
    fn who_shows_bad_tokens_is_not_listened_to_for_a_while() {
        let counted = counted(100, |_| IpAddr::from([10, 0, 0, 1]));
        let looked_at = counted.iter().take_while(|reason| **reason == DropReason::TokenMalformed).count();
        assert!(looked_at > 0 && looked_at < 100);
        assert!(counted[looked_at..].iter().all(|reason| *reason == DropReason::SourceLimited));
        assert_eq!(Declined::from(DropReason::SourceLimited).told, Refusal::Unavailable);
    }

    #[test]
    fn a_flood_from_many_sources_has_a_share_of_the_time_and_no_more() {
        let counted = counted(5_000, |number| IpAddr::from(number.to_be_bytes()));
        let looked_at = counted.iter().filter(|reason| **reason == DropReason::TokenMalformed).count();
        assert!((1..5_000).contains(&looked_at));
        assert_eq!(counted.last(), Some(&DropReason::CheckLimited));
    }
}
