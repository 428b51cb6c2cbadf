//! Checks of requests for API tokens and join tokens.

use muster_protocol::api::{ApiTokenRequest, JoinTokenRequest, Role, is_namespace};
use muster_protocol::problem::ProblemCode;

use super::{Faults, has_control};
use crate::api::problem::ApiProblem;

/// Longest description of a token, in bytes.
pub(crate) const MAX_TOKEN_NAME_BYTES: usize = 128;
/// Longest life of an API token that expires, in seconds: ten years.
pub(crate) const MAX_API_TOKEN_TTL_S: u64 = 10 * 365 * 86_400;
/// Longest life of a join token, in seconds: a week.
pub(crate) const MAX_JOIN_TOKEN_TTL_S: u64 = 7 * 86_400;

/// Checks a request for an API token.
pub(crate) fn api_token_request(request: &ApiTokenRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    match &request.namespace {
        Some(namespace) => faults.check(
            is_namespace(namespace),
            "namespace",
            format_args!("{namespace:?} is no namespace; write game/environment"),
        ),
        None => faults.check(
            request.role == Role::Admin,
            "namespace",
            format_args!(
                "a {} token is bound to a namespace; name one (game/environment)",
                request.role.as_str()
            ),
        ),
    }
    faults.check(
        request.name.len() <= MAX_TOKEN_NAME_BYTES,
        "name",
        format_args!("{} bytes are over the limit of {MAX_TOKEN_NAME_BYTES}", request.name.len()),
    );
    faults.check(!has_control(&request.name), "name", "holds a control character");
    if let Some(ttl_s) = request.ttl_s {
        faults.within("ttl_s", ttl_s, 1, MAX_API_TOKEN_TTL_S);
    }
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks a request for a join token.
pub(crate) fn join_token_request(request: &JoinTokenRequest) -> Result<(), ApiProblem> {
    let mut faults = Faults::default();
    faults.name("region", &request.region);
    faults.within("ttl_s", request.ttl_s, 1, MAX_JOIN_TOKEN_TTL_S);
    faults.into_result(ProblemCode::InvalidRequest)
}

#[cfg(test)]
mod tests {
    use muster_protocol::api::JoinRole;

    use super::*;

    fn request(role: Role, namespace: Option<&str>) -> ApiTokenRequest {
        ApiTokenRequest { role, namespace: namespace.map(str::to_owned), name: "ci".into(), ttl_s: None }
    }

    #[test]
    fn only_an_admin_token_is_free_of_namespaces() {
        assert!(api_token_request(&request(Role::Admin, None)).is_ok());
        assert!(api_token_request(&request(Role::Deploy, Some("arena/prod"))).is_ok());
        for role in [Role::Deploy, Role::Client] {
            let problem = api_token_request(&request(role, None)).expect_err("needs a namespace");
            assert!(problem.problem().detail.contains(role.as_str()));
        }
        assert!(api_token_request(&request(Role::Client, Some("arena"))).is_err());
    }

    #[test]
    fn lifetimes_are_bounded() {
        let forever = ApiTokenRequest { ttl_s: Some(u64::MAX), ..request(Role::Admin, None) };
        assert!(api_token_request(&forever).is_err());
        let never = JoinTokenRequest { role: JoinRole::Agent, region: "local".into(), ttl_s: 0 };
        assert!(join_token_request(&never).is_err());
        let nowhere = JoinTokenRequest { role: JoinRole::Edge, region: "Here!".into(), ttl_s: 60 };
        assert!(join_token_request(&nowhere).is_err());
    }
}
