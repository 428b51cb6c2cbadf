//! `muster build`: push a game-server image, list what was pushed.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use bollard::Docker;
use clap::{Args, Subcommand};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use muster_client::{UploadStep, file_digest};
use muster_protocol::api::BuildRequest;
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

use super::Ops;
use crate::{context, output};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Push a game-server image
    Push(PushOptions),
    /// List builds
    Ls,
}

#[derive(Args)]
pub(crate) struct PushOptions {
    /// An image that this machine's Docker has, or the file of a `docker save`
    #[arg(value_name = "IMAGE|FILE")]
    image: String,
    /// Tag, name:tag; may be given several times. The image's own name if not given
    #[arg(long, short)]
    tag: Vec<String>,
    /// Do not send the image: agents pull this reference from its registry themselves
    #[arg(long)]
    reference: bool,
}

pub(crate) async fn run(ops: &Ops, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Push(options) => push(ops, options).await,
        Command::Ls => list(ops).await,
    }
}

async fn push(ops: &Ops, options: PushOptions) -> anyhow::Result<()> {
    let file = PathBuf::from(&options.image);
    let is_file = file.is_file();
    let mut tags = options.tag;
    if tags.is_empty() && !is_file {
        tags.push(own_tag(&options.image));
    }
    if tags.is_empty() {
        bail!("a file says no name to find its build by; give --tag name:tag");
    }
    let request = if options.reference {
        BuildRequest { digest: None, reference: Some(options.image), tags }
    } else if is_file {
        BuildRequest { digest: Some(send(ops, &file).await?), reference: None, tags }
    } else {
        let saved = NamedTempFile::with_prefix("muster-push-").context("no temporary file for the image")?;
        save_image(&options.image, saved.path()).await?;
        BuildRequest { digest: Some(send(ops, saved.path()).await?), reference: None, tags }
    };
    let build = ops.client.create_build(&request).await?;
    if ops.json {
        return output::json(&build);
    }
    output::line(&format!("{}  {}  {}", build.digest, output::size(build.size_bytes), build.tags.join(", ")))
}

/// `registry.example/team/arena:1.2` is `arena:1.2` unless told otherwise.
fn own_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    if name.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

/// What to do where no engine answers.
const NO_DOCKER: &str = "no Docker engine answers; start it, join the group docker, set DOCKER_HOST, or push a \
                         file that `docker save` made where one runs";

/// What `docker save` does.
async fn save_image(image: &str, to: &Path) -> anyhow::Result<()> {
    let docker = Docker::connect_with_defaults().context(NO_DOCKER)?;
    let docker = docker.negotiate_version().await.context(NO_DOCKER)?;
    docker.inspect_image(image).await.with_context(|| {
        format!("Docker has no image {image:?}, and there is no such file; `docker images` lists them")
    })?;
    let bar = spinner("reading the image from Docker");
    let mut archive = docker.export_image(image);
    let mut file =
        tokio::fs::File::create(to).await.with_context(|| format!("cannot write {}", to.display()))?;
    while let Some(piece) = archive.next().await {
        let piece = piece.context("Docker stopped sending the image")?;
        bar.inc(piece.len() as u64);
        file.write_all(&piece).await.with_context(|| format!("cannot write {}", to.display()))?;
    }
    file.flush().await.with_context(|| format!("cannot write {}", to.display()))?;
    bar.finish_and_clear();
    Ok(())
}

async fn send(ops: &Ops, file: &Path) -> anyhow::Result<String> {
    let digest = file_digest(file).await?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{msg} {bar:30} {bytes} of {total_bytes}, {bytes_per_sec}")
            .expect("a literal template"),
    );
    bar.set_message("pushing");
    let mut begun = false;
    ops.client
        .upload_file(file, &digest, |step| {
            if !begun {
                begun = true;
                tell_start(step);
            }
            bar.set_length(step.size_bytes);
            bar.set_position(step.received_bytes);
        })
        .await?;
    bar.finish_and_clear();
    Ok(digest)
}

/// Says what an earlier push of the same image left there.
fn tell_start(step: UploadStep) {
    if step.received_bytes == step.size_bytes {
        eprintln!("the image is there already");
    } else if step.received_bytes > 0 {
        let (there, all) = (output::size(step.received_bytes), output::size(step.size_bytes));
        eprintln!("an earlier push left {there} of {all} there; going on from that");
    }
}

fn spinner(message: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bytes}").expect("a literal template");
    ProgressBar::new_spinner().with_style(style).with_message(message)
}

async fn list(ops: &Ops) -> anyhow::Result<()> {
    let builds = context::all(async |after| ops.client.builds(after).await).await?;
    let rows = builds
        .iter()
        .map(|build| {
            let digest = build.reference.clone().unwrap_or_else(|| build.digest.clone());
            vec![
                output::list(&build.tags),
                digest,
                output::size(build.size_bytes),
                build.platform.clone(),
                output::ago(build.created_at_ms),
            ]
        })
        .collect();
    let headers = ["tags", "build", "size", "platform", "age"];
    output::table(ops.json, &builds, &headers, rows, "no builds; `muster build push IMAGE` makes one")
}

#[cfg(test)]
mod tests {
    use super::own_tag;

    #[test]
    fn an_image_is_tagged_by_its_own_name() {
        assert_eq!(own_tag("arena"), "arena:latest");
        assert_eq!(own_tag("registry.example:5000/team/arena:1.2"), "arena:1.2");
        assert_eq!(own_tag("arena@sha256:00"), "arena:latest");
    }
}
