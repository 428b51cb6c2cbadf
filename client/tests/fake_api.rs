//! The client against a server that misbehaves on purpose: what the real one rarely does.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use futures_util::StreamExt;
use muster_client::{Client, ClientError, file_digest};
use muster_protocol::api::{LogsQuery, MAX_CHUNK_BYTES, Upload};
use muster_protocol::id::{ServerId, UploadId};
use muster_protocol::problem::{PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use tokio::net::TcpListener;
use tokio::sync::Notify;

async fn serve(router: Router) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(&url, Some("mst_x_y"), Some("arena/prod"), None).expect("valid")
}

fn problem(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).expect("a status");
    let body = serde_json::to_string(problem).expect("plain data");
    (status, [(header::CONTENT_TYPE, PROBLEM_MEDIA_TYPE)], body).into_response()
}

/// An upload that is hindered: what it holds, and which requests it has seen.
#[derive(Default)]
struct Hindered {
    held: Vec<u8>,
    size_bytes: u64,
    chunks: u32,
}

type Shared = Arc<Mutex<Hindered>>;

fn upload(hindered: &Hindered) -> Response {
    let upload = Upload {
        id: UploadId::new(),
        digest: "sha256:00".into(),
        size_bytes: hindered.size_bytes,
        received_bytes: hindered.held.len() as u64,
    };
    axum::Json(upload).into_response()
}

#[derive(serde::Deserialize)]
struct Offset {
    offset: u64,
}

async fn chunk(State(state): State<Shared>, Query(at): Query<Offset>, body: Bytes) -> Response {
    let mut hindered = state.lock().expect("no test panics with it");
    hindered.chunks += 1;
    let held = hindered.held.len() as u64;
    match hindered.chunks {
        // It has the chunk, but the answer is lost: the client must ask, not send it twice.
        2 => {
            hindered.held.extend_from_slice(&body);
            let full = Problem::new(ProblemCode::StoreUnavailable, "The store is away", "Try again.");
            problem(&full.retry_after(1))
        }
        _ if at.offset != held => {
            problem(&Problem::new(ProblemCode::UploadOffset, "Not there", "Go on where it stands."))
        }
        _ => {
            hindered.held.extend_from_slice(&body);
            upload(&hindered)
        }
    }
}

fn uploads(state: Shared) -> Router {
    let show = async |State(state): State<Shared>| upload(&state.lock().expect("no test panics with it"));
    Router::new()
        .route("/v1/uploads", post(show))
        .route("/v1/uploads/{id}", put(chunk).get(show))
        .layer(axum::extract::DefaultBodyLimit::max(2 * MAX_CHUNK_BYTES))
        .with_state(state)
}

#[tokio::test]
async fn an_upload_goes_on_after_a_lost_answer_and_arrives_whole() {
    let content: Vec<u8> = (0..2 * MAX_CHUNK_BYTES + 1_000).map(|i| (i % 251) as u8).collect();
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("image.tar");
    std::fs::write(&path, &content).expect("written");
    let state = Shared::default();
    state.lock().expect("unshared").size_bytes = content.len() as u64;
    let client = serve(uploads(Arc::clone(&state))).await;
    let digest = file_digest(&path).await.expect("readable");
    let mut steps = Vec::new();
    let done = client.upload_file(&path, &digest, |step| steps.push(step.received_bytes)).await;
    assert_eq!(done.expect("arrives").received_bytes, content.len() as u64);
    let hindered = state.lock().expect("no test panics with it");
    assert!(hindered.held == content, "{} of {} bytes, or others", hindered.held.len(), content.len());
    assert_eq!(hindered.chunks, 3, "nothing was sent twice");
    assert_eq!(steps.last(), Some(&(content.len() as u64)));
}

#[tokio::test]
async fn what_cannot_pass_by_itself_is_not_repeated() {
    let refuse =
        async || problem(&Problem::new(ProblemCode::Forbidden, "Not with this token", "Use another."));
    let state = Shared::default();
    state.lock().expect("unshared").size_bytes = 3;
    let show = async |State(state): State<Shared>| upload(&state.lock().expect("no test panics with it"));
    let router = Router::new()
        .route("/v1/uploads", post(show))
        .route("/v1/uploads/{id}", put(refuse))
        .with_state(state);
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("image.tar");
    std::fs::write(&path, b"abc").expect("written");
    let error = serve(router).await.upload_file(&path, "sha256:00", |_| {}).await.expect_err("refused");
    assert_eq!(error.code(), Some(ProblemCode::Forbidden));
}

#[tokio::test]
async fn something_else_than_an_orchestrator_is_told_as_such() {
    let page = async || (StatusCode::BAD_GATEWAY, "<html>proxy</html>");
    let odd = async || "{\"version\": 1}";
    let router = Router::new().route("/v1/nodes", get(page)).route("/v1/status", get(odd));
    let client = serve(router).await;
    let error = client.nodes(None).await.expect_err("a proxy's page");
    assert!(matches!(&error, ClientError::Decode { .. }), "{error:?}");
    assert!(error.to_string().contains("502") && error.to_string().contains("proxy"), "{error}");
    let error = client.status().await.expect_err("not a status");
    assert!(matches!(error, ClientError::Decode { .. }), "{error:?}");
}

#[tokio::test]
async fn a_log_comes_piece_by_piece_and_its_break_is_an_error() {
    // The break comes only once the client has read what was before it.
    let read = Arc::new(Notify::new());
    let broken = Arc::clone(&read);
    let log = async move || {
        let pieces = futures_util::stream::iter([Ok("one\n"), Ok("two\n")]);
        let end = futures_util::stream::once(async move {
            broken.notified().await;
            Err(std::io::Error::other("the agent is gone"))
        });
        Body::from_stream(pieces.chain(end))
    };
    let client = serve(Router::new().route("/v1/servers/{id}/logs", get(log))).await;
    let query = LogsQuery { follow: true, tail: 10 };
    let mut stream = client.logs(&ServerId::new(), &query).await.expect("opens");
    let (mut text, mut broke) = (String::new(), false);
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => {
                text.push_str(&String::from_utf8_lossy(&piece));
                if text.len() == "one\ntwo\n".len() {
                    read.notify_one();
                }
            }
            Err(error) => broke = matches!(error, ClientError::Transport { .. }),
        }
    }
    assert_eq!(text, "one\ntwo\n");
    assert!(broke, "an end that is none must not look like one");
}
