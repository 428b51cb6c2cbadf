//! The Rust client, by its driver, against the recorded cases that every SDK is held to. The live ones need Docker and a whole
//! Muster: `scripts/test.sh` runs them.

use std::process::Command;

#[test]
fn the_rust_client_does_what_every_sdk_has_to() {
    let tool = env!("CARGO_BIN_EXE_muster-loadtest");
    let driver = format!("'{tool}' sdk-driver");
    let told = Command::new(tool)
        .args(["sdk-conformance", "--recorded-only", "--driver", &driver])
        .output()
        .expect("cargo has built the tool");
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(told.status.success(), "{said}\n{}", String::from_utf8_lossy(&told.stderr));
    assert!(said.contains(" 0 skipped"), "the driver lacks what a case needs:\n{said}");
}
