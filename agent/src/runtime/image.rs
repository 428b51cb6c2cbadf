//! Images in Docker: whether one is there, loading an archive, pulling a reference, removing.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use bollard::query_parameters::{
    CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use futures_util::StreamExt;
use muster_protocol::agent::BuildRef;
use tokio_util::io::ReaderStream;

use super::{Engine, EngineError};

/// Repository of images that were loaded from builds.
const REPOSITORY: &str = "muster/build";
/// Hex digits of the digest in an image's tag: 96 bits name a build beyond doubt.
const TAG_DIGITS: usize = 24;
/// Time Docker has to load an archive or pull a reference.
const LOAD_TIMEOUT: Duration = Duration::from_mins(30);
/// Bytes of an archive read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Name of a build's image in Docker: a tag of our own, or the registry reference.
pub(crate) fn image_of(build: Option<&BuildRef>) -> String {
    build.map_or_else(String::new, |build| match tag_of(&build.digest) {
        Some(tag) => format!("{REPOSITORY}:{tag}"),
        None => build.reference.clone(),
    })
}

/// The tag of a build by its digest.
fn tag_of(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:")?.get(..TAG_DIGITS)
}

/// Why an archive did not become an image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The archive cannot be read from disk.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Docker took it and says it is no image.
    #[error("{0}")]
    Invalid(String),
    /// Docker failed.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Whether Docker has the build's image.
    pub(crate) async fn has_image(&self, build: &BuildRef) -> Result<bool, EngineError> {
        match self.docker.inspect_image(&image_of(Some(build))).await.map_err(EngineError::from) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Loads the archive at `path` as the image of `build`.
    pub(crate) async fn load_image(&self, build: &BuildRef, path: &Path) -> Result<(), LoadError> {
        let tag =
            tag_of(&build.digest).ok_or_else(|| LoadError::Invalid("the build has no digest".to_owned()))?;
        let before = self.image_names().await?;
        let file = tokio::fs::File::open(path).await?;
        let loaded = self.load(file).await?;
        let image = match loaded.as_slice() {
            [image] => image.as_str(),
            [] => return Err(LoadError::Invalid("it holds no image".to_owned())),
            many => {
                return Err(LoadError::Invalid(format!(
                    "it holds {} images ({}) where one is wanted",
                    many.len(),
                    many.join(", ")
                )));
            }
        };
        let options = TagImageOptionsBuilder::default().repo(REPOSITORY).tag(tag).build();
        self.docker.tag_image(image, Some(options)).await.map_err(EngineError::from)?;
        // The archive's own name for it: kept, it would keep the image from ever being cleaned up.
        let name = image_of(Some(build));
        if image != name && !image.starts_with("sha256:") && !before.contains(image) {
            self.remove_image(image).await?;
        }
        Ok(())
    }

    async fn load(&self, file: tokio::fs::File) -> Result<Vec<String>, LoadError> {
        let patient = self.docker.clone().with_timeout(LOAD_TIMEOUT);
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let bytes = ReaderStream::with_capacity(file, READ_BYTES);
        let mut answers = std::pin::pin!(patient.import_image_stream(options, bytes, None));
        let mut loaded = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer.map_err(EngineError::from) {
                Ok(answer) => loaded.extend(answer.stream.as_deref().and_then(loaded_name)),
                Err(error) if error.is_down() => return Err(LoadError::Engine(error)),
                Err(error) if full_disk(&error) => return Err(LoadError::Engine(error)),
                // Docker answers 500 to an archive it cannot read.
                Err(error) => return Err(LoadError::Invalid(error.to_string())),
            }
        }
        Ok(loaded)
    }

    /// Pulls a registry reference.
    pub(crate) async fn pull_image(&self, reference: &str) -> Result<(), EngineError> {
        let patient = self.docker.clone().with_timeout(LOAD_TIMEOUT);
        // Without a tag Docker would pull every tag there is.
        let after_host = reference.rsplit('/').next().unwrap_or(reference);
        let tagged = if after_host.contains(':') || after_host.contains('@') {
            reference.to_owned()
        } else {
            format!("{reference}:latest")
        };
        let options = CreateImageOptionsBuilder::default().from_image(&tagged).build();
        let mut answers = std::pin::pin!(patient.create_image(Some(options), None, None));
        while let Some(answer) = answers.next().await {
            answer.map_err(EngineError::from)?;
        }
        Ok(())
    }

    /// Size in bytes of each image loaded from a build, by tag.
    pub(crate) async fn build_images(&self) -> Result<HashMap<String, u64>, EngineError> {
        let filters = HashMap::from([("reference".to_owned(), vec![REPOSITORY.to_owned()])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.docker.list_images(Some(options)).await.map_err(EngineError::from)?;
        Ok(images
            .into_iter()
            .flat_map(|image| {
                let size = u64::try_from(image.size).unwrap_or_default();
                image.repo_tags.into_iter().filter_map(move |name| {
                    let tag = name.strip_prefix(REPOSITORY)?.strip_prefix(':')?;
                    Some((tag.to_owned(), size))
                })
            })
            .collect())
    }

    /// Removes the image of a build by its tag; one that is gone or in use stays as it is.
    pub(crate) async fn remove_build_image(&self, tag: &str) -> Result<(), EngineError> {
        self.remove_image(&format!("{REPOSITORY}:{tag}")).await
    }

    async fn remove_image(&self, name: &str) -> Result<(), EngineError> {
        let options = RemoveImageOptionsBuilder::default().build();
        match self.docker.remove_image(name, Some(options), None).await.map_err(EngineError::from) {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    async fn image_names(&self) -> Result<HashSet<String>, EngineError> {
        let images = self
            .docker
            .list_images(Some(ListImagesOptionsBuilder::default().build()))
            .await
            .map_err(EngineError::from)?;
        Ok(images.into_iter().flat_map(|image| image.repo_tags).collect())
    }
}

/// What Docker says it has loaded: `Loaded image: name:tag` or `Loaded image ID: sha256:…`.
fn loaded_name(line: &str) -> Option<String> {
    let line = line.trim();
    line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: ")).map(str::to_owned)
}

fn full_disk(error: &EngineError) -> bool {
    error.to_string().contains("no space left on device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_digest_or_reference() {
        let hex = "0123456789abcdef".repeat(4);
        let pushed = BuildRef { digest: format!("sha256:{hex}"), ..Default::default() };
        assert_eq!(image_of(Some(&pushed)), "muster/build:0123456789abcdef01234567");
        let referenced = BuildRef { reference: "example/arena:3".into(), ..Default::default() };
        assert_eq!(image_of(Some(&referenced)), "example/arena:3");
    }

    #[test]
    fn dockers_answers_to_a_load_are_read() {
        assert_eq!(loaded_name("Loaded image: arena:1\n").as_deref(), Some("arena:1"));
        assert_eq!(loaded_name("Loaded image ID: sha256:ab\n").as_deref(), Some("sha256:ab"));
        assert_eq!(loaded_name("Loading layer"), None);
    }
}
