//! What the tests begin from: a stack in a directory of its own, a fleet, a queue, bots.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use muster_client::ClientError;
use muster_loadtest::bot::Way;
use muster_loadtest::bots::{BotsPlan, Protocols};
use muster_loadtest::harness::docker::require_image;
use muster_loadtest::harness::specs::{arena_fleet, queue};
use muster_loadtest::harness::stack::{NAMESPACE, REGION, Stack, StackOptions};
use muster_loadtest::harness::steps::Steps;
use muster_protocol::api::BuildRequest;
use muster_protocol::problem::ProblemCode;

/// The example game server's image, as `make test` builds it.
pub(crate) const IMAGE: &str = "muster-example/arena:latest";
pub(crate) const FLEET: &str = "arena";
pub(crate) const QUEUE: &str = "quick";
/// The build that [`stack`] pushes.
pub(crate) const BUILD: &str = "arena:test";
/// Players of one match.
pub(crate) const MATCH_PLAYERS: u32 = 4;

/// The program under test, from the build that this test is of.
pub(crate) fn muster() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its program");
    let debug = test.parent().and_then(|deps| deps.parent()).expect("tests are built in <profile>/deps");
    let muster = debug.join(format!("muster{}", std::env::consts::EXE_SUFFIX));
    assert!(
        muster.is_file(),
        "{} is not built; `make test` builds it first, as does `cargo build -p muster-cli`",
        muster.display()
    );
    muster
}

/// A stack for the test `name`, with logs under the build directory.
pub(crate) fn options(name: &str) -> StackOptions {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e").join(name);
    // Set by scripts/test-fdb.sh, which runs these tests over a cluster.
    let store = std::env::var("MUSTER_TEST_STORE").ok();
    StackOptions { cpu_millis: Some(8_000), store, ..StackOptions::new(muster(), dir) }
}

/// Orchestrator, agent and edge, with the example's build pushed.
pub(crate) async fn stack(options: StackOptions) -> Stack {
    require_image(IMAGE).await.expect("`make test` sets up Docker and the image");
    let stack = Stack::start(options, &mut Steps::silent()).await.expect("the stack starts");
    stack.push_image(IMAGE, BUILD).await.expect("the image is pushed");
    stack
}

/// A warm fleet, and a queue for it.
pub(crate) async fn open_for_players(stack: &Stack) {
    let fleet = arena_fleet(FLEET, BUILD, REGION, 2, 8);
    stack.apply_fleet(&fleet).await.expect("the fleet becomes warm");
    stack.apply_queue(&queue(QUEUE, FLEET, MATCH_PLAYERS)).await.expect("the queue is taken");
}

/// Bots for that queue.
pub(crate) fn bots(stack: &Stack, players: usize, protocols: Protocols, seconds: u64) -> BotsPlan {
    BotsPlan {
        client: stack.player.clone(),
        way: Way::Queue(QUEUE.to_owned()),
        players,
        protocols,
        play: Duration::from_secs(seconds),
        rate: 20.0,
        pad: String::new(),
        match_deadline: Duration::from_mins(2),
        authority_pem: None,
    }
}

/// Runs `muster ARGS` against the stack, with `token`.
pub(crate) async fn cli(stack: &Stack, token: &str, args: &[&str]) -> Output {
    tokio::process::Command::new(muster())
        .args(args)
        .args(["--url", stack.url(), "--namespace", NAMESPACE, "--token", token])
        .current_dir(stack.dir())
        .output()
        .await
        .expect("muster runs")
}

/// The first admin token of the stack's orchestrator.
pub(crate) fn admin_token(stack: &Stack) -> String {
    let path = stack.dir().join("state/orchestrator/admin-token");
    std::fs::read_to_string(path).expect("written at the first start").trim().to_owned()
}

/// What `muster ARGS` prints, as an operator reads it.
pub(crate) async fn printed(stack: &Stack, args: &[&str]) -> String {
    let output = cli(stack, &admin_token(stack), args).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// What both ways have to say.
pub(crate) fn assert_refused(code: ProblemCode, api: &ClientError, cli: &Output) {
    assert_eq!(api.code(), Some(code), "{api}");
    let ClientError::Problem(problem) = api else { unreachable!("it has a code") };
    assert!(!problem.fix.is_empty(), "{problem:?} names no fix");
    let said = String::from_utf8_lossy(&cli.stderr);
    assert!(!cli.status.success(), "{said}");
    assert!(said.contains(code.as_str()) && said.contains(&problem.fix), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

/// A build without an image behind it: enough to be named.
pub(crate) async fn referenced_build(stack: &Stack) {
    let request = BuildRequest {
        digest: None,
        reference: Some("registry.example/arena:1".into()),
        tags: vec!["arena:test".into()],
    };
    stack.studio.create_build(&request).await.expect("a reference is taken as it is");
}
