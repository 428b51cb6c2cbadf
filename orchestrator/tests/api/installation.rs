//! The installation: health, status, CA, TLS, restarts.

use muster_orchestrator::config::ApiTls;
use muster_orchestrator::{Config, StartError};
use muster_protocol::api::{Namespace, Status};
use muster_protocol::problem::ProblemCode;
use serde_json::json;

use crate::support::{Bench, http};

#[tokio::test]
async fn anybody_may_ask_for_health_and_ca() {
    let bench = Bench::start().await;
    let nobody = bench.admin.without_token().within(None);
    let health = nobody.get("/healthz").await;
    assert_eq!((health.status(), health.0.text().await.expect("text").as_str()), (200, "ok\n"));
    let pem = nobody.get("/v1/ca.pem").await.0.text().await.expect("text");
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----"), "{pem}");
    // This process has no recorder, and says so instead of sending nothing.
    nobody.get("/metrics").await.problem(ProblemCode::NotFound).await;
    bench.stop().await;
}

#[tokio::test]
async fn requests_are_measured() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder();
    let handle = recorder.expect("no other test of this process installs one");
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
    config.api.listen = "127.0.0.1:0".parse().expect("an address");
    config.link.listen = "127.0.0.1:0".parse().expect("an address");
    let measured = muster_orchestrator::start(config, Some(handle)).await.expect("started");
    let bench = Bench::start().await;
    let mut nobody = bench.admin.without_token().within(None);
    nobody.url = measured.api_url();
    nobody.get("/v1/no/such/path").await.problem(ProblemCode::NotFound).await;
    nobody.get("/v1/fleets/arena").await.problem(ProblemCode::TokenMissing).await;
    let text = nobody.get("/metrics").await.0.text().await.expect("text");
    for line in [
        "# HELP muster_orchestrator_api_requests_total Requests answered",
        "muster_orchestrator_api_requests_total{method=\"GET\",route=\"none\",status=\"404\"}",
        "muster_orchestrator_api_requests_total{method=\"GET\",route=\"/v1/fleets/{name}\",status=\"401\"}",
        "muster_orchestrator_api_request_seconds",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    measured.shutdown().await;
    bench.stop().await;
}

#[tokio::test]
async fn behind_a_proxy_metrics_ask_for_a_token() {
    let bench = Bench::start_with(|config| config.api.insecure = true).await;
    bench.admin.without_token().get("/metrics").await.problem(ProblemCode::TokenMissing).await;
    let client = bench.caller("client", "default/dev").await;
    client.get("/metrics").await.problem(ProblemCode::Forbidden).await;
    bench.admin.get("/metrics").await.problem(ProblemCode::NotFound).await;
    bench.stop().await;
}

#[tokio::test]
async fn an_empty_installation_says_how_to_begin() {
    let bench = Bench::start().await;
    let status: Status = bench.admin.get("/v1/status").await.ok().await;
    assert_eq!((status.nodes, status.edges), (0, 0));
    assert!(status.problems[0].contains("muster token create --join agent"), "{:?}", status.problems);
    assert!(status.store.contains(&bench.data_dir().display().to_string()));
    bench.stop().await;
}

#[tokio::test]
async fn with_tls_the_own_ca_is_enough() {
    let bench = Bench::start_with(|config| config.api.tls = Some(ApiTls::Own)).await;
    assert!(bench.admin.url.starts_with("https://127.0.0.1:"), "{}", bench.admin.url);
    // The CA is needed to ask for the CA; an operator copies it, and here the store has it in a file's
    // place: the first connection trusts nobody and fails.
    let refused = bench.admin.request(reqwest::Method::GET, "/v1/status").send().await;
    assert!(refused.is_err(), "a certificate of an unknown CA was taken");
    let blind = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true).build();
    let blind = bench.admin.with_http(blind.expect("a client"));
    let pem = blind.get("/v1/ca.pem").await.0.text().await.expect("text");
    let trusting = bench.admin.with_http(http(Some(&pem)));
    trusting.get("/v1/status").await.done().await;
    bench.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
    config.api.listen = "127.0.0.1:0".parse().expect("an address");
    config.link.listen = "127.0.0.1:0".parse().expect("an address");
    let bench = Bench::start().await;
    let caller = |orchestrator: &muster_orchestrator::Orchestrator| {
        let token = std::fs::read_to_string(orchestrator.admin_token_path()).expect("the first token");
        let mut caller = bench.admin.with_token(token.trim());
        caller.url = orchestrator.api_url();
        caller
    };
    let first = muster_orchestrator::start(config.clone(), None).await.expect("started");
    let api = caller(&first);
    let made: Namespace = api.put("/v1/namespaces/arena/prod", json!(null)).await.ok().await;
    // Two on one store: the second is told.
    let taken = muster_orchestrator::start(config.clone(), None).await.err().expect("the store is in use");
    assert!(matches!(taken, StartError::Store(_)), "{taken}");
    first.shutdown().await;
    let second = muster_orchestrator::start(config, None).await.expect("started again");
    let found: Namespace = caller(&second).get("/v1/namespaces/arena/prod").await.ok().await;
    assert_eq!(found, made);
    second.shutdown().await;
    bench.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_names_the_way_out() {
    let bench = Bench::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
    config.api.listen = bench.orchestrator.api_addr();
    config.link.listen = "127.0.0.1:0".parse().expect("an address");
    let error = muster_orchestrator::start(config, None).await.err().expect("taken").to_string();
    assert!(error.contains("api.listen") && error.contains("another port"), "{error}");
    bench.stop().await;
}
