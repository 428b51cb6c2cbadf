//! The OpenAPI document against the routes.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::Value;

use crate::support::{Answer, Bench};

/// Every route there is. The document is made from the handlers' annotations, so what could be wrong is
/// a handler that was never registered, or one that was registered without them.
const ROUTES: &[&str] = &[
    "DELETE /v1/fleets/{name}",
    "DELETE /v1/queues/{name}",
    "DELETE /v1/queues/{name}/recording",
    "DELETE /v1/tickets/{id}",
    "DELETE /v1/tokens/{id}",
    "GET /healthz",
    "GET /metrics",
    "GET /v1/backup",
    "GET /v1/builds",
    "GET /v1/builds/{build}",
    "GET /v1/builds/{build}/archive",
    "GET /v1/ca.pem",
    "GET /v1/edges",
    "GET /v1/edges/{edge}/traffic",
    "GET /v1/fleets",
    "GET /v1/fleets/{name}",
    "GET /v1/lobbies",
    "GET /v1/lobbies/{lobby}",
    "GET /v1/namespaces",
    "GET /v1/namespaces/{game}/{environment}",
    "GET /v1/nodes",
    "GET /v1/openapi.json",
    "GET /v1/queues",
    "GET /v1/queues/{name}",
    "GET /v1/queues/{name}/recording",
    "GET /v1/queues/{name}/versions",
    "GET /v1/regions",
    "GET /v1/regions/{region}/limits",
    "GET /v1/servers",
    "GET /v1/servers/{id}",
    "GET /v1/servers/{id}/logs",
    "GET /v1/status",
    "GET /v1/tickets/{id}",
    "GET /v1/tickets/{id}/explain",
    "GET /v1/tickets/{id}/watch",
    "GET /v1/tokens",
    "GET /v1/uploads/{id}",
    "GET /v1/workflows",
    "GET /v1/workflows/{kind}/{key}",
    "POST /v1/builds",
    "POST /v1/fleets/{name}/allocate",
    "POST /v1/join-tokens",
    "POST /v1/lobbies",
    "POST /v1/lobbies/find",
    "POST /v1/lobbies/{lobby}/join",
    "POST /v1/queues/{name}/drain",
    "POST /v1/queues/{name}/pause",
    "POST /v1/queues/{name}/resume",
    "POST /v1/servers/{id}/join",
    "POST /v1/servers/{id}/stop",
    "POST /v1/tickets",
    "POST /v1/tickets/{id}/accept",
    "POST /v1/tickets/{id}/decline",
    "POST /v1/tokens",
    "POST /v1/uploads",
    "POST /v1/workflows/{kind}/{key}/{action}",
    "PUT /v1/fleets/{name}",
    "PUT /v1/namespaces/{game}/{environment}",
    "PUT /v1/queues/{name}",
    "PUT /v1/regions/{region}/limits",
    "PUT /v1/uploads/{id}",
];

#[tokio::test]
async fn the_document_has_every_route_and_every_route_answers() {
    let bench = Bench::start().await;
    let nobody = bench.admin.without_token().within(None);
    let document: Value = nobody.get("/v1/openapi.json").await.ok().await;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")));
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let route = format!("{} {path}", method.to_uppercase());
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"]["schema"];
            assert_eq!(problem["$ref"], "#/components/schemas/Problem", "{route}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{route}");
            assert!(operation["responses"].as_object().is_some_and(|all| all.len() == 2), "{route}");

            // Without a token nothing is done, and only a path that is none gives 404, a method 405.
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let status = Answer::of(nobody.request(method, &path.replace(['{', '}'], ""))).await.status();
            assert!(![404, 405].contains(&status) || path == "/metrics", "{route}: {status}");
            documented.insert(route);
        }
    }
    let expected: BTreeSet<String> = ROUTES.iter().map(ToString::to_string).collect();
    assert_eq!(documented, expected);
    bench.stop().await;
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    let bench = Bench::start().await;
    let document: Value = bench.admin.get("/v1/openapi.json").await.ok().await;
    let mut references = BTreeSet::new();
    collect(&document, &mut references);
    assert!(references.len() > 30, "{references:?}");
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    bench.stop().await;
}

fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field {
                    Value::String(reference) if name == "$ref" => {
                        references.insert(reference.clone());
                    }
                    other => collect(other, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

#[tokio::test]
async fn parameters_that_handlers_read_are_documented() {
    let bench = Bench::start().await;
    let document: Value = bench.admin.get("/v1/openapi.json").await.ok().await;
    for (method, path, names) in [
        ("put", "/v1/uploads/{id}", vec!["id", "namespace", "offset"]),
        ("get", "/v1/servers", vec!["after", "fleet", "limit", "namespace", "region", "state"]),
        ("get", "/v1/servers/{id}/logs", vec!["follow", "id", "namespace", "tail"]),
        ("post", "/v1/servers/{id}/stop", vec!["force", "id", "namespace"]),
        ("get", "/v1/tickets/{id}", vec!["id", "namespace", "state", "wait_s"]),
        ("get", "/v1/nodes", vec!["after", "limit"]),
    ] {
        let parameters = document["paths"][path][method]["parameters"].as_array().expect("parameters");
        let documented: BTreeSet<&str> =
            parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
        assert_eq!(documented, names.into_iter().collect(), "{method} {path}");
    }
    bench.stop().await;
}
