//! Disaster and recovery: a backup brings an installation back, nodes and all; what is damaged is named and left.

use std::path::{Path, PathBuf};
use std::process::Output;

use muster_loadtest::bots::Protocols;
use muster_loadtest::harness::specs::queue;
use muster_loadtest::harness::stack::{NAMESPACE, Stack};
use muster_protocol::problem::ProblemCode;

use crate::play::play;
use crate::support::{
    BUILD, FLEET, MATCH_PLAYERS, QUEUE, admin_token, cli, muster, open_for_players, options, stack,
};

/// The program on its own, in the stack's directory.
async fn run(stack: &Stack, args: &[&str]) -> Output {
    let command = tokio::process::Command::new(muster()).args(args).current_dir(stack.dir()).output().await;
    command.expect("muster runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's paths are text")
}

/// The file with one bit changed in every copy of what a row holds. A place picked by its number may hold nothing
/// that is used, where no reader has to notice it.
fn one_bit_flipped(file: &[u8], row: &[u8]) -> Vec<u8> {
    let mut flipped = file.to_vec();
    let places: Vec<usize> = (0..file.len() - row.len()).filter(|at| file[*at..].starts_with(row)).collect();
    assert!(!places.is_empty(), "the store holds what is to be damaged");
    for at in places {
        flipped[at] ^= 1;
    }
    flipped
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_whose_disk_died_comes_back_from_its_backup() {
    if std::env::var_os("MUSTER_TEST_STORE").is_some() {
        println!("SKIPPED: a cluster is backed up by its own means");
        return;
    }
    let mut stack = stack(options("backup")).await;
    open_for_players(&stack).await;
    let token = admin_token(&stack);
    let data_dir: PathBuf = stack.dir().join("state/orchestrator");
    let file = stack.dir().join("state/everything.backup");
    succeeded(&cli(&stack, &token, &["backup", "take", text(&file)]).await);
    let again = cli(&stack, &token, &["backup", "take", text(&file)]).await;
    assert!(!again.status.success() && said(&again).contains("is there already"), "{}", said(&again));
    let running = run(&stack, &["doctor", "--data-dir", text(&data_dir)]).await;
    assert!(said(&running).contains("an orchestrator has it open"), "{}", said(&running));

    // The disk dies, with the store and the builds.
    stack.orchestrators[0].kill9().await.expect("killed");
    std::fs::remove_dir_all(&data_dir).expect("removed");
    let into = ["--data-dir", text(&data_dir)];
    let restored = run(&stack, &["backup", "restore", text(&file), into[0], into[1]]).await;
    assert!(succeeded(&restored).contains("archives missing  none"), "{}", said(&restored));
    let twice = run(&stack, &["backup", "restore", text(&file), into[0], into[1]]).await;
    assert!(!twice.status.success() && said(&twice).contains("not empty"), "{}", said(&twice));
    succeeded(&run(&stack, &["store", "check", into[0], into[1]]).await);

    // Agent and edge find the installation they joined; the fleet is warm, and players play.
    stack.orchestrators[0].restart().expect("started");
    stack.wait_for_orchestrator(0).await.expect("it comes back");
    stack.wait_for_node().await.expect("the node is back");
    stack.wait_for_edge().await.expect("the edge is back");
    stack.wait_for_warm(FLEET).await.expect("the fleet is warm");
    play(&stack, 4, Protocols::Mix).await;

    // A namespace goes into another one, builds and all.
    let part = stack.dir().join("state/arena.backup");
    succeeded(&cli(&stack, &token, &["backup", "take", "--only", NAMESPACE, text(&part)]).await);
    let whole = cli(&stack, &token, &["backup", "restore", text(&file), "--into", "arena/copy"]).await;
    assert!(!whole.status.success() && said(&whole).contains("backup is of everything"), "{}", said(&whole));
    let copied = cli(&stack, &token, &["backup", "restore", text(&part), "--into", "arena/copy"]).await;
    assert!(succeeded(&copied).contains("definitions"), "{}", said(&copied));
    let copy = stack.admin.with_namespace("arena/copy").expect("a namespace");
    assert_eq!(copy.builds(None).await.expect("listed").items[0].tags, [BUILD]);
    let spec = copy.queue(QUEUE).await.expect("restored").spec;
    assert_eq!(spec, queue(QUEUE, FLEET, MATCH_PLAYERS));
    copy.delete_queue(QUEUE).await.expect("deleted");
    copy.delete_fleet(FLEET).await.expect("deleted");
    stack.stop(&[FLEET]).await.expect("nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_named_with_its_fix_and_left_as_it_is() {
    if std::env::var_os("MUSTER_TEST_STORE").is_some() {
        println!("SKIPPED: a cluster's files are not ours");
        return;
    }
    let mut stack =
        Stack::start_orchestrator(options("doctor"), &mut muster_loadtest::harness::steps::Steps::silent())
            .await
            .expect("it starts");
    let token = admin_token(&stack);
    let denied = stack.studio.backup().await.expect_err("a backup holds every secret");
    assert_eq!(denied.code(), Some(ProblemCode::Forbidden));
    let file = stack.dir().join("state/good.backup");
    succeeded(&cli(&stack, &token, &["backup", "take", text(&file)]).await);
    stack.orchestrators[0].stop(std::time::Duration::from_secs(15)).await.expect("stopped");
    let good = stack.dir().join("state/orchestrator/store.redb");
    let healthy = run(&stack, &["doctor", "--data-dir", text(good.parent().expect("a directory"))]).await;
    assert!(said(&healthy).contains("and all agree"), "{}", said(&healthy));

    let bytes = std::fs::read(&good).expect("readable");
    let cases = [
        ("truncated", bytes[..bytes.len() / 2].to_vec()),
        ("flipped", one_bit_flipped(&bytes, b"Muster CA")),
        ("foreign", b"not a store at all".to_vec()),
    ];
    for (name, content) in cases {
        let dir = stack.dir().join("state").join(name);
        std::fs::create_dir_all(&dir).expect("made");
        let store = dir.join("store.redb");
        std::fs::write(&store, &content).expect("written");
        let output = run(&stack, &["doctor", "--data-dir", text(&dir)]).await;
        assert!(!output.status.success(), "{name}: {}", said(&output));
        assert!(said(&output).contains("restore it from a backup"), "{name}: {}", said(&output));
        assert!(std::fs::read(&store).expect("readable") == content, "{name}: the file was changed");
    }
    let unreachable = run(&stack, &["doctor", "--store", "fdb:/nowhere/fdb.cluster"]).await;
    let words = said(&unreachable);
    assert!(!unreachable.status.success(), "{words}");
    assert!(words.contains("--features foundationdb") || words.contains("/nowhere/fdb.cluster"), "{words}");

    // Backups that are none.
    let taken = std::fs::read(&file).expect("readable");
    let empty = stack.dir().join("state/empty");
    for (name, content) in [("cut", &taken[..taken.len() - 1]), ("other", b"hello".as_slice())] {
        let path = stack.dir().join("state").join(name);
        std::fs::write(&path, content).expect("written");
        let output = run(&stack, &["backup", "restore", text(&path), "--data-dir", text(&empty)]).await;
        assert!(!output.status.success(), "{name}: {}", said(&output));
        assert!(!empty.exists(), "{name}: something was made");
    }
}
