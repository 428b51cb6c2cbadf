//! Who may do what: tokens, roles, namespaces.

use muster_protocol::api::{ApiToken, Fleet, Namespace, Page};
use muster_protocol::problem::ProblemCode;
use reqwest::Method;
use serde_json::json;

use crate::pushes::push;
use crate::support::{Answer, Bench, Caller, eventually, fleet, queue};

const CLIENT: u8 = 0;
const DEPLOY: u8 = 1;
const ADMIN: u8 = 2;

/// The least role of every route that asks for a token. Ids and names are of things that are not there.
fn routes() -> Vec<(Method, &'static str, u8)> {
    use Method as M;
    let server = "/v1/servers/srv_01h455vb4pex5vsknk084sn02q";
    vec![
        (M::POST, "/v1/uploads", DEPLOY),
        (M::PUT, "/v1/uploads/upl_01h455vb4pex5vsknk084sn02q?offset=0", DEPLOY),
        (M::GET, "/v1/uploads/upl_01h455vb4pex5vsknk084sn02q", DEPLOY),
        (M::POST, "/v1/builds", DEPLOY),
        (M::GET, "/v1/builds", DEPLOY),
        (M::GET, "/v1/builds/none:1", DEPLOY),
        (M::GET, "/v1/fleets", DEPLOY),
        (M::PUT, "/v1/fleets/none", DEPLOY),
        (M::GET, "/v1/fleets/none", DEPLOY),
        (M::DELETE, "/v1/fleets/none", DEPLOY),
        (M::POST, "/v1/fleets/none/allocate", DEPLOY),
        (M::GET, "/v1/queues", DEPLOY),
        (M::PUT, "/v1/queues/none", DEPLOY),
        (M::GET, "/v1/queues/none", DEPLOY),
        (M::DELETE, "/v1/queues/none", DEPLOY),
        (M::GET, "/v1/queues/none/versions", DEPLOY),
        (M::GET, "/v1/queues/none/recording", DEPLOY),
        (M::DELETE, "/v1/queues/none/recording", DEPLOY),
        (M::POST, "/v1/queues/none/pause", DEPLOY),
        (M::POST, "/v1/queues/none/drain", DEPLOY),
        (M::POST, "/v1/queues/none/resume", DEPLOY),
        (M::GET, "/v1/servers", DEPLOY),
        (M::GET, server, DEPLOY),
        (M::POST, "/v1/servers/srv_01h455vb4pex5vsknk084sn02q/stop", DEPLOY),
        (M::GET, "/v1/servers/srv_01h455vb4pex5vsknk084sn02q/logs", DEPLOY),
        (M::GET, "/v1/workflows", DEPLOY),
        (M::GET, "/v1/workflows/fleet/none", DEPLOY),
        (M::POST, "/v1/workflows/fleet/none/pause", DEPLOY),
        (M::GET, "/v1/nodes", ADMIN),
        (M::GET, "/v1/edges", ADMIN),
        (M::GET, "/v1/edges/edge_01h455vb4pex5vsknk084sn02q/traffic", ADMIN),
        (M::GET, "/v1/regions", CLIENT),
        (M::GET, "/v1/regions/none/limits", ADMIN),
        (M::PUT, "/v1/regions/none/limits", ADMIN),
        (M::POST, "/v1/tickets", CLIENT),
        (M::GET, "/v1/tickets/tkt_01h455vb4pex5vsknk084sn02q", CLIENT),
        (M::DELETE, "/v1/tickets/tkt_01h455vb4pex5vsknk084sn02q", CLIENT),
        (M::POST, "/v1/tickets/tkt_01h455vb4pex5vsknk084sn02q/accept", CLIENT),
        (M::POST, "/v1/tickets/tkt_01h455vb4pex5vsknk084sn02q/decline", CLIENT),
        (M::GET, "/v1/tickets/tkt_01h455vb4pex5vsknk084sn02q/watch", CLIENT),
        (M::GET, "/v1/tickets/tkt_01h455vb4pex5vsknk084sn02q/explain", CLIENT),
        (M::POST, "/v1/lobbies", CLIENT),
        (M::GET, "/v1/lobbies", CLIENT),
        (M::POST, "/v1/lobbies/find", CLIENT),
        (M::GET, "/v1/lobbies/ABCDEF", CLIENT),
        (M::POST, "/v1/lobbies/ABCDEF/join", CLIENT),
        (M::POST, "/v1/servers/srv_01h455vb4pex5vsknk084sn02q/join", CLIENT),
        (M::POST, "/v1/tokens", ADMIN),
        (M::GET, "/v1/tokens", ADMIN),
        (M::DELETE, "/v1/tokens/tok_01h455vb4pex5vsknk084sn02q", ADMIN),
        (M::POST, "/v1/join-tokens", ADMIN),
        (M::PUT, "/v1/namespaces/some/where", ADMIN),
        (M::GET, "/v1/namespaces/no/where", ADMIN),
        (M::GET, "/v1/namespaces", ADMIN),
        (M::GET, "/v1/status", ADMIN),
        (M::GET, "/v1/backup", ADMIN),
        (M::GET, "/v1/builds/none/archive", DEPLOY),
    ]
}

async fn ask(caller: &Caller, method: &Method, path: &str) -> Answer {
    Answer::of(caller.request(method.clone(), path)).await
}

#[tokio::test]
async fn every_route_asks_for_its_role() {
    let bench = Bench::start().await;
    let callers = [
        bench.caller("client", "default/dev").await,
        bench.caller("deploy", "default/dev").await,
        bench.admin.clone(),
    ];
    let nobody = bench.admin.without_token();
    for (method, path, least) in routes() {
        ask(&nobody, &method, path).await.problem(ProblemCode::TokenMissing).await;
        for (role, caller) in (0u8..).zip(&callers) {
            let answer = ask(caller, &method, path).await;
            if role < least {
                let problem = answer.problem(ProblemCode::Forbidden).await;
                assert!(problem.fix.contains("--role"), "{}", problem.fix);
            } else {
                assert!(![401, 403].contains(&answer.status()), "{method} {path}: {}", answer.status());
            }
        }
    }
    bench.stop().await;
}

/// Every route of the document that asks for a token is in the matrix above, and the other way round.
#[tokio::test]
async fn the_matrix_has_every_route() {
    let bench = Bench::start().await;
    let document: serde_json::Value = bench.admin.get("/v1/openapi.json").await.ok().await;
    let mut documented = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let open = operation["security"].as_array().is_some_and(|security| security[0] == json!({}));
            if !open && path != "/metrics" {
                documented.push(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    let matrix: Vec<_> = routes();
    let fits = |entry: &(Method, &str, u8), route: &str| {
        let (method, pattern) = route.split_once(' ').expect("method and path");
        let path = entry.1.split('?').next().expect("a path");
        entry.0 == method
            && pattern.split('/').count() == path.split('/').count()
            && pattern.split('/').zip(path.split('/')).all(|(of, is)| of.starts_with('{') || of == is)
    };
    for route in &documented {
        assert!(matrix.iter().any(|entry| fits(entry, route)), "{route} has no row");
    }
    for entry in &matrix {
        assert!(documented.iter().any(|route| fits(entry, route)), "{entry:?} is not documented");
    }
    bench.stop().await;
}

#[tokio::test]
async fn another_namespace_is_invisible() {
    let bench = Bench::start().await;
    let admin = &bench.admin;
    for name in ["arena/prod", "other/prod"] {
        admin.put(&format!("/v1/namespaces/{name}"), json!(null)).await.done().await;
    }
    let (arena, other) =
        (bench.caller("deploy", "arena/prod").await, bench.caller("deploy", "other/prod").await);
    push(&arena, "arena:1").await;
    arena.put("/v1/fleets/arena", fleet("arena", "arena:1")).await.done().await;
    arena.put("/v1/queues/duel", queue("duel", "arena", 2)).await.done().await;
    let client = bench.caller("client", "arena/prod").await;
    let body = json!({"queue": "duel", "player": "ann"});
    let ticket: serde_json::Value = client.post("/v1/tickets", body).await.ok().await;
    let ticket = ticket["id"].as_str().expect("an id").to_owned();
    let server = eventually("a server", async || {
        let servers: serde_json::Value = arena.get("/v1/servers").await.ok().await;
        servers["items"][0]["id"].as_str().map(str::to_owned)
    })
    .await;

    for (path, code) in [
        ("/v1/fleets/arena".to_owned(), ProblemCode::FleetUnknown),
        ("/v1/queues/duel".to_owned(), ProblemCode::QueueUnknown),
        ("/v1/builds/arena:1".to_owned(), ProblemCode::BuildUnknown),
        (format!("/v1/tickets/{ticket}"), ProblemCode::TicketUnknown),
        (format!("/v1/servers/{server}"), ProblemCode::ServerUnknown),
        (format!("/v1/servers/{server}/logs"), ProblemCode::ServerUnknown),
    ] {
        arena.get(&path).await;
        other.get(&path).await.problem(code).await;
    }
    other.delete(&format!("/v1/tickets/{ticket}")).await.problem(ProblemCode::TicketUnknown).await;
    let stop = other.post(&format!("/v1/servers/{server}/stop"), json!(null)).await;
    stop.problem(ProblemCode::ServerUnknown).await;
    for list in ["/v1/fleets", "/v1/queues", "/v1/builds", "/v1/servers"] {
        let page: serde_json::Value = other.get(list).await.ok().await;
        assert_eq!(page["items"], json!([]), "{list}");
    }
    // A bound token does not reach over by naming the other, nor does it need to name its own.
    let reach = other.within(Some("arena/prod")).get("/v1/fleets").await;
    reach.problem(ProblemCode::Forbidden).await;
    let page: Page<Fleet> = arena.within(Some("arena/prod")).get("/v1/fleets").await.ok().await;
    assert_eq!(page.items.len(), 1);
    // A free token names one that is there.
    admin.within(None).get("/v1/fleets").await.problem(ProblemCode::NamespaceMissing).await;
    admin.within(Some("no/where")).get("/v1/fleets").await.problem(ProblemCode::NamespaceUnknown).await;
    admin.within(Some("nonsense")).get("/v1/fleets").await.problem(ProblemCode::InvalidRequest).await;
    let page: Page<Fleet> = admin.within(Some("arena/prod")).get("/v1/fleets").await.ok().await;
    assert_eq!(page.items.len(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn tokens_are_made_listed_revoked_and_expire() {
    let bench = Bench::start().await;
    let admin = &bench.admin;
    let request = json!({"role": "client", "namespace": "default/dev", "name": "game 1.2"});
    let made: ApiToken = admin.post("/v1/tokens", request).await.ok().await;
    let text = made.token.clone().expect("its text, once");
    let client = admin.with_token(&text).within(None);
    client.get("/v1/regions").await.done().await;
    let page: Page<ApiToken> = admin.get("/v1/tokens").await.ok().await;
    assert_eq!(page.items.len(), 2);
    assert!(page.items.iter().all(|token| token.token.is_none()));
    assert!(page.items.iter().any(|token| token.id == made.id && token.name == "game 1.2"));
    admin.delete(&format!("/v1/tokens/{}", made.id)).await.done().await;
    client.get("/v1/regions").await.problem(ProblemCode::TokenInvalid).await;
    let again = admin.delete(&format!("/v1/tokens/{}", made.id)).await;
    again.problem(ProblemCode::ApiTokenUnknown).await;
    // The last admin token cannot be sawn off.
    let own = page.items.iter().find(|token| token.id != made.id).expect("the first");
    admin.delete(&format!("/v1/tokens/{}", own.id)).await.problem(ProblemCode::Forbidden).await;

    let request = json!({"role": "client", "namespace": "default/dev", "ttl_s": 1});
    let short: ApiToken = admin.post("/v1/tokens", request).await.ok().await;
    let short = admin.with_token(&short.token.expect("its text")).within(None);
    eventually("the token to expire", async || {
        (short.get("/v1/regions").await.status() == 401).then_some(())
    })
    .await;
    let problem = short.get("/v1/regions").await.problem(ProblemCode::TokenExpired).await;
    assert!(problem.fix.contains("muster token create"));

    // Whatever else is shown as a token.
    let mut forged = text.clone();
    forged.replace_range(text.len() - 1.., if text.ends_with('0') { "1" } else { "0" });
    for wrong in [forged.as_str(), "nonsense", "mst_", "mst_01h455vb4pex5vsknk084sn02q_00"] {
        admin.with_token(wrong).get("/v1/regions").await.problem(ProblemCode::TokenInvalid).await;
    }
    let basic = admin.without_token().request(Method::GET, "/v1/regions").basic_auth("user", Some("pass"));
    Answer::of(basic).await.problem(ProblemCode::TokenMissing).await;

    for (body, field) in [
        (json!({"role": "client"}), "namespace"),
        (json!({"role": "client", "namespace": "x"}), "namespace"),
        (json!({"role": "admin", "ttl_s": 0}), "ttl_s"),
        (json!({"role": "root"}), "role"),
    ] {
        let problem = admin.post("/v1/tokens", body).await.problem(ProblemCode::InvalidRequest).await;
        assert!(problem.detail.contains(field), "wanted {field} in {}", problem.detail);
    }
    let body = json!({"role": "client", "namespace": "no/where"});
    admin.post("/v1/tokens", body).await.problem(ProblemCode::NamespaceUnknown).await;
    for body in
        [json!({"role": "agent", "region": "No!"}), json!({"role": "edge", "region": "eu", "ttl_s": 0})]
    {
        admin.post("/v1/join-tokens", body).await.problem(ProblemCode::InvalidRequest).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn an_admin_of_a_namespace_is_none_of_the_installation() {
    let bench = Bench::start().await;
    let bound = bench.caller("admin", "default/dev").await;
    bound.get("/v1/fleets").await.done().await;
    bound.get("/v1/regions").await.done().await;
    for path in ["/v1/tokens", "/v1/namespaces", "/v1/nodes", "/v1/edges", "/v1/status"] {
        bound.get(path).await.problem(ProblemCode::Forbidden).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn namespaces_are_made_once() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let made: Namespace = api.put("/v1/namespaces/arena/prod", json!(null)).await.ok().await;
    let again: Namespace = api.put("/v1/namespaces/arena/prod", json!(null)).await.ok().await;
    assert_eq!(made, again);
    let shown: Namespace = api.get("/v1/namespaces/arena/prod").await.ok().await;
    assert_eq!(shown, made);
    let page: Page<Namespace> = api.get("/v1/namespaces").await.ok().await;
    let names: Vec<&str> = page.items.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["arena/prod", "default/dev"]);
    api.get("/v1/namespaces/no/where").await.problem(ProblemCode::NamespaceUnknown).await;
    api.put("/v1/namespaces/Arena/prod", json!(null)).await.problem(ProblemCode::InvalidRequest).await;
    bench.stop().await;
}
