//! Whether this machine could run game servers: only agents need that.

use bollard::Docker;

use super::Verdict;

pub(super) async fn check() -> Verdict {
    let absent = "no Docker engine answers here; a node needs one: start it, or set DOCKER_HOST";
    let Ok(docker) = Docker::connect_with_defaults() else { return Verdict::Skipped(absent.to_owned()) };
    match docker.version().await {
        Ok(version) => Verdict::Ok(format!("Docker {} answers", version.version.unwrap_or_default())),
        Err(_) => Verdict::Skipped(absent.to_owned()),
    }
}
