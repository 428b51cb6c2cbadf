//! The HTTP API: routes and what surrounds them.
//!
//! One request per file, grouped by resource. A handler authorizes by the type of its first argument,
//! checks its input with `validate`, runs one transaction, and tells the outcome with `view`; what may
//! happen to a server, a ticket or a fleet is decided elsewhere. Routes and the OpenAPI document come from
//! the same annotations, and everything that goes wrong, unknown paths included, is a problem document.

mod asking;
mod auth;
mod builds;
mod connections;
pub(crate) mod credentials;
mod extract;
mod fleets;
mod image;
mod installation;
mod limits;
mod lobbies;
mod machines;
mod middleware;
mod namespaces;
mod page;
mod problem;
mod queues;
mod serve;
mod servers;
mod tickets;
mod tokens;
mod uploads;
mod validate;
mod view;
mod workflows;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::{Extension, Router};
use muster_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Content, OpenApi as Document, Ref, ResponseBuilder};
use utoipa::{IntoParams, Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use extract::MAX_JSON_BYTES;
use installation::ApiDocument;
pub(crate) use limits::TicketLimits;
use problem::ApiProblem;
pub(crate) use serve::ApiServer;
pub use serve::ServeError;

/// Where clients find what the API offers.
const DOCUMENT_PATH: &str = "/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Muster",
        description = "Game servers, matchmaking and the machines they run on. Times are Unix milliseconds."
    ),
    components(schemas(Problem)),
    security(("api_token" = [])),
    modifiers(&TokenScheme),
    tags(
        (name = "builds", description = "Game-server artifacts, and the uploads that make them"),
        (name = "fleets", description = "A build, and how many servers of it to keep where"),
        (name = "queues", description = "Matchmaking modes"),
        (name = "lobbies", description = "Matches that players choose"),
        (name = "servers", description = "Game servers, one by one"),
        (name = "tickets", description = "A player's request for a match"),
        (name = "workflows", description = "What the orchestrator does over time, and what it waits for"),
        (name = "machines", description = "Nodes, edges and the regions they form"),
        (name = "tokens", description = "Credentials of programs, and of machines that join"),
        (name = "namespaces", description = "A game in an environment"),
        (name = "installation", description = "The installation as a whole"),
    )
)]
struct Base;

struct TokenScheme;

impl Modify for TokenScheme {
    fn modify(&self, document: &mut Document) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        document.components.get_or_insert_default().add_security_scheme("api_token", scheme);
    }
}

/// The namespace a request is about, for the document; `auth` reads it.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "a description of a parameter, never a value")]
struct NamespaceParam {
    /// `game/environment`; needed with a token that is bound to no namespace.
    namespace: Option<String>,
}

/// Every route, with the document made from them.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, document) = OpenApiRouter::with_openapi(Base::openapi())
        .merge(uploads::router())
        .merge(builds::router())
        .merge(fleets::router())
        .merge(queues::router())
        .merge(lobbies::router())
        .merge(servers::router())
        .merge(tickets::router())
        .merge(machines::router())
        .merge(workflows::router())
        .merge(tokens::router())
        .merge(namespaces::router())
        .merge(installation::router())
        .split_for_parts();
    let document = serde_json::to_vec(&with_problems(document)).expect("the document has string keys only");
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(Extension(ApiDocument(document.into())))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES))
        .layer(axum::middleware::from_fn_with_state(middleware::request_bound(), middleware::around))
        .with_state(app)
}

/// Every operation may answer with a problem: said once here instead of at each.
fn with_problems(mut document: Document) -> Document {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let content = Content::new(Some(Ref::from_schema_name("Problem")));
            let problem = ResponseBuilder::new()
                .description("Something is wrong; `code` says what, `fix` what to do")
                .content(PROBLEM_MEDIA_TYPE, content)
                .build();
            operation.responses.responses.insert("default".to_owned(), problem.into());
        }
    }
    document
}

async fn no_route(uri: Uri) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::NotFound,
        format!("there is no {}", uri.path()),
        format!("see {DOCUMENT_PATH} for what there is"),
    )
}

async fn no_method(method: Method, uri: Uri) -> ApiProblem {
    ApiProblem::new(
        ProblemCode::MethodNotAllowed,
        format!("{} takes no {method}", uri.path()),
        format!("see {DOCUMENT_PATH} for what it takes"),
    )
}
