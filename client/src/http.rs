//! The plumbing every call shares: URL, token, namespace, problem documents. Knows no resource.

use std::time::Duration;

use futures_util::StreamExt as _;
use muster_protocol::api::is_namespace;
use muster_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use crate::{ByteStream, ClientError, ConfigError};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept on which nothing is asked: less than the 15 s that the orchestrator gives a new one for
/// its first request, so that none is used just as it is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call may take, its answer included, beyond what it asked to wait.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer that is read whole, in bytes: the largest page of the API is far below.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Longest piece of a strange answer that is quoted in an error, in characters.
const MAX_QUOTE_CHARS: usize = 200;

/// A client of one orchestrator with one token. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    namespace: Option<String>,
}

impl Client {
    /// A client of the orchestrator at `url` (`http://host:port`, `https://host:port`).
    ///
    /// `token` is an API token; without one only what needs none can be called. `namespace`
    /// (`game/environment`) is needed with admin tokens, which are bound to none. `authority_pem` is
    /// the CA to trust, and then the only one; without it the system's are trusted.
    pub fn new(
        url: &str,
        token: Option<&str>,
        namespace: Option<&str>,
        authority_pem: Option<&[u8]>,
    ) -> Result<Self, ConfigError> {
        let base = base_url(url)?;
        if let Some(namespace) = namespace
            && !is_namespace(namespace)
        {
            return Err(ConfigError::Namespace(namespace.to_owned()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| ConfigError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        use_a_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .tcp_nodelay(true)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(pem) = authority_pem {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| ConfigError::Authority(error.to_string()))?;
            if certificates.is_empty() {
                return Err(ConfigError::Authority("it holds none".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        } else if base.scheme() == "http" {
            // Plain HTTP must work on a machine that has no CA certificates at all.
            builder = builder.tls_certs_only([]);
        }
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ConfigError::Setup(error.to_string()))?;
        Ok(Self { http, base, namespace: namespace.map(str::to_owned) })
    }

    /// The URL calls go to.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The namespace sent with every call, if any.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The same client, token and trust included, of another orchestrator of the same installation.
    ///
    /// # Errors
    /// As [`Client::new`], if `url` is none.
    pub fn at(&self, url: &str) -> Result<Self, ConfigError> {
        Ok(Self { base: base_url(url)?, ..self.clone() })
    }

    /// The same client, connections and token included, for another namespace.
    pub fn with_namespace(&self, namespace: &str) -> Result<Self, ConfigError> {
        if !is_namespace(namespace) {
            return Err(ConfigError::Namespace(namespace.to_owned()));
        }
        Ok(Self { namespace: Some(namespace.to_owned()), ..self.clone() })
    }

    /// A request to `/v1/…segments`, each segment encoded.
    pub(crate) fn call(&self, method: Method, segments: &[&str]) -> Call {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("base_url admits only http and https URLs, which have paths")
            .pop_if_empty()
            .push("v1")
            .extend(segments);
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("namespace", namespace);
        }
        let what = format!("{method} {}", without_query(&url));
        Call { request: self.http.request(method, url).timeout(CALL_TIMEOUT), what }
    }
}

/// A request being made, with the words to name it by in errors.
pub(crate) struct Call {
    request: RequestBuilder,
    what: String,
}

impl Call {
    pub(crate) fn query<Q: serde::Serialize + ?Sized>(mut self, query: &Q) -> Self {
        self.request = self.request.query(query);
        self
    }

    pub(crate) fn json<B: serde::Serialize + ?Sized>(mut self, body: &B) -> Self {
        self.request = self.request.json(body);
        self
    }

    pub(crate) fn bytes(mut self, body: bytes::Bytes) -> Self {
        self.request = self.request.header(CONTENT_TYPE, "application/octet-stream").body(body);
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.request = self.request.timeout(timeout);
        self
    }

    /// Sends; the answer if it is a success, its problem otherwise.
    pub(crate) async fn send(self) -> Result<(String, Response), ClientError> {
        let Self { request, what } = self;
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(ClientError::transport(what, &error)),
        };
        if response.status().is_success() {
            return Ok((what, response));
        }
        Err(refusal(what, response).await)
    }

    /// Sends, and reads the answer as a `T`.
    pub(crate) async fn read<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let (what, response) = self.send().await?;
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => return Err(ClientError::transport(what, &error)),
            };
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                let reason = format!("it is longer than {MAX_ANSWER_BYTES} bytes");
                return Err(ClientError::Decode { what, reason });
            }
            body.extend_from_slice(&piece);
        }
        serde_json::from_slice(&body)
            .map_err(|error| ClientError::Decode { what, reason: format!("{error}: {}", quote(&body)) })
    }

    /// Sends; the answer's bytes as they come.
    pub(crate) async fn stream(self) -> Result<ByteStream, ClientError> {
        let (what, response) = self.send().await?;
        let pieces = response.bytes_stream();
        let pieces =
            pieces.map(move |piece| piece.map_err(|error| ClientError::transport(what.clone(), &error)));
        Ok(ByteStream(Box::pin(pieces)))
    }

    /// Sends, and reads the answer as text.
    pub(crate) async fn text(self) -> Result<String, ClientError> {
        let (what, response) = self.send().await?;
        response.text().await.map_err(|error| ClientError::transport(what, &error))
    }

    /// Sends, and lets go of whatever the answer holds.
    pub(crate) async fn done(self) -> Result<(), ClientError> {
        self.send().await.map(|_| ())
    }
}

async fn refusal(what: String, response: Response) -> ClientError {
    let status = response.status();
    let is_problem = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with(PROBLEM_MEDIA_TYPE));
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return ClientError::transport(what, &error),
    };
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if is_problem => ClientError::Problem(Box::new(problem)),
        _ => ClientError::Decode {
            what,
            reason: format!("{status} without a problem document: {}", quote(&body)),
        },
    }
}

fn quote(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut quoted: String = text.chars().take(MAX_QUOTE_CHARS).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    format!("{quoted:?}")
}

fn base_url(text: &str) -> Result<Url, ConfigError> {
    let refuse = |reason: String| ConfigError::Url { url: text.to_owned(), reason };
    let url = Url::parse(text.trim()).map_err(|error| refuse(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(refuse(format!("{:?} is not a scheme of this API", url.scheme())));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a query or a fragment".to_owned()));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// rustls has no provider of its own; one that the program chose is left alone.
fn use_a_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race means that another thread has just installed one.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_cannot_work_are_refused_with_the_fix() {
        for url in ["localhost:7600", "ftp://host", "", "http://host/?x=1"] {
            let error = Client::new(url, None, None, None).expect_err(url);
            assert!(error.to_string().contains("http://host:port"), "{error}");
        }
    }

    #[test]
    fn a_bad_token_or_namespace_or_ca_is_refused_before_anything_is_sent() {
        assert!(matches!(Client::new("http://h", Some("a\nb"), None, None), Err(ConfigError::Token)));
        assert!(matches!(Client::new("http://h", None, Some("arena"), None), Err(ConfigError::Namespace(_))));
        let no_pem = Client::new("https://h", None, None, Some(b"no certificate"));
        assert!(matches!(no_pem, Err(ConfigError::Authority(_))));
    }

    #[test]
    fn paths_are_encoded_and_carry_the_namespace() {
        let client = Client::new("http://h:1/base/", None, Some("arena/prod"), None).expect("valid");
        let call = client.call(Method::GET, &["fleets", "a b/c"]);
        assert_eq!(call.what, "GET http://h:1/base/v1/fleets/a%20b%2Fc");
        let url = call.request.build().expect("valid").url().clone();
        assert_eq!(url.query(), Some("namespace=arena%2Fprod"));
    }

    #[test]
    fn no_page_to_continue_from_adds_nothing_to_the_query() {
        let client = Client::new("http://h:1", None, None, None).expect("valid");
        for (after, query) in [(None, None), (Some("x"), Some("after=x"))] {
            let call = client.call(Method::GET, &["fleets"]).query(&after.map(|after| [("after", after)]));
            let url = call.request.build().expect("valid").url().clone();
            assert_eq!(url.query().filter(|query| !query.is_empty()), query);
        }
    }

    #[test]
    fn loopback_is_recognised_in_every_spelling() {
        for url in ["http://localhost:1", "http://127.0.0.1", "http://[::1]:2"] {
            assert!(is_loopback(&Url::parse(url).expect("valid")), "{url}");
        }
        assert!(!is_loopback(&Url::parse("http://example.com").expect("valid")));
    }

    #[test]
    fn quotes_are_bounded() {
        assert!(quote("x".repeat(10_000).as_bytes()).chars().count() < MAX_QUOTE_CHARS + 10);
    }
}
