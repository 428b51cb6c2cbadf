//! Who calls, and what they may do: bearer tokens, roles, namespaces.
//!
//! A handler says what it needs by the type of one argument: [`Scope`] for what lies in a namespace,
//! [`Grant`] for what belongs to the installation. Both run before any body is read. The decisions are
//! pure functions; the store is read once per request.

use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri, header};
use muster_protocol::api::Role;
use muster_protocol::id::{ApiTokenId, TicketId};
use muster_protocol::problem::ProblemCode;
use serde::Deserialize;

use super::credentials::{Shown, shown_ticket};
use super::limits::Counted;
use super::problem::{ApiProblem, ApiResult};
use super::validate;
use crate::app::App;
use crate::records::ApiTokenRecord;
use crate::state::workflows::MACHINES;
use crate::{clock, state};

const SHOW_FIX: &str = "send `Authorization: Bearer mst_…`; an admin makes tokens with `muster token create`";

/// The role a handler needs, as a type.
pub(crate) trait Needs: Send {
    /// The least role that may call.
    const ROLE: Role;
}

/// Needs [`Role::Client`].
pub(crate) struct Client;
/// Needs [`Role::Deploy`].
pub(crate) struct Deploy;
/// Needs [`Role::Admin`].
pub(crate) struct Admin;

impl Needs for Client {
    const ROLE: Role = Role::Client;
}
impl Needs for Deploy {
    const ROLE: Role = Role::Deploy;
}
impl Needs for Admin {
    const ROLE: Role = Role::Admin;
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// Token shown.
    pub(crate) token: ApiTokenId,
    /// Its role.
    pub(crate) role: Role,
    /// The namespace it is bound to; `None`: every one.
    pub(crate) namespace: Option<String>,
}

/// Where the workflows of the installation are looked at, too, as in a namespace of their own.
const WORKFLOWS_PATH: &str = "/v1/workflows";

/// How the path ends under which a ticket is watched.
const WATCH_PATH: &str = "/watch";

/// A caller who may act in a namespace, which exists.
pub(crate) struct Scope<R> {
    /// The namespace: the token's, or the query's where the token is bound to none.
    pub(crate) namespace: String,
    /// Who it is.
    pub(crate) caller: Caller,
    needs: PhantomData<R>,
}

/// A caller who may act on the installation as a whole.
pub(crate) struct Grant<R> {
    /// Who it is.
    pub(crate) caller: Caller,
    needs: PhantomData<R>,
}

impl<R: Needs> FromRequestParts<Arc<App>> for Scope<R> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> ApiResult<Self> {
        let shown = shown_token(&parts.headers)?;
        let asked = asked_namespace(&parts.uri)?;
        let now_ms = clock::now_ms();
        let (namespace, caller) = app
            .db
            .read("authorize", async |mut tx| {
                let record = state::tokens::load(&mut tx, shown.id).await?;
                let caller = admit(&shown, record.as_ref(), now_ms)?;
                allow(&caller, R::ROLE)?;
                let namespace = namespace_of(&caller, asked.as_deref())?;
                let of_machines = namespace == MACHINES && parts.uri.path().starts_with(WORKFLOWS_PATH);
                if !of_machines && state::namespaces::load(&mut tx, &namespace).await?.is_none() {
                    return Err(namespace_unknown(&namespace));
                }
                Ok((namespace, caller))
            })
            .await?;
        Ok(Self { namespace, caller, needs: PhantomData })
    }
}

impl<R: Needs> FromRequestParts<Arc<App>> for Grant<R> {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> ApiResult<Self> {
        let caller = caller(&parts.headers, app).await?;
        allow(&caller, R::ROLE)?;
        allow_installation(&caller, R::ROLE)?;
        Ok(Self { caller, needs: PhantomData })
    }
}

/// A caller who may see one ticket, and withdraw it: by a token of the ticket's own, or of the API. Their call is counted
/// against the limits on clients.
pub(crate) struct Holder {
    /// The namespace the ticket must be in.
    pub(crate) namespace: String,
    /// Who it is, as they are counted.
    pub(crate) who: Counted,
    /// Where they call from.
    pub(crate) address: IpAddr,
}

impl FromRequestParts<Arc<App>> for Holder {
    type Rejection = ApiProblem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> ApiResult<Self> {
        token_of_browser(parts);
        let ConnectInfo(from) =
            ConnectInfo::<SocketAddr>::from_request_parts(parts, app).await.map_err(|rejection| {
                ApiProblem::internal(format!("no address is known of a client: {rejection}"))
            })?;
        let holder = Self::of(parts, app, from.ip()).await?;
        app.ticket_limits.call(&holder.who, holder.address)?;
        Ok(holder)
    }
}

impl Holder {
    async fn of(parts: &mut Parts, app: &Arc<App>, address: IpAddr) -> ApiResult<Self> {
        let Some(shown) = bearer(&parts.headers)?.and_then(shown_ticket) else {
            let scope = Scope::<Client>::from_request_parts(parts, app).await?;
            return Ok(Self { namespace: scope.namespace, who: Counted::Caller(scope.caller), address });
        };
        let record =
            app.db.read("authorize", async |mut tx| state::tickets::peek(&mut tx, shown.id).await).await?;
        let record = record.filter(|record| shown.proves(record)).ok_or_else(token_invalid)?;
        Ok(Self { namespace: record.namespace, who: Counted::Ticket(shown.id), address })
    }

    /// Refuses a ticket that the token is not of.
    pub(crate) fn allow(&self, ticket: TicketId) -> ApiResult<()> {
        match self.who {
            Counted::Ticket(only) if only != ticket => Err(ApiProblem::new(
                ProblemCode::Forbidden,
                format!("the token is that of ticket {only}"),
                "use the token that came with the ticket, or a token of the API",
            )),
            _ => Ok(()),
        }
    }
}

/// Where a WebSocket is asked for, a token in the query counts as the header that a browser cannot send.
fn token_of_browser(parts: &mut Parts) {
    #[derive(Deserialize)]
    struct TokenQuery {
        token: Option<String>,
    }
    let is_socket =
        parts.uri.path().ends_with(WATCH_PATH) && !parts.headers.contains_key(header::AUTHORIZATION);
    if is_socket
        && let Ok(Query(TokenQuery { token: Some(token) })) = Query::try_from_uri(&parts.uri)
        && let Ok(value) = format!("Bearer {token}").parse()
    {
        parts.headers.insert(header::AUTHORIZATION, value);
    }
}

/// Who shows a token in `headers`.
pub(crate) async fn caller(headers: &HeaderMap, app: &App) -> ApiResult<Caller> {
    let shown = shown_token(headers)?;
    let now_ms = clock::now_ms();
    app.db
        .read("authorize", async |mut tx| {
            admit(&shown, state::tokens::load(&mut tx, shown.id).await?.as_ref(), now_ms)
        })
        .await
}

/// A namespace that is not there.
pub(crate) fn namespace_unknown(namespace: &str) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::NamespaceUnknown,
        format!("there is no namespace {namespace:?}"),
        format!("make it with `muster namespace create {namespace}`, or correct the name"),
    )
}

/// The bearer token's text; `None` if no token is shown at all.
fn bearer(headers: &HeaderMap) -> ApiResult<Option<&str>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    match value.to_str().unwrap_or_default().split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(ApiProblem::new(ProblemCode::TokenMissing, "the request shows no bearer token", SHOW_FIX)),
    }
}

fn shown_token(headers: &HeaderMap) -> ApiResult<Shown> {
    let shown = bearer(headers)?;
    let text = shown.ok_or_else(|| {
        ApiProblem::new(ProblemCode::TokenMissing, "the request shows no API token", SHOW_FIX)
    })?;
    Shown::parse(text).ok_or_else(token_invalid)
}

fn token_invalid() -> ApiProblem {
    ApiProblem::new(
        ProblemCode::TokenInvalid,
        "the API token is not one of this installation, or was revoked",
        "check that the whole token was copied; an admin makes a new one with `muster token create`",
    )
}

#[derive(Deserialize)]
struct NamespaceQuery {
    namespace: Option<String>,
}

fn asked_namespace(uri: &Uri) -> ApiResult<Option<String>> {
    let Query(query) = Query::<NamespaceQuery>::try_from_uri(uri).map_err(|rejection| {
        ApiProblem::invalid_request(
            rejection.body_text(),
            "name one namespace: `?namespace=game/environment`",
        )
    })?;
    if let Some(namespace) = &query.namespace {
        validate::namespace(namespace)?;
    }
    Ok(query.namespace)
}

fn admit(shown: &Shown, record: Option<&ApiTokenRecord>, now_ms: u64) -> ApiResult<Caller> {
    let Some(record) = record.filter(|record| shown.proves(record)) else { return Err(token_invalid()) };
    if record.expires_at_ms > 0 && record.expires_at_ms <= now_ms {
        return Err(ApiProblem::new(
            ProblemCode::TokenExpired,
            "the API token's time is over",
            "an admin makes a new one with `muster token create`",
        ));
    }
    let namespace = Some(record.namespace.clone()).filter(|namespace| !namespace.is_empty());
    Ok(Caller { token: shown.id, role: record.role().into(), namespace })
}

pub(crate) fn allow(caller: &Caller, needs: Role) -> ApiResult<()> {
    if caller.role >= needs {
        return Ok(());
    }
    Err(ApiProblem::new(
        ProblemCode::Forbidden,
        format!("this needs the role {}, and the token has {}", needs.as_str(), caller.role.as_str()),
        format!("use a token made with `muster token create --role {}`", needs.as_str()),
    ))
}

/// What belongs to the installation is for admins of the whole of it; a lesser role that it is open to
/// may be bound to a namespace.
pub(crate) fn allow_installation(caller: &Caller, needs: Role) -> ApiResult<()> {
    match &caller.namespace {
        Some(namespace) if needs == Role::Admin => Err(ApiProblem::new(
            ProblemCode::Forbidden,
            format!("this concerns the whole installation, and the token is bound to {namespace}"),
            "use an admin token that is bound to no namespace",
        )),
        _ => Ok(()),
    }
}

fn namespace_of(caller: &Caller, asked: Option<&str>) -> ApiResult<String> {
    match (&caller.namespace, asked) {
        (Some(bound), Some(asked)) if bound != asked => Err(ApiProblem::new(
            ProblemCode::Forbidden,
            format!("the token is bound to the namespace {bound}"),
            format!("leave `namespace` out, or use a token of {asked}"),
        )),
        (Some(bound), _) => Ok(bound.clone()),
        (None, Some(asked)) => Ok(asked.to_owned()),
        (None, None) => Err(ApiProblem::new(
            ProblemCode::NamespaceMissing,
            "neither the token nor the query names a namespace",
            "add `?namespace=game/environment` (muster: --namespace game/environment)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::credentials::mint;

    fn caller_of(role: Role, namespace: Option<&str>) -> Caller {
        Caller { token: ApiTokenId::new(), role, namespace: namespace.map(str::to_owned) }
    }

    fn code<T>(result: ApiResult<T>) -> Option<ProblemCode> {
        result.err().map(|problem| problem.code())
    }

    #[test]
    fn a_token_is_admitted_until_it_expires() {
        let (record, text) = mint(Role::Client, Some("arena/prod"), "", Some(10), 1_000);
        let shown = Shown::parse(&text).expect("just made");
        assert_eq!(admit(&shown, Some(&record), 10_999).expect("in time").role, Role::Client);
        assert_eq!(code(admit(&shown, Some(&record), 11_000)), Some(ProblemCode::TokenExpired));
        assert_eq!(code(admit(&shown, None, 1_000)), Some(ProblemCode::TokenInvalid));
        let (other, _) = mint(Role::Admin, None, "", None, 1_000);
        assert_eq!(code(admit(&shown, Some(&other), 1_000)), Some(ProblemCode::TokenInvalid));
    }

    #[test]
    fn each_role_may_do_what_those_below_it_may() {
        let roles = [Role::Client, Role::Deploy, Role::Admin];
        for (has, role) in roles.into_iter().enumerate() {
            for (needed, needs) in roles.into_iter().enumerate() {
                assert_eq!(allow(&caller_of(role, None), needs).is_ok(), has >= needed);
            }
        }
    }

    #[test]
    fn a_bound_token_stays_in_its_namespace() {
        let bound = caller_of(Role::Admin, Some("arena/prod"));
        assert_eq!(namespace_of(&bound, None).expect("bound"), "arena/prod");
        assert_eq!(namespace_of(&bound, Some("arena/prod")).expect("the same"), "arena/prod");
        assert_eq!(code(namespace_of(&bound, Some("arena/dev"))), Some(ProblemCode::Forbidden));
        assert_eq!(code(allow_installation(&bound, Role::Admin)), Some(ProblemCode::Forbidden));
        assert!(allow_installation(&bound, Role::Client).is_ok());
        let free = caller_of(Role::Admin, None);
        assert_eq!(namespace_of(&free, Some("arena/dev")).expect("asked for"), "arena/dev");
        assert_eq!(code(namespace_of(&free, None)), Some(ProblemCode::NamespaceMissing));
    }

    #[test]
    fn the_query_names_one_namespace() {
        let asked = |query: &str| asked_namespace(&format!("/v1/fleets?{query}").parse().expect("a URI"));
        assert_eq!(asked("tail=3").expect("none"), None);
        assert_eq!(asked("namespace=a%2Fb&x=1").expect("one").as_deref(), Some("a/b"));
        assert_eq!(asked("x=1&namespace=a/b").expect("one").as_deref(), Some("a/b"));
        assert_eq!(code(asked("namespace=a")), Some(ProblemCode::InvalidRequest));
        assert_eq!(code(asked("namespace=a/b&namespace=a/c")), Some(ProblemCode::InvalidRequest));
    }

    #[test]
    fn the_header_is_read_as_bearer() {
        let (_, text) = mint(Role::Admin, None, "", None, 0);
        let headers = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header value"));
            headers
        };
        assert!(shown_token(&headers(&format!("bearer {text}"))).is_ok());
        assert_eq!(code(shown_token(&headers(&text))), Some(ProblemCode::TokenMissing));
        assert_eq!(code(shown_token(&headers("Bearer nonsense"))), Some(ProblemCode::TokenInvalid));
        assert_eq!(code(shown_token(&HeaderMap::new())), Some(ProblemCode::TokenMissing));
    }
}
