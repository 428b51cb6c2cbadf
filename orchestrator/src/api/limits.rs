//! How fast game clients may ask for matches, and about their tickets: by their address and by their token, each replica for
//! itself.
//!
//! For tokens of the role `client`, and for those of one ticket alone: what a studio's backend asks for with a token that may
//! deploy is its own concern. Which requests are counted as what is the handlers'.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use muster_protocol::api::Role;
use muster_protocol::id::{ApiTokenId, TicketId};
use muster_protocol::problem::ProblemCode;

use super::auth::Caller;
use super::problem::{ApiProblem, ApiResult};
use crate::config::ApiConfig;

/// A client may ask for as much at once as it may in this many seconds.
const BURST_S: u32 = 10;
/// Addresses and tokens remembered, each; those that have not asked for long are let go first.
const MAX_KEYS: usize = 100_000;
/// Calls about a ticket that its own token may make in a second: one client polls it, and a long poll takes longer.
const CALLS_PER_S_PER_TICKET: u32 = 10;
/// Explanations of a ticket that its own token may ask for in a second.
const EXPLAINS_PER_S_PER_TICKET: u32 = 1;

/// The limits on tickets.
pub(crate) struct TicketLimits {
    tickets: Limits,
    calls: Limits,
    explains: Limits,
}

/// Who is counted: by the token shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// A caller of the API.
    Caller(Caller),
    /// The holder of a ticket's own token.
    Ticket(TicketId),
}

impl TicketLimits {
    /// As the configuration says; 0 is no limit.
    pub(crate) fn new(config: &ApiConfig) -> Self {
        Self {
            tickets: Limits {
                what: "asks for more than {} matches a second",
                address: Limit::new(config.tickets_per_s_per_address, "api.tickets_per_s_per_address"),
                token: Limit::new(config.tickets_per_s_per_token, "api.tickets_per_s_per_token"),
                ticket: None,
            },
            calls: Limits {
                what: "makes more than {} calls about tickets a second",
                address: Limit::new(
                    config.ticket_calls_per_s_per_address,
                    "api.ticket_calls_per_s_per_address",
                ),
                token: Limit::new(config.ticket_calls_per_s_per_token, "api.ticket_calls_per_s_per_token"),
                ticket: Limit::new(CALLS_PER_S_PER_TICKET, "one ticket's; wait with wait_s, or watch it"),
            },
            explains: Limits {
                what: "asks for more than {} explanations a second",
                address: Limit::new(config.explains_per_s_per_address, "api.explains_per_s_per_address"),
                token: Limit::new(config.explains_per_s_per_token, "api.explains_per_s_per_token"),
                ticket: Limit::new(EXPLAINS_PER_S_PER_TICKET, "one ticket's"),
            },
        }
    }

    /// Counts a ticket that `caller` asks for from `address`.
    ///
    /// # Errors
    /// `too_many`, with a time to come again; as for the others.
    pub(crate) fn ticket(&self, caller: &Caller, address: IpAddr) -> ApiResult<()> {
        self.tickets.count(&Counted::Caller(caller.clone()), address)
    }

    /// Counts a call about a ticket: reading it, watching it, answering for it, withdrawing it.
    pub(crate) fn call(&self, who: &Counted, address: IpAddr) -> ApiResult<()> {
        self.calls.count(who, address)
    }

    /// Counts an explanation of a ticket, which reads many others.
    pub(crate) fn explain(&self, who: &Counted, address: IpAddr) -> ApiResult<()> {
        self.explains.count(who, address)
    }
}

/// The limits on one sort of request.
struct Limits {
    /// What one does who is over a limit, with `{}` for it.
    what: &'static str,
    address: Option<Limit<IpAddr>>,
    token: Option<Limit<ApiTokenId>>,
    ticket: Option<Limit<TicketId>>,
}

impl Limits {
    fn count(&self, who: &Counted, address: IpAddr) -> ApiResult<()> {
        if matches!(who, Counted::Caller(caller) if caller.role != Role::Client) {
            return Ok(());
        }
        count(self.address.as_ref(), &network(address), "address", self.what)?;
        match who {
            Counted::Caller(caller) => count(self.token.as_ref(), &caller.token, "token", self.what),
            Counted::Ticket(ticket) => count(self.ticket.as_ref(), ticket, "token", self.what),
        }
    }
}

struct Limit<K: Hash + Eq + Clone> {
    per_s: u32,
    /// Where it is set, or what it is.
    setting: &'static str,
    limiter: DefaultKeyedRateLimiter<K>,
}

impl<K: Hash + Eq + Clone> Limit<K> {
    fn new(per_s: u32, setting: &'static str) -> Option<Self> {
        let rate = NonZeroU32::new(per_s)?;
        let burst = rate.saturating_mul(NonZeroU32::new(BURST_S).expect("a constant over 0"));
        let limiter = RateLimiter::keyed(Quota::per_second(rate).allow_burst(burst));
        Some(Self { per_s, setting, limiter })
    }
}

fn count<K: Hash + Eq + Clone>(limit: Option<&Limit<K>>, key: &K, of: &str, what: &str) -> ApiResult<()> {
    let Some(limit) = limit else { return Ok(()) };
    if limit.limiter.len() >= MAX_KEYS {
        // One that may ask for all of its burst again is as one never seen.
        limit.limiter.retain_recent();
        if limit.limiter.len() >= MAX_KEYS {
            return Err(refusal("too many clients ask at once".to_owned(), 1));
        }
    }
    limit.limiter.check_key(key).map_err(|not_until| {
        let wait = not_until.wait_time_from(DefaultClock::default().now());
        let what = what.replace("{}", &limit.per_s.to_string());
        refusal(format!("this {of} {what} ({})", limit.setting), wait.as_secs() as u32 + 1)
    })
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
    fn each_sort_of_request_has_bounds_of_its_own() {
        let limits = TicketLimits::new(&ApiConfig {
            tickets_per_s_per_address: 1,
            ticket_calls_per_s_per_address: 3,
            explains_per_s_per_address: 2,
            ..ApiConfig::default()
        });
        let (client, address) = (caller(Role::Client), "192.0.2.1".parse().expect("an address"));
        let who = Counted::Caller(client.clone());
        let passed = |count: &dyn Fn() -> ApiResult<()>| (0..100).filter(|_| count().is_ok()).count();
        assert_eq!(passed(&|| limits.ticket(&client, address)), 10);
        assert_eq!(passed(&|| limits.call(&who, address)), 30);
        assert_eq!(passed(&|| limits.explain(&who, address)), 20);
        let refused = limits.explain(&who, address).expect_err("used up");
        let told = &refused.problem().detail;
        assert!(
            told.contains("more than 2 explanations") && told.contains("api.explains_per_s_per_address"),
            "{told}"
        );
        assert!(limits.explain(&Counted::Caller(caller(Role::Deploy)), address).is_ok());
    }

    #[test]
    fn a_tickets_own_token_is_bound_by_itself() {
        let limits = TicketLimits::new(&ApiConfig {
            ticket_calls_per_s_per_address: 0,
            explains_per_s_per_address: 0,
            ..ApiConfig::default()
        });
        let address = "192.0.2.1".parse().expect("an address");
        let (one, other) = (Counted::Ticket(TicketId::new()), Counted::Ticket(TicketId::new()));
        let passed = |who: &Counted| (0..200).filter(|_| limits.call(who, address).is_ok()).count();
        assert_eq!((passed(&one), passed(&other)), (100, 100));
        assert_eq!((0..20).filter(|_| limits.explain(&one, address).is_ok()).count(), 10);
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
