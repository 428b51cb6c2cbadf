//! A disk that is really full: a small tmpfs, filled to the last byte.
//!
//! Needs the right to mount. Where it is missing the test says so and checks nothing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use muster_protocol::api::{Fleet, Page, Upload};
use muster_protocol::problem::ProblemCode;
use serde_json::json;

use crate::pushes::{digest, image};
use crate::support::{Bench, fleet};

/// More changes than fit the disk.
const MANY: usize = 2_000;

struct Mounted(PathBuf);

impl Mounted {
    fn tmpfs(at: &Path) -> Option<Self> {
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=16m", "muster-api-test"]).arg(at).output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                eprintln!("SKIPPED, NOTHING CHECKED: mount: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("SKIPPED, NOTHING CHECKED: mount: {error}");
                None
            }
        }
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

#[tokio::test]
async fn a_full_disk_is_said_and_what_was_acknowledged_stays() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(_mounted) = Mounted::tmpfs(directory.path()) else { return };
    let bench = Bench::start_with(|config| config.data_dir = directory.path().to_owned()).await;
    let api = &bench.admin;
    let body = json!({"reference": "registry.example/arena:1", "tags": ["arena:1"]});
    api.post("/v1/builds", body).await.done().await;
    let bytes = image("full");
    let announced = json!({"digest": digest(&bytes), "size_bytes": bytes.len()});
    let begun: Upload = api.post("/v1/uploads", announced).await.ok().await;
    let chunk = format!("/v1/uploads/{}?offset=0", begun.id);
    let ballast = directory.path().join("ballast");
    fill(&ballast);

    // A chunk that does not fit is refused whole.
    let problem = api.put_bytes(&chunk, bytes.clone()).await.problem(ProblemCode::StoreFull).await;
    assert!(problem.fix.contains("data_dir"), "{}", problem.fix);
    let upload: Upload = api.get(&format!("/v1/uploads/{}", begun.id)).await.ok().await;
    assert_eq!(upload.received_bytes, 0);

    // The store has some room of its own; once that is used up it says so.
    let mut acknowledged = Vec::new();
    let mut problem = None;
    for number in 0..MANY {
        let name = format!("arena-{number:04}");
        let mut spec = fleet(&name, "arena:1");
        spec["env"] = json!({"PADDING": "x".repeat(40_000)});
        let answer = api.put(&format!("/v1/fleets/{name}"), spec).await;
        if answer.status() != 200 {
            problem = Some(answer.problem(ProblemCode::StoreFull).await);
            break;
        }
        acknowledged.push(name);
    }
    let problem = problem.expect("the disk is full before the changes are over");
    assert!(problem.fix.contains("data_dir") && problem.retry_after_s.is_some(), "{problem:?}");
    // Reading goes on, and what was acknowledged is there.
    let page: Page<Fleet> = api.get("/v1/fleets?limit=1000").await.ok().await;
    let there: Vec<String> = page.items.into_iter().map(|fleet| fleet.spec.name).collect();
    assert_eq!(there, acknowledged);

    // With room again, the same requests pass.
    std::fs::remove_file(&ballast).expect("removed");
    api.put_bytes(&chunk, bytes.clone()).await.done().await;
    api.post("/v1/builds", json!({"digest": digest(&bytes)})).await.done().await;
    api.put("/v1/fleets/last", fleet("last", "arena:1")).await.done().await;
    bench.stop().await;
}
