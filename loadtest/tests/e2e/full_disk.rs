//! An orchestrator's disk that is really full: a small tmpfs, filled to the last byte, logs and all.
//!
//! Needs the right to mount. Where it is missing the test says so and checks nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_client::{ClientError, file_digest};
use muster_loadtest::harness::docker::{require_image, save};
use muster_loadtest::harness::specs::arena_fleet;
use muster_loadtest::harness::stack::{REGION, Stack};
use muster_loadtest::harness::steps::Steps;
use muster_loadtest::report::write_file;
use muster_protocol::api::{FleetSpec, UploadRequest};
use muster_protocol::problem::ProblemCode;

use crate::support::{IMAGE, admin_token, assert_refused, cli, options, printed, referenced_build};

/// Size of the disk, in MiB: room for the store and the example's image.
const DISK_MIB: u32 = 64;
/// More changes than fit the disk.
const MANY: usize = 2_000;

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a directory to mount at");
        let size = format!("size={DISK_MIB}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "muster-e2e"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => Self::skipped(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => Self::skipped(&error.to_string()),
        }
    }

    fn skipped(why: &str) -> Option<Self> {
        assert!(std::env::var_os("CI").is_none(), "nothing is skipped on CI: mount: {why}");
        eprintln!("SKIPPED, NOTHING CHECKED: mount: {why}");
        None
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn fill(path: &Path) {
    let mut file = File::create(path).expect("a name still fits");
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// A fleet whose record takes room.
fn large_fleet(number: usize) -> FleetSpec {
    let mut spec = arena_fleet(&format!("arena-{number:04}"), "arena:test", REGION, 0, 1);
    spec.env.insert("PADDING".to_owned(), "x".repeat(40_000));
    spec
}

/// Applies fleets until the store has no room: those it acknowledged, the one it refused, and why.
async fn fill_store(stack: &Stack) -> (Vec<String>, FleetSpec, ClientError) {
    let mut acknowledged = Vec::new();
    for number in 0..MANY {
        let spec = large_fleet(number);
        match stack.studio.apply_fleet(&spec).await {
            Ok(fleet) => acknowledged.push(fleet.spec.name),
            Err(error) => return (acknowledged, spec, error),
        }
    }
    panic!("{MANY} fleets fit the disk");
}

async fn fleets(stack: &Stack) -> Vec<String> {
    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = stack.studio.fleets(after.as_deref()).await.expect("reading goes on");
        names.extend(page.items.into_iter().map(|fleet| fleet.spec.name));
        after = page.next;
        if after.is_none() {
            return names;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_said_and_what_was_acknowledged_stays() {
    require_image(IMAGE).await.expect("`make test` sets up Docker and the image");
    let options = options("full-disk");
    let Some(_mounted) = Mounted::tmpfs(&options.dir) else { return };
    let elsewhere = options.dir.with_extension("tar");
    save(IMAGE, &elsewhere).await.expect("the image is saved beside the disk");
    let archive = elsewhere.display().to_string();
    let stack = Stack::start_orchestrator(options, &mut Steps::silent()).await.expect("it starts");
    let admin = admin_token(&stack);
    referenced_build(&stack).await;
    let ballast = stack.dir().join("ballast");
    fill(&ballast);

    // A chunk that does not fit is refused whole, and told alike.
    let digest = file_digest(&elsewhere).await.expect("readable");
    let api = stack.studio.upload_file(&elsewhere, &digest, |_| {}).await.expect_err("refused");
    let push = ["build", "push", archive.as_str(), "--tag", "arena:1"];
    assert_refused(ProblemCode::StoreFull, &api, &cli(&stack, &admin, &push).await);
    let size_bytes = std::fs::metadata(&elsewhere).expect("there").len();
    let begun = UploadRequest { digest: digest.clone(), size_bytes };
    match stack.studio.create_upload(&begun).await {
        Ok(begun) => assert_eq!(begun.received_bytes, 0),
        // Where the store had no room of its own either, it was not begun.
        Err(error) => assert_eq!(error.code(), Some(ProblemCode::StoreFull)),
    }

    // The store has some room of its own; once that is used up it says so.
    let (acknowledged, refused, api) = fill_store(&stack).await;
    let text = toml::to_string(&refused).expect("a table");
    let file = elsewhere.with_extension("toml");
    write_file(&file, &text).expect("the test's directory is writable");
    let apply = ["fleet", "apply", "--file", file.to_str().expect("UTF-8")];
    assert_refused(ProblemCode::StoreFull, &api, &cli(&stack, &admin, &apply).await);
    let ClientError::Problem(problem) = &api else { unreachable!("it has a code") };
    assert!(problem.fix.contains("data_dir") && problem.retry_after_s.is_some(), "{problem:?}");
    // Reading goes on, and what was acknowledged is there.
    assert_eq!(fleets(&stack).await, acknowledged);

    // With room again, the same commands pass.
    std::fs::remove_file(&ballast).expect("removed");
    assert!(printed(&stack, &apply).await.contains(&refused.name));
    assert!(printed(&stack, &push).await.contains("arena:1"));
}
