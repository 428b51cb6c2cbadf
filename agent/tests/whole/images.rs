//! How images come to the node.

use muster_protocol::agent::{BuildRef, ServerPhase, ServerSpec};

use crate::game;
use crate::node::{Node, docker, image};

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_transfer_goes_on_where_it_broke_off() {
    let node = Node::new();
    let length = node.build.archive.len();
    node.orchestrator.cut_transfers_after(&[length / 2, length / 4]);
    let _agent = node.start().await;
    let two = [node.spec(&[]), node.spec(&[])];
    node.run(&two).await;
    let digest = node.build.reference.digest.clone();
    // One transfer for both servers, in three pieces.
    let expected = [0, length / 2, length / 2 + length / 4].map(|offset| (offset as u64, digest.clone()));
    assert_eq!(node.orchestrator.heard().blob_requests, expected);
    let names = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "muster/build"]);
    assert!(names.lines().any(|name| name == image(&node.build.reference)), "{names}");
    let left: Vec<_> = std::fs::read_dir(node.config.state_dir.join("images"))
        .expect("made")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.strip_suffix(".part").is_some())
        .collect();
    assert!(left.is_empty(), "archives stay after they are loaded: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_that_are_no_images_fail_with_their_mend() {
    let node = Node::new();
    let junk = game::of_archive(b"this is no image".repeat(1_000));
    node.orchestrator.offer(&junk.reference.digest, junk.archive.clone());
    let swapped = game::of_archive(b"announced".to_vec());
    node.orchestrator.offer(&swapped.reference.digest, b"something else".to_vec());
    let _agent = node.start().await;
    let with = |build: BuildRef| ServerSpec { build: Some(build), ..node.spec(&[]) };
    let unknown = with(BuildRef { digest: game::digest(b"never pushed"), ..Default::default() });
    let unreachable = with(BuildRef { reference: "127.0.0.1:1/nothing/here:1".into(), ..Default::default() });
    let (junk, swapped) = (with(junk.reference), with(swapped.reference));
    node.orchestrator.want([&junk, &swapped, &unknown, &unreachable].into_iter().cloned().collect());
    for (spec, code, fix) in [
        (&junk, "image_invalid", "docker save"),
        (&swapped, "image_fetch_failed", "push the build again"),
        (&unknown, "image_fetch_failed", "push it again"),
        (&unreachable, "image_fetch_failed", "muster build push"),
    ] {
        let failure = node.phase(spec, ServerPhase::Failed).await.failure.expect("failed for a reason");
        assert_eq!(failure.code, code, "{}", failure.detail);
        assert!(failure.detail.contains(fix), "{}", failure.detail);
    }
    assert_eq!(node.containers(), Vec::<String>::new());
}
