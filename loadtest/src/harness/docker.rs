//! What the harness asks of Docker, through its own command line: images to push, containers to count.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::process::Command;

/// Label by which an agent marks its containers with its node's id.
pub const NODE_LABEL: &str = "muster.node";
/// Label by which an agent marks a container with its server's id.
pub const SERVER_LABEL: &str = "muster.server";

/// Runs `docker` with `args`; its standard output, trimmed.
pub async fn docker(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run `docker`; `make demo` and `make test` install it on Debian")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`docker {}` failed: {}", args.join(" "), said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// An error that names the fix unless the engine answers and has `image`.
pub async fn require_image(image: &str) -> anyhow::Result<()> {
    docker(&["version", "--format", "{{.Server.Version}}"]).await.context("no Docker engine answers")?;
    docker(&["image", "inspect", "--format", "{{.Id}}", image])
        .await
        .map(drop)
        .with_context(|| format!("the image {image} is not there; `make image` builds the example's"))
}

/// Writes `image` as an archive to `path`.
pub async fn save(image: &str, path: &Path) -> anyhow::Result<()> {
    let path = path.to_str().context("the path of the archive is not UTF-8")?;
    docker(&["save", "--output", path, image]).await.map(drop)
}

/// Ids of all containers, running or not, that have the label `key` with `value`.
pub async fn containers(key: &str, value: &str) -> anyhow::Result<Vec<String>> {
    let filter = format!("label={key}={value}");
    let listed = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).await?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// Removes all containers of a node; how many there were.
pub async fn remove_containers(node: &str) -> anyhow::Result<usize> {
    let ids = containers(NODE_LABEL, node).await?;
    if !ids.is_empty() {
        let mut args = vec!["rm", "--force", "--volumes"];
        args.extend(ids.iter().map(String::as_str));
        docker(&args).await?;
    }
    Ok(ids.len())
}

/// [`remove_containers`] where nothing can be awaited any more; failures are told on stderr.
pub fn remove_containers_blocking(node: &str) {
    let filter = format!("label={NODE_LABEL}={node}");
    let run = |args: &[&str]| std::process::Command::new("docker").args(args).output();
    let Ok(listed) = run(&["ps", "--all", "--quiet", "--filter", &filter]) else {
        eprintln!("cannot run `docker` to remove the containers of {node}");
        return;
    };
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let ids: Vec<&str> = listed.lines().collect();
    if !ids.is_empty() && run(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat()).is_err() {
        eprintln!("cannot remove the containers of {node}: {}", ids.join(" "));
    }
}
