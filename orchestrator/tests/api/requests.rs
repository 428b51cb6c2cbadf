//! Requests that no route takes as they are: every answer is a problem document.

use muster_protocol::problem::ProblemCode;
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, Bench};

#[tokio::test]
async fn whatever_is_asked_the_answer_is_a_problem_document() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    api.get("/v1/nonsense").await.problem(ProblemCode::NotFound).await;
    api.get("/").await.problem(ProblemCode::NotFound).await;
    api.get("/v1/fleets/").await.problem(ProblemCode::NotFound).await;
    api.delete("/v1/status").await.problem(ProblemCode::MethodNotAllowed).await;
    Answer::of(api.request(Method::PATCH, "/v1/fleets/arena"))
        .await
        .problem(ProblemCode::MethodNotAllowed)
        .await;
    Answer::of(api.request(Method::from_bytes(b"BREW").expect("a method"), "/v1/fleets"))
        .await
        .problem(ProblemCode::MethodNotAllowed)
        .await;

    // Bodies: none, not JSON, not marked as JSON, cut short, too large.
    let post = || api.request(Method::POST, "/v1/tickets");
    Answer::of(post()).await.problem(ProblemCode::InvalidRequest).await;
    let json_type = ("content-type", "application/json");
    for body in ["", "{", "[]", "nonsense", "{\"queue\":1}"] {
        let request = post().header(json_type.0, json_type.1).body(body);
        Answer::of(request).await.problem(ProblemCode::InvalidRequest).await;
    }
    let unmarked = post().body(json!({"queue": "duel", "player": "ann"}).to_string());
    let problem = Answer::of(unmarked).await.problem(ProblemCode::InvalidRequest).await;
    assert!(problem.fix.contains("Content-Type"));
    let large = post().header(json_type.0, json_type.1).body(vec![b' '; 2 * 1024 * 1024]);
    Answer::of(large).await.problem(ProblemCode::TooLarge).await;

    // Ids of another kind, and text that is none.
    let node = muster_protocol::id::NodeId::new();
    for id in [node.to_string().as_str(), "nonsense", "srv_"] {
        api.get(&format!("/v1/servers/{id}")).await.problem(ProblemCode::InvalidRequest).await;
    }
    let server = muster_protocol::id::ServerId::new();
    api.get(&format!("/v1/servers/{server}")).await.problem(ProblemCode::ServerUnknown).await;
    api.get(&format!("/v1/servers/{server}/logs")).await.problem(ProblemCode::ServerUnknown).await;
    let stop = api.post(&format!("/v1/servers/{server}/stop"), json!(null)).await;
    stop.problem(ProblemCode::ServerUnknown).await;
    for query in ["follow=maybe", "tail=-1", "lines=3"] {
        let answer = api.get(&format!("/v1/servers/{server}/logs?{query}")).await;
        answer.problem(ProblemCode::InvalidRequest).await;
    }
    bench.stop().await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let bench = Bench::start().await;
    // Chunked, so that no length announces it.
    let stream = futures_util::stream::iter((0..64).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 * 1024])));
    let request = bench
        .admin
        .request(Method::POST, "/v1/tickets")
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(stream));
    // The answer may come before the body is sent, and the connection end with it: either is a refusal.
    match request.send().await {
        Ok(response) => {
            Answer(response).problem(ProblemCode::TooLarge).await;
        }
        Err(error) => assert!(error.is_request() || error.is_body(), "{error}"),
    }
    bench.admin.get("/v1/status").await.done().await;
    bench.stop().await;
}
