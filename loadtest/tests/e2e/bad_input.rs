//! Wrong input through API and command line alike: the same stable code, a way out, nothing lost.

use std::path::Path;
use std::process::Output;

use bytes::Bytes;
use muster_client::{Client, ClientError, file_digest};
use muster_loadtest::harness::specs::{arena_fleet, queue};
use muster_loadtest::harness::stack::{NAMESPACE, REGION, Stack};
use muster_loadtest::harness::steps::Steps;
use muster_loadtest::report::write_file;
use muster_protocol::api::{BuildRequest, FleetSpec, QueueSpec, TicketRequest, TicketState, UploadRequest};
use muster_protocol::problem::ProblemCode;

use crate::support::{FLEET, QUEUE, admin_token, cli, options};

/// What both ways have to say.
fn assert_refused(code: ProblemCode, api: &ClientError, cli: &Output) {
    assert_eq!(api.code(), Some(code), "{api}");
    let ClientError::Problem(problem) = api else { unreachable!("it has a code") };
    assert!(!problem.fix.is_empty(), "{problem:?} names no fix");
    let said = String::from_utf8_lossy(&cli.stderr);
    assert!(!cli.status.success(), "{said}");
    assert!(said.contains(code.as_str()) && said.contains(&problem.fix), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

async fn orchestrator(name: &str) -> (Stack, String) {
    let stack = Stack::start_orchestrator(options(name), &mut Steps::silent()).await.expect("it starts");
    let token = admin_token(&stack);
    (stack, token)
}

fn file(stack: &Stack, name: &str, text: &str) -> String {
    let path = stack.dir().join(name);
    write_file(&path, text).expect("the test's directory is writable");
    path.display().to_string()
}

fn fleet(build: &str) -> FleetSpec {
    arena_fleet(FLEET, build, REGION, 0, 1)
}

/// A build without an image behind it: enough to be named.
async fn referenced_build(stack: &Stack) {
    let request = BuildRequest {
        digest: None,
        reference: Some("registry.example/arena:1".into()),
        tags: vec!["arena:test".into()],
    };
    stack.studio.create_build(&request).await.expect("a reference is taken as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_from_a_missing_one() {
    let (stack, admin) = orchestrator("wrong-token").await;
    let forged = format!("{}x", &admin[..admin.len() - 1]);
    for token in ["nonsense", forged.as_str()] {
        let client = Client::new(stack.url(), Some(token), Some(NAMESPACE), None).expect("it can be sent");
        let api = client.status().await.expect_err("refused");
        assert_refused(ProblemCode::TokenInvalid, &api, &cli(&stack, token, &["status"]).await);
    }
    let nobody = Client::new(stack.url(), None, Some(NAMESPACE), None).expect("no token is no error here");
    assert_eq!(nobody.status().await.expect_err("refused").code(), Some(ProblemCode::TokenMissing));
    let denied = stack.player.apply_fleet(&fleet("arena:test")).await.expect_err("players deploy nothing");
    assert_eq!(denied.code(), Some(ProblemCode::Forbidden));
}

#[tokio::test(flavor = "multi_thread")]
async fn fleets_and_queues_name_what_is_there() {
    let (stack, admin) = orchestrator("unknown-names").await;
    let spec = fleet("arena:none");
    let api = stack.studio.apply_fleet(&spec).await.expect_err("refused");
    let path = file(&stack, "fleet.toml", &toml::to_string(&spec).expect("a table"));
    let said = cli(&stack, &admin, &["fleet", "apply", "--file", &path]).await;
    assert_refused(ProblemCode::BuildUnknown, &api, &said);

    let spec = queue(QUEUE, "nowhere", 2);
    let api = stack.studio.apply_queue(&spec).await.expect_err("refused");
    let path = file(&stack, "queue.toml", &toml::to_string(&spec).expect("a table"));
    let said = cli(&stack, &admin, &["queue", "apply", "--file", &path]).await;
    assert_refused(ProblemCode::FleetUnknown, &api, &said);

    referenced_build(&stack).await;
    let mut spec = fleet("arena:test");
    spec.ports[0].port = 0;
    let api = stack.studio.apply_fleet(&spec).await.expect_err("refused");
    let path = file(&stack, "port.toml", &toml::to_string(&spec).expect("a table"));
    let said = cli(&stack, &admin, &["fleet", "apply", "--file", &path]).await;
    assert_refused(ProblemCode::InvalidSpec, &api, &said);
    assert!(api.to_string().contains("ports[0].port"), "the field is named: {api}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_and_a_truncated_upload_goes_on() {
    let (stack, admin) = orchestrator("bad-uploads").await;
    let path = file(&stack, "image.tar", "this is no archive");
    let digest = file_digest(Path::new(&path)).await.expect("readable");
    stack.studio.upload_file(Path::new(&path), &digest, |_| {}).await.expect("bytes are bytes");
    let request = BuildRequest { digest: Some(digest), reference: None, tags: vec!["arena:bad".into()] };
    let api = stack.studio.create_build(&request).await.expect_err("refused");
    let said = cli(&stack, &admin, &["build", "push", &path, "--tag", "arena:bad"]).await;
    assert_refused(ProblemCode::ImageInvalid, &api, &said);

    // Half of it arrives. It is not a build yet, and nothing of the half is lost.
    let path = file(&stack, "half.tar", &"half of this arrives; ".repeat(1_000));
    let content = std::fs::read(&path).expect("just written");
    let (size, half) = (content.len() as u64, content.len() / 2);
    let digest = file_digest(Path::new(&path)).await.expect("readable");
    let announced = UploadRequest { digest: digest.clone(), size_bytes: size };
    let upload = stack.studio.create_upload(&announced).await.expect("taken");
    let sent = stack.studio.put_chunk(&upload.id, 0, Bytes::copy_from_slice(&content[..half])).await;
    assert_eq!(sent.expect("taken").received_bytes, half as u64);
    let request = BuildRequest { digest: Some(digest.clone()), reference: None, tags: vec![] };
    let early = stack.studio.create_build(&request).await.expect_err("refused");
    assert_eq!(early.code(), Some(ProblemCode::UploadIncomplete), "{early}");
    let gap =
        stack.studio.put_chunk(&upload.id, size - 1, Bytes::from_static(b"x")).await.expect_err("refused");
    assert_eq!(gap.code(), Some(ProblemCode::UploadOffset), "{gap}");
    let mut began_at = None;
    let whole = stack.studio.upload_file(Path::new(&path), &digest, |step| {
        began_at.get_or_insert(step.received_bytes);
    });
    assert_eq!(whole.await.expect("the rest is taken").received_bytes, size);
    assert_eq!(began_at, Some(half as u64), "it goes on where it stopped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_nobody_serves_keeps_the_ticket_and_says_so() {
    let (stack, admin) = orchestrator("unserved-region").await;
    referenced_build(&stack).await;
    let spec = arena_fleet(FLEET, "arena:test", "mars-north", 1, 2);
    stack.studio.apply_fleet(&spec).await.expect("a region may be served later");
    let spec: QueueSpec = queue(QUEUE, FLEET, 1);
    stack.studio.apply_queue(&spec).await.expect("taken");
    let request = TicketRequest { queue: QUEUE.into(), player: "ann".into(), latencies_ms: [].into() };
    let ticket = stack.player.create_ticket(&request).await.expect("acknowledged");
    let ticket = muster_loadtest::harness::wait::until(
        "the ticket to say what it waits for",
        std::time::Duration::from_secs(20),
        async || {
            use muster_loadtest::harness::wait::Look;
            let ticket = stack.player.ticket(&ticket.id).await?;
            let told = ticket.explanation.contains("mars-north");
            Ok(if told { Look::Holds(ticket) } else { Look::NotYet(ticket.explanation) })
        },
    )
    .await
    .expect("it says so");
    assert_eq!(ticket.state, TicketState::Searching, "it is not lost");
    let said = cli(&stack, &admin, &["ticket", "create", QUEUE, "--wait", "1"]).await;
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(!said.status.success() && text.contains("mars-north"), "{text}");
    let waiting = stack.studio.queue(QUEUE).await.expect("there").waiting_for;
    assert!(waiting.iter().any(|reason| reason.contains("mars-north")), "{waiting:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_with_what_to_check() {
    let port = muster_loadtest::harness::ports::free_tcp().expect("one is free");
    let url = format!("http://127.0.0.1:{port}");
    let client = Client::new(&url, Some("mst_x_y"), Some(NAMESPACE), None).expect("valid");
    let error = client.status().await.expect_err("nobody listens");
    assert!(matches!(error, ClientError::Transport { unsent: true, .. }), "{error:?}");
    assert!(error.to_string().contains("Check that the orchestrator runs"), "{error}");
}
