//! Builds of the tests' game server: the guest compiled once, put into an archive as `docker save` writes it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use muster_protocol::agent::BuildRef;
use sha2::{Digest, Sha256};

/// A build, and the archive an orchestrator would send for it.
pub(crate) struct Build {
    pub(crate) reference: BuildRef,
    pub(crate) archive: Vec<u8>,
}

/// A build that no other test has: its layer holds `salt` too.
pub(crate) fn build(salt: &str) -> Build {
    let mut layer = tar::Builder::new(Vec::new());
    append(&mut layer, "game", &std::fs::read(binary()).expect("compiled"), 0o755);
    append(&mut layer, "salt", salt.as_bytes(), 0o644);
    let layer = layer.into_inner().expect("in memory");
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{"Entrypoint":["/game"]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created_by":"muster-agent tests"}}]}}"#,
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        digest(&layer),
    );
    let manifest = r#"[{"Config":"config.json","RepoTags":null,"Layers":["layer.tar"]}]"#;
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, "config.json", config.as_bytes(), 0o644);
    append(&mut archive, "layer.tar", &layer, 0o644);
    append(&mut archive, "manifest.json", manifest.as_bytes(), 0o644);
    of_archive(archive.into_inner().expect("in memory"))
}

/// What would be sent for `archive`, whatever it is.
pub(crate) fn of_archive(archive: Vec<u8>) -> Build {
    let reference =
        BuildRef { digest: digest(&archive), reference: String::new(), size_bytes: archive.len() as u64 };
    Build { reference, archive }
}

pub(crate) fn digest(bytes: &[u8]) -> String {
    let mut text = "sha256:".to_owned();
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("a string takes it");
    }
    text
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_cksum();
    builder.append_data(&mut header, path, bytes).expect("in memory");
}

fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/game.rs");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agent-game");
        // Another test run may be at it: whoever is done replaces the whole file.
        let out = binary.with_extension(std::process::id().to_string());
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let compiled = Command::new(rustc)
            .args([
                "--edition",
                "2024",
                "-O",
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
                "-o",
            ])
            .arg(&out)
            .arg(&source)
            .output()
            .expect("rustc runs");
        let errors = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "{errors}");
        std::fs::rename(&out, &binary).expect("one directory");
        binary
    })
}
