//! Uploads and builds: pushing, resuming, and everything that is no image.

use muster_protocol::api::{Build, MAX_CHUNK_BYTES, Page, Upload};
use muster_protocol::problem::ProblemCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{Bench, Caller};

/// The digest of `bytes`, as text.
pub(crate) fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn tar_of(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, bytes.as_slice()).expect("in memory");
    }
    tar.into_inner().expect("in memory")
}

/// An archive as `docker save` writes it; `salt` makes each another.
pub(crate) fn image(salt: &str) -> Vec<u8> {
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": {"Labels": {"salt": salt}},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": null, "Layers": ["layer.tar"]}]);
    tar_of(&[
        ("manifest.json", manifest.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", vec![7; 20_000]),
    ])
}

/// Sends all of `bytes` as one upload, without registering it.
pub(crate) async fn upload(caller: &Caller, bytes: &[u8]) -> String {
    let digest = digest(bytes);
    let begun: Upload =
        caller.post("/v1/uploads", json!({"digest": digest, "size_bytes": bytes.len()})).await.ok().await;
    let path = format!("/v1/uploads/{}?offset={}", begun.id, begun.received_bytes);
    let rest = bytes[begun.received_bytes as usize..].to_vec();
    let done: Upload = caller.put_bytes(&path, rest).await.ok().await;
    assert_eq!(done.received_bytes, bytes.len() as u64);
    digest
}

/// Pushes an image with `tag`; its digest.
pub(crate) async fn push(caller: &Caller, tag: &str) -> String {
    let digest = upload(caller, &image(tag)).await;
    let build: Build = caller.post("/v1/builds", json!({"digest": digest, "tags": [tag]})).await.ok().await;
    assert_eq!(build.platform, "linux/amd64");
    digest
}

#[tokio::test]
async fn an_image_is_pushed_found_and_tagged() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let first = push(api, "arena:1").await;
    for name in [first.as_str(), "arena:1"] {
        let build: Build = api.get(&format!("/v1/builds/{name}")).await.ok().await;
        assert_eq!((build.digest.as_str(), build.tags), (first.as_str(), vec!["arena:1".to_owned()]));
        assert_eq!(build.size_bytes, image("arena:1").len() as u64);
    }
    // The tag moves to the next build; the same request again changes nothing.
    let second = upload(api, &image("another")).await;
    for _ in 0..2 {
        let body = json!({"digest": second, "tags": ["arena:1", "arena:latest"]});
        let build: Build = api.post("/v1/builds", body).await.ok().await;
        assert_eq!(build.tags.len(), 2);
    }
    let build: Build = api.get("/v1/builds/arena:1").await.ok().await;
    assert_eq!(build.digest, second);
    let build: Build = api.get(&format!("/v1/builds/{first}")).await.ok().await;
    assert!(build.tags.is_empty());
    // A registry reference needs no upload.
    let body = json!({"reference": "registry.example/arena:2", "tags": ["arena:2"]});
    let build: Build = api.post("/v1/builds", body).await.ok().await;
    assert_eq!(build.reference.as_deref(), Some("registry.example/arena:2"));

    let page: Page<Build> = api.get("/v1/builds?limit=2").await.ok().await;
    assert_eq!(page.items.len(), 2);
    let after = page.next.expect("a third");
    let rest: Page<Build> = api.get(&format!("/v1/builds?limit=2&after={after}")).await.ok().await;
    assert_eq!((rest.items.len(), rest.next), (1, None));
    bench.stop().await;
}

#[tokio::test]
async fn a_truncated_upload_is_resumed() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let bytes = image("resumed");
    let announced = json!({"digest": digest(&bytes), "size_bytes": bytes.len()});
    let begun: Upload = api.post("/v1/uploads", announced.clone()).await.ok().await;
    let half = bytes.len() / 2;
    let path = format!("/v1/uploads/{}", begun.id);
    api.put_bytes(&format!("{path}?offset=0"), bytes[..half].to_vec()).await.done().await;

    // Registering it now says how much is there, and loses nothing.
    let register = json!({"digest": digest(&bytes), "tags": ["arena:1"]});
    let problem = api.post("/v1/builds", register.clone()).await.problem(ProblemCode::UploadIncomplete).await;
    assert!(problem.detail.contains(&half.to_string()), "{}", problem.detail);
    // A gap is refused, and so is what goes beyond the end.
    let gap = api.put_bytes(&format!("{path}?offset={}", half + 1), vec![0; 8]).await;
    gap.problem(ProblemCode::UploadOffset).await;
    let beyond = api.put_bytes(&format!("{path}?offset={half}"), vec![0; bytes.len()]).await;
    beyond.problem(ProblemCode::TooLarge).await;

    // The client has gone and comes again: the same announcement finds the same upload.
    let found: Upload = api.post("/v1/uploads", announced.clone()).await.ok().await;
    assert_eq!((found.id, found.received_bytes), (begun.id, half as u64));
    let found: Upload = api.get(&path).await.ok().await;
    assert_eq!(found.received_bytes, half as u64);
    api.put_bytes(&format!("{path}?offset={half}"), bytes[half..].to_vec()).await.done().await;
    let build: Build = api.post("/v1/builds", register).await.ok().await;
    assert_eq!(build.size_bytes, bytes.len() as u64);

    // Once it is a build, the upload is gone and the next announcement is complete at once.
    api.get(&path).await.problem(ProblemCode::UploadUnknown).await;
    let complete: Upload = api.post("/v1/uploads", announced).await.ok().await;
    assert_eq!(complete.received_bytes, bytes.len() as u64);
    bench.stop().await;
}

#[tokio::test]
async fn what_is_no_image_is_refused_with_the_way_out() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let windows = json!({"os": "windows", "architecture": "amd64", "rootfs": {"diff_ids": []}});
    let cases = [
        ("docker save", b"this is no tar".to_vec()),
        ("docker save", tar_of(&[("readme.txt", b"hello".to_vec())])),
        ("docker save", image("cut")[..4_000].to_vec()),
        ("gunzip", [&[0x1f, 0x8b, 8, 0][..], &[0; 600]].concat()),
        (
            "--platform linux",
            tar_of(&[
                ("manifest.json", json!([{"Config": "c", "Layers": []}]).to_string().into_bytes()),
                ("c", windows.to_string().into_bytes()),
            ]),
        ),
    ];
    for (fix, bytes) in cases {
        let digest = upload(api, &bytes).await;
        let answer = api.post("/v1/builds", json!({"digest": digest, "tags": ["bad:1"]})).await;
        let problem = answer.problem(ProblemCode::ImageInvalid).await;
        assert!(problem.fix.contains(fix), "wanted {fix:?} in {:?}", problem.fix);
        api.get(&format!("/v1/builds/{digest}")).await.problem(ProblemCode::BuildUnknown).await;
    }
    api.get("/v1/builds/bad:1").await.problem(ProblemCode::BuildUnknown).await;
    bench.stop().await;
}

#[tokio::test]
async fn bytes_that_are_not_those_announced_are_refused() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let (right, mut wrong) = (image("right"), image("right"));
    wrong[9_000] ^= 1;
    let announced = json!({"digest": digest(&right), "size_bytes": right.len()});
    let begun: Upload = api.post("/v1/uploads", announced).await.ok().await;
    let path = format!("/v1/uploads/{}?offset=0", begun.id);
    api.put_bytes(&path, wrong).await.done().await;
    let register = json!({"digest": digest(&right)});
    api.post("/v1/builds", register.clone()).await.problem(ProblemCode::UploadDigest).await;
    // It begins anew, and with the right bytes it is a build.
    api.put_bytes(&path, right).await.done().await;
    api.post("/v1/builds", register).await.done().await;
    bench.stop().await;
}

#[tokio::test]
async fn malformed_pushes_are_told_what_is_wrong() {
    let bench = Bench::start().await;
    let api = &bench.admin;
    let some = digest(b"something");
    let cases: [(&str, Value, ProblemCode, &str); 9] = [
        ("/v1/uploads", json!({"digest": "md5:1", "size_bytes": 1}), ProblemCode::InvalidRequest, "digest"),
        ("/v1/uploads", json!({"digest": some, "size_bytes": 0}), ProblemCode::InvalidRequest, "size_bytes"),
        (
            "/v1/uploads",
            json!({"digest": some, "size_bytes": 1u64 << 60}),
            ProblemCode::TooLarge,
            "size_bytes",
        ),
        ("/v1/uploads", json!({"digest": some}), ProblemCode::InvalidRequest, "size_bytes"),
        ("/v1/uploads", json!({"digest": some, "size_bytes": 1, "x": 1}), ProblemCode::InvalidRequest, "x"),
        ("/v1/builds", json!({}), ProblemCode::InvalidRequest, "neither"),
        ("/v1/builds", json!({"digest": some, "reference": "a"}), ProblemCode::InvalidRequest, "both"),
        ("/v1/builds", json!({"reference": "a", "tags": ["A"]}), ProblemCode::InvalidRequest, "tags[0]"),
        ("/v1/builds", json!({"digest": some}), ProblemCode::UploadUnknown, "uploaded"),
    ];
    for (path, body, code, part) in cases {
        let problem = api.post(path, body).await.problem(code).await;
        assert!(problem.detail.contains(part), "wanted {part:?} in {:?}", problem.detail);
    }
    let unknown = api.get("/v1/builds/arena:9").await.problem(ProblemCode::BuildUnknown).await;
    assert!(unknown.fix.contains("muster build push"));

    let begun: Upload = api.post("/v1/uploads", json!({"digest": some, "size_bytes": 1})).await.ok().await;
    let path = format!("/v1/uploads/{}", begun.id);
    api.put_bytes(&path, vec![1]).await.problem(ProblemCode::InvalidRequest).await;
    api.put_bytes(&format!("{path}?offset=x"), vec![1]).await.problem(ProblemCode::InvalidRequest).await;
    let large = api.put_bytes(&format!("{path}?offset=0"), vec![1; MAX_CHUNK_BYTES + 1]).await;
    large.problem(ProblemCode::TooLarge).await;
    api.get("/v1/uploads/nonsense").await.problem(ProblemCode::InvalidRequest).await;
    let other = muster_protocol::id::UploadId::new();
    api.get(&format!("/v1/uploads/{other}")).await.problem(ProblemCode::UploadUnknown).await;
    bench.stop().await;
}
