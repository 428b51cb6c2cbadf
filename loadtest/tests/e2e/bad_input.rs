//! Wrong input through API and command line alike: the same stable code, a way out, nothing lost.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use muster_client::{Client, ClientError, file_digest};
use muster_loadtest::harness::docker::{require_image, save};
use muster_loadtest::harness::specs::{arena_fleet, queue};
use muster_loadtest::harness::stack::{NAMESPACE, REGION, Stack};
use muster_loadtest::harness::steps::Steps;
use muster_loadtest::harness::wait::{Look, until};
use muster_protocol::api::{
    ApiTokenRequest, BuildRequest, EdgeLimits, FleetSpec, QueueSpec, Role, TicketRequest, TicketState,
    UploadRequest,
};
use muster_protocol::problem::ProblemCode;

use crate::support::{
    FLEET, IMAGE, QUEUE, admin_token, assert_refused, cli, muster, options, printed, referenced_build,
};

async fn orchestrator(name: &str) -> (Stack, String) {
    let stack = Stack::start_orchestrator(options(name), &mut Steps::silent()).await.expect("it starts");
    let token = admin_token(&stack);
    (stack, token)
}

fn file(stack: &Stack, name: &str, text: &str) -> String {
    file_of(stack, name, text.as_bytes())
}

fn file_of(stack: &Stack, name: &str, content: &[u8]) -> String {
    let path = stack.dir().join(name);
    std::fs::write(&path, content).expect("the test's directory is writable");
    path.display().to_string()
}

fn fleet(build: &str) -> FleetSpec {
    arena_fleet(FLEET, build, REGION, 0, 1)
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
    let missing = cli_without_token(&stack).await;
    assert!(missing.contains("--token") && missing.contains("admin-token"), "{missing}");
    let denied = stack.player.apply_fleet(&fleet("arena:test")).await.expect_err("players deploy nothing");
    assert_eq!(denied.code(), Some(ProblemCode::Forbidden));
}

/// What `muster status` says to one who shows no token.
async fn cli_without_token(stack: &Stack) -> String {
    let output = tokio::process::Command::new(muster())
        .args(["status", "--url", stack.url()])
        .current_dir(stack.dir())
        .output()
        .await
        .expect("muster runs");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_says_so() {
    let (stack, _) = orchestrator("expired-token").await;
    let request =
        ApiTokenRequest { role: Role::Admin, namespace: None, name: "for a second".into(), ttl_s: Some(1) };
    let token = stack.admin.create_token(&request).await.expect("made").token.expect("its text, once");
    let client = Client::new(stack.url(), Some(&token), Some(NAMESPACE), None).expect("valid");
    let api = until("the token to expire", Duration::from_secs(20), async || {
        Ok(match client.status().await {
            Ok(_) => Look::NotYet("it is still taken".to_owned()),
            Err(error) => Look::Holds(error),
        })
    });
    let api = api.await.expect("it expires");
    assert_refused(ProblemCode::TokenExpired, &api, &cli(&stack, &token, &["status"]).await);
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
    for port in [0, 65_536] {
        let mut spec = fleet("arena:test");
        spec.ports[0].port = port;
        let api = stack.studio.apply_fleet(&spec).await.expect_err("refused");
        let path = file(&stack, "port.toml", &toml::to_string(&spec).expect("a table"));
        let said = cli(&stack, &admin, &["fleet", "apply", "--file", &path]).await;
        assert_refused(ProblemCode::InvalidSpec, &api, &said);
        assert!(api.to_string().contains("ports[0].port"), "the field is named: {api}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_edges_name_the_wrong_prefix_and_stay_as_they_were() {
    let (stack, admin) = orchestrator("edge-limits").await;
    let set = async |text: &str| {
        let path = file(&stack, "limits.toml", text);
        cli(&stack, &admin, &["edges", "limits", "set", REGION, "--file", &path]).await
    };
    let good = "deny = [\"203.0.113.0/24\"]\naddress = { packets_per_s = 2000 }\n";
    let said = set(good).await;
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let wrong = EdgeLimits { allow: vec!["10.0.0.1/8".into()], ..EdgeLimits::default() };
    let api = stack.admin.set_edge_limits(REGION, &wrong).await.expect_err("refused");
    assert_refused(ProblemCode::InvalidSpec, &api, &set("allow = [\"10.0.0.1/8\"]").await);
    assert!(api.to_string().contains("allow[0]"), "{api}");
    let said = set("adress = { packets_per_s = 1 }").await;
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stderr).contains("adress"));
    let shown = printed(&stack, &["edges", "limits", "show", REGION]).await;
    assert!(shown.contains("2000 packets/s") && shown.contains("203.0.113.0/24"), "{shown}");
    printed(&stack, &["edges", "limits", "clear", REGION]).await;
    let shown = printed(&stack, &["edges", "limits", "show", REGION]).await;
    assert!(shown.contains("no limits"), "{shown}");
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
async fn a_push_that_broke_off_is_gone_on_with() {
    require_image(IMAGE).await.expect("`make test` sets up Docker and the image");
    let (stack, admin) = orchestrator("push-resumed").await;
    let path = stack.dir().join("arena.tar");
    save(IMAGE, &path).await.expect("saved");
    let content = std::fs::read(&path).expect("just written");
    let digest = file_digest(&path).await.expect("readable");
    let announced = UploadRequest { digest: digest.clone(), size_bytes: content.len() as u64 };
    let upload = stack.studio.create_upload(&announced).await.expect("taken");
    let part = Bytes::copy_from_slice(&content[..100_000]);
    stack.studio.put_chunk(&upload.id, 0, part).await.expect("taken");

    let archive = path.display().to_string();
    let push = cli(&stack, &admin, &["build", "push", &archive, "--tag", "arena:1"]).await;
    let told = String::from_utf8_lossy(&push.stderr).into_owned();
    assert!(push.status.success() && told.contains("an earlier push left"), "{told}");
    assert!(String::from_utf8_lossy(&push.stdout).contains(&digest));

    // An archive that was cut short on its way to this machine is no image.
    let cut = file_of(&stack, "cut.tar", &content[..content.len() / 2]);
    let digest = file_digest(Path::new(&cut)).await.expect("readable");
    stack.studio.upload_file(Path::new(&cut), &digest, |_| {}).await.expect("bytes are bytes");
    let request = BuildRequest { digest: Some(digest), reference: None, tags: vec!["arena:cut".into()] };
    let api = stack.studio.create_build(&request).await.expect_err("refused");
    let said = cli(&stack, &admin, &["build", "push", &cut, "--tag", "arena:cut"]).await;
    assert_refused(ProblemCode::ImageInvalid, &api, &said);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_nobody_serves_keeps_the_ticket_and_says_so() {
    let (stack, admin) = orchestrator("unserved-region").await;
    referenced_build(&stack).await;
    let spec = arena_fleet(FLEET, "arena:test", "mars-north", 1, 2);
    stack.studio.apply_fleet(&spec).await.expect("a region may be served later");
    let spec: QueueSpec = queue(QUEUE, FLEET, 1);
    stack.studio.apply_queue(&spec).await.expect("taken");
    let request = TicketRequest::new(QUEUE, "ann");
    let ticket = stack.player.create_ticket(&request).await.expect("acknowledged");
    let ticket = until("the ticket to say what it waits for", Duration::from_secs(20), async || {
        let ticket = stack.player.ticket(&ticket.id).await?;
        let told = ticket.explanation.contains("mars-north");
        Ok(if told { Look::Holds(ticket) } else { Look::NotYet(ticket.explanation) })
    });
    let ticket = ticket.await.expect("it says so");
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
