//! Starting and stopping an orchestrator as an operator does: what the first start leaves behind, that a
//! second finds it, and what each thing that can be wrong with a machine is told as.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use muster_orchestrator::config::{ApiTls, Config};
use muster_orchestrator::{Orchestrator, StartError, start};

fn config(data_dir: &Path) -> Config {
    let mut config = Config { data_dir: data_dir.to_owned(), ..Config::default() };
    config.api.listen = "127.0.0.1:0".parse().expect("an address");
    config.link.listen = "127.0.0.1:0".parse().expect("an address");
    config
}

fn client() -> reqwest::Client {
    // Another test of this process may have been first; there is only one provider to install.
    let provider = std::sync::Arc::unwrap_or_clone(muster_transport::provider());
    let _ = rustls::crypto::CryptoProvider::install_default(provider);
    reqwest::Client::new()
}

async fn failure(config: Config) -> StartError {
    match start(config, None).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

/// The namespaces that `token` is shown.
async fn namespaces(orchestrator: &Orchestrator, token: &str) -> (u16, String) {
    let url = format!("{}/v1/namespaces", orchestrator.api_url());
    let answer = client().get(url).bearer_auth(token).send().await.expect("answered");
    (answer.status().as_u16(), answer.text().await.expect("a body"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_start_makes_an_installation_and_the_next_goes_on_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("made").join("by the start");
    let orchestrator = start(config(&data_dir), None).await.expect("started");
    let token = std::fs::read_to_string(orchestrator.admin_token_path()).expect("written");
    let token = token.trim().to_owned();
    let (status, body) = namespaces(&orchestrator, &token).await;
    assert_eq!(status, 200);
    assert!(body.contains("default/dev"), "{body}");
    let authority = |orchestrator: &Orchestrator| {
        let url = format!("{}/v1/ca.pem", orchestrator.api_url());
        async move { client().get(url).send().await.expect("answered").text().await.expect("a body") }
    };
    let first = authority(&orchestrator).await;
    assert!(first.contains("BEGIN CERTIFICATE"), "{first}");
    orchestrator.shutdown().await;

    let orchestrator = start(config(&data_dir), None).await.expect("started again");
    assert_eq!(namespaces(&orchestrator, &token).await.0, 200);
    assert_eq!(authority(&orchestrator).await, first);
    orchestrator.shutdown().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let orchestrator = start(config(&data_dir), None).await.expect("started");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    assert_eq!(mode(&orchestrator.admin_token_path()), 0o600);
    orchestrator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_speaks_tls_of_its_own_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config(directory.path());
    config.api.tls = Some(ApiTls::Own);
    let orchestrator = start(config, None).await.expect("started");
    let url = orchestrator.api_url();
    assert!(url.starts_with("https://"), "{url}");
    let _ = client();
    let trusting_nobody = reqwest::Client::builder().tls_certs_only([]).build().expect("a client");
    let health = format!("{url}/healthz");
    let careless =
        reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().expect("a client");
    let authority = careless.get(format!("{url}/v1/ca.pem")).send().await.expect("answered");
    let authority = authority.text().await.expect("a body");
    assert!(trusting_nobody.get(&health).send().await.is_err(), "an unknown authority is not trusted");
    let authority = reqwest::Certificate::from_pem(authority.as_bytes()).expect("a certificate");
    let trusting = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
    assert_eq!(trusting.get(&health).send().await.expect("answered").status(), 200);
    orchestrator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_has_the_store() {
    let directory = tempfile::tempdir().expect("a directory");
    let orchestrator = start(config(directory.path()), None).await.expect("started");
    let error = failure(config(directory.path())).await;
    assert!(matches!(error, StartError::Store(_)), "{error}");
    assert!(error.to_string().contains("in use by another process; stop it"), "{error}");
    orchestrator.shutdown().await;
    start(config(directory.path()), None).await.expect("free again").shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_are_taken_are_named_and_leave_nothing_behind() {
    let directory = tempfile::tempdir().expect("a directory");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut on_tcp = config(directory.path());
    on_tcp.api.listen = tcp.local_addr().expect("bound");
    let error = failure(on_tcp.clone()).await.to_string();
    assert!(error.contains("api.listen") && error.contains("another port"), "{error}");

    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let mut on_udp = config(directory.path());
    on_udp.link.listen = udp.local_addr().expect("bound");
    let error = failure(on_udp.clone()).await;
    assert!(matches!(error, StartError::LinkTaken(_)), "{error}");
    assert!(error.to_string().contains("link.listen"), "{error}");

    drop((tcp, udp));
    start(on_tcp, None).await.expect("free again").shutdown().await;
    start(on_udp, None).await.expect("free again").shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_dir_that_cannot_be_one_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "a file, no directory").expect("written");
    let error = failure(config(&file.join("data"))).await;
    assert!(matches!(error, StartError::DataDir { .. }), "{error}");
    assert!(error.to_string().contains("data_dir") && error.to_string().contains("set"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_none_is_left_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = directory.path().join("store.redb");
    std::fs::write(&store, "not a store").expect("written");
    let error = failure(config(directory.path())).await;
    assert!(error.to_string().contains("damaged or not a store"), "{error}");
    assert_eq!(std::fs::read(&store).expect("there"), b"not a store");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_contradicts_itself_starts_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().join("data");
    let mut open = config(&data_dir);
    open.api.listen = "0.0.0.0:0".parse().expect("an address");
    let error = failure(open).await;
    assert!(matches!(error, StartError::Config(_)), "{error}");
    assert!(!data_dir.exists());
}
