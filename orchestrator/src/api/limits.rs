//! How fast game clients may ask for matches: by their address and by their token, each replica for itself.
//!
//! For tokens of the role `client` alone: what a studio's backend asks for with a token that may deploy is its own
//! concern. Which requests are asked about is the handlers'.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use muster_protocol::api::Role;
use muster_protocol::id::ApiTokenId;
use muster_protocol::problem::ProblemCode;

use super::auth::Caller;
use super::problem::{ApiProblem, ApiResult};
use crate::config::ApiConfig;

/// A client may ask for as much at once as it may in this many seconds.
const BURST_S: u32 = 10;
/// Addresses and tokens remembered, each; those that have not asked for long are let go first.
const MAX_KEYS: usize = 100_000;

/// The limits on tickets.
pub(crate) struct TicketLimits {
    address: Option<Limit<IpAddr>>,
    token: Option<Limit<ApiTokenId>>,
}

struct Limit<K: Hash + Eq + Clone> {
    per_s: u32,
    limiter: DefaultKeyedRateLimiter<K>,
}

impl TicketLimits {
    /// As the configuration says; 0 is no limit.
    pub(crate) fn new(config: &ApiConfig) -> Self {
        Self {
            address: Limit::new(config.tickets_per_s_per_address),
            token: Limit::new(config.tickets_per_s_per_token),
        }
    }

    /// Counts a ticket that `caller` asks for from `address`.
    ///
    /// # Errors
    /// `too_many`, with a time to come again.
    pub(crate) fn ticket(&self, caller: &Caller, address: IpAddr) -> ApiResult<()> {
        if caller.role != Role::Client {
            return Ok(());
        }
        if let Some(limit) = &self.address {
            limit.count(&network(address), "address", "api.tickets_per_s_per_address")?;
        }
        match &self.token {
            Some(limit) => limit.count(&caller.token, "token", "api.tickets_per_s_per_token"),
            None => Ok(()),
        }
    }
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(per_s: u32) -> Option<Self> {
        let rate = NonZeroU32::new(per_s)?;
        let burst = rate.saturating_mul(NonZeroU32::new(BURST_S).expect("a constant over 0"));
        let limiter = RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst));
        Some(Self { per_s, limiter })
    }

    fn count(&self, key: &K, of: &str, setting: &str) -> ApiResult<()> {
        if self.limiter.len() >= MAX_KEYS {
            // One that may ask for all of its burst again is as one never seen.
            self.limiter.retain_recent();
            if self.limiter.len() >= MAX_KEYS {
                return Err(refusal("too many clients ask for matches at once".to_owned(), 1));
            }
        }
        self.limiter.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            let what = format!("this {of} asks for more than {} matches a second ({setting})", self.per_s);
            refusal(what, wait.as_secs() as u32 + 1)
        })
    }
}

fn refusal(what: String, retry_s: u32) -> ApiProblem {
    ApiProblem::new(ProblemCode::TooMany, what, "ask again later, or let an admin raise the limit")
        .retry_after(retry_s)
}

/// What one client has addresses of: all of a /64 are its own.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(address: u32, token: u32) -> TicketLimits {
        TicketLimits::new(&ApiConfig {
            tickets_per_s_per_address: address,
            tickets_per_s_per_token: token,
            ..ApiConfig::default()
        })
    }

    fn caller(role: Role) -> Caller {
        Caller { token: ApiTokenId::new(), role, namespace: None }
    }

    /// How many of `asked` are let through.
    fn let_through(limits: &TicketLimits, caller: &Caller, address: &str, asked: u32) -> usize {
        let address = address.parse().expect("an address");
        (0..asked).filter(|_| limits.ticket(caller, address).is_ok()).count()
    }

    #[test]
    fn an_address_and_a_token_each_have_their_burst() {
        let (limits, client) = (limits(1, 2), caller(Role::Client));
        assert_eq!(let_through(&limits, &client, "192.0.2.1", 15), 10);
        assert_eq!(let_through(&limits, &client, "192.0.2.2", 15), 10, "and the token's is used up then");
        assert_eq!(let_through(&limits, &client, "192.0.2.3", 5), 0);
        assert_eq!(let_through(&limits, &caller(Role::Client), "192.0.2.4", 5), 5);
        let refused = limits.ticket(&client, "192.0.2.3".parse().expect("one")).expect_err("used up");
        assert_eq!(refused.code(), ProblemCode::TooMany);
    }

    #[test]
    fn a_v6_network_is_one_client_and_a_backend_is_not_limited() {
        let (limits, client) = (limits(1, 0), caller(Role::Client));
        assert_eq!(let_through(&limits, &client, "2001:db8::1", 6), 6);
        assert_eq!(let_through(&limits, &client, "2001:db8::2", 6), 4);
        assert_eq!(let_through(&limits, &client, "2001:db8:0:1::1", 6), 6);
        assert_eq!(let_through(&limits, &client, "::ffff:192.0.2.1", 6), 6);
        assert_eq!(let_through(&limits, &client, "192.0.2.1", 6), 4);
        assert_eq!(let_through(&limits, &caller(Role::Deploy), "2001:db8::1", 100), 100);
    }
}
