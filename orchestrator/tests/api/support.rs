//! An orchestrator to ask, and how to ask it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use muster_orchestrator::{Config, Orchestrator};
use muster_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// How long anything may take before a test gives up.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// The namespace that is there from the start.
pub(crate) const NAMESPACE: &str = "default/dev";
/// The region of every test.
pub(crate) const REGION: &str = "local";

/// A running orchestrator with its first admin token.
pub(crate) struct Bench {
    pub(crate) orchestrator: Orchestrator,
    pub(crate) admin: Caller,
    directory: tempfile::TempDir,
}

/// One token's view of the API.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) token: Option<String>,
    /// Sent as `?namespace=` with every request, if set.
    pub(crate) namespace: Option<String>,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        config.api.listen = "127.0.0.1:0".parse().expect("an address");
        config.link.listen = "127.0.0.1:0".parse().expect("an address");
        change(&mut config);
        let orchestrator = muster_orchestrator::start(config, None).await.expect("started");
        let token = std::fs::read_to_string(orchestrator.admin_token_path()).expect("the first token");
        let admin = Caller {
            http: http(None),
            url: orchestrator.api_url(),
            token: Some(token.trim().to_owned()),
            namespace: Some(NAMESPACE.to_owned()),
        };
        Self { orchestrator, admin, directory }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// A caller with a new token of `role`, bound to `namespace`.
    pub(crate) async fn caller(&self, role: &str, namespace: &str) -> Caller {
        let made: Value =
            self.admin.post("/v1/tokens", json!({"role": role, "namespace": namespace})).await.ok().await;
        let token = made["token"].as_str().expect("the token's text").to_owned();
        Caller { token: Some(token), namespace: None, ..self.admin.clone() }
    }

    pub(crate) async fn stop(self) {
        self.orchestrator.shutdown().await;
    }
}

/// A client that trusts `authority` (PEM), or nobody.
pub(crate) fn http(authority: Option<&str>) -> reqwest::Client {
    // Losing the race means that another test has just installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = authority
        .map(|pem| reqwest::Certificate::from_pem_bundle(pem.as_bytes()).expect("PEM"))
        .unwrap_or_default();
    reqwest::Client::builder().no_proxy().tls_certs_only(certificates).build().expect("a client")
}

impl Caller {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).timeout(DEADLINE);
        if let Some(namespace) = &self.namespace {
            request = request.query(&[("namespace", namespace)]);
        }
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub(crate) fn with_http(&self, http: reqwest::Client) -> Self {
        Self { http, ..self.clone() }
    }

    pub(crate) fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn within(&self, namespace: Option<&str>) -> Self {
        Self { namespace: namespace.map(str::to_owned), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        Answer::of(self.request(Method::PUT, path).json(&body)).await
    }

    pub(crate) async fn put_bytes(&self, path: &str, body: Vec<u8>) -> Answer {
        Answer::of(self.request(Method::PUT, path).body(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::DELETE, path)).await
    }
}

/// What came back.
pub(crate) struct Answer(pub(crate) Response);

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self(request.send().await.expect("an answer"))
    }

    pub(crate) fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    /// The body of a success.
    pub(crate) async fn ok<T: DeserializeOwned>(self) -> T {
        let status = self.status();
        let body = self.0.text().await.expect("a body");
        assert!((200..300).contains(&status), "{status}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// A success without a body.
    pub(crate) async fn done(self) {
        let status = self.status();
        let body = self.0.text().await.expect("a body");
        assert!((200..300).contains(&status), "{status}: {body}");
    }

    /// The problem document of a failure, which must be whole and of `code`.
    pub(crate) async fn problem(self, code: ProblemCode) -> Problem {
        let status = self.status();
        let media = self.0.headers().get("content-type").cloned();
        let retry = self.0.headers().get("retry-after").cloned();
        let url = self.0.url().clone();
        let body = self.0.text().await.expect("a body");
        let problem: Problem =
            serde_json::from_str(&body).unwrap_or_else(|error| panic!("{url}: {status} {error}: {body}"));
        assert_eq!(problem.code, code, "{url}: {body}");
        assert_eq!(media.expect("a media type"), PROBLEM_MEDIA_TYPE, "{url}");
        assert_eq!((status, problem.status), (code.status(), code.status()), "{url}");
        assert_eq!(problem.kind, format!("urn:muster:problem:{}", code.as_str()));
        assert_eq!(retry.is_some(), problem.retry_after_s.is_some(), "{url}");
        assert!(!problem.detail.is_empty() && !problem.fix.is_empty(), "{url}: {body}");
        problem
    }
}

/// Asks `probe` until it answers, failing the test if that takes longer than [`DEADLINE`].
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A fleet of `build`, which is a tag or digest.
pub(crate) fn fleet(name: &str, build: &str) -> Value {
    json!({
        "name": name,
        "build": build,
        "ports": [
            {"name": "game", "protocol": "udp", "port": 7777},
            {"name": "web", "protocol": "ws", "port": 7778, "tls": true},
            {"name": "free", "protocol": "tcp", "port": 7779, "token": "open"},
        ],
        "regions": {REGION: {"warm": 1, "max": 4}},
        "limits": {"cpu_millis": 100, "memory_mib": 64},
    })
}

/// A queue of `players` for `fleet`.
pub(crate) fn queue(name: &str, fleet: &str, players: u32) -> Value {
    json!({"name": name, "fleet": fleet, "players": players})
}
