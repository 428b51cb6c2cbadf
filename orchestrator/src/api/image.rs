//! Looks into an uploaded archive: is it an image that Docker can load, and for which platform?
//!
//! Reads two layouts, as `docker load` does: that of `docker save` (`manifest.json`) and that of OCI
//! (`index.json`). Only the table of contents and a few small JSON files are read; layers are checked
//! to be there and whole, and not unpacked. Whether the program inside can serve a game shows when it runs.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Most entries of an archive.
pub(crate) const MAX_ENTRIES: usize = 100_000;
/// Largest JSON file of an archive that is read, in bytes.
pub(crate) const MAX_DOCUMENT_BYTES: u64 = 4 * 1024 * 1024;
/// Deepest nesting of OCI indices.
pub(crate) const MAX_INDEX_DEPTH: usize = 3;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What to do about an archive that holds no image.
pub(crate) const SAVE_FIX: &str = "write the archive with `docker save IMAGE -o file.tar` and push that file";

/// Why an archive is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// The archive is not an image; `fix` says what to do.
    #[error("{what}")]
    Invalid {
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        fix: String,
    },
    /// The file could not be read.
    #[error("the uploaded archive cannot be read: {0}")]
    Io(#[from] std::io::Error),
}

/// What an image says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// `os/architecture`.
    pub(crate) platform: String,
}

/// Looks into the archive.
///
/// # Errors
/// [`ImageError::Invalid`] if Docker could not load it or Muster could not run it.
pub(crate) fn inspect(archive: impl Read + Seek) -> Result<Image, ImageError> {
    let mut archive = Archive::open(archive)?;
    let (config, layers) = if archive.has("manifest.json") {
        archive.saved_image()?
    } else if archive.has("index.json") {
        archive.oci_image()?
    } else {
        return Err(invalid("holds neither manifest.json nor index.json"));
    };
    let config: Config = archive.document(&config)?;
    for layer in &layers {
        if !archive.has(layer) {
            return Err(invalid(format!("lacks the layer {layer:?}")));
        }
    }
    if layers.len() != config.rootfs.diff_ids.len() {
        return Err(invalid(format!(
            "has {} layers where its configuration names {}",
            layers.len(),
            config.rootfs.diff_ids.len()
        )));
    }
    if config.os != "linux" {
        return Err(ImageError::Invalid {
            what: format!(
                "the image is for {}/{}, and nodes run Linux containers",
                config.os, config.architecture
            ),
            fix: "build it for Linux: `docker build --platform linux/amd64 …`".to_owned(),
        });
    }
    Ok(Image { platform: format!("{}/{}", config.os, config.architecture) })
}

fn invalid(what: impl std::fmt::Display) -> ImageError {
    ImageError::Invalid {
        what: format!("the archive is no container image: it {what}"),
        fix: SAVE_FIX.to_owned(),
    }
}

/// A tar archive's table of contents.
struct Archive<R> {
    reader: R,
    /// Name → offset and size of the contents; links have none of their own.
    entries: HashMap<String, (u64, u64)>,
}

impl<R: Read + Seek> Archive<R> {
    fn open(mut reader: R) -> Result<Self, ImageError> {
        let length = reader.seek(SeekFrom::End(0))?;
        reader.rewind()?;
        refuse_compressed(&mut reader)?;
        let mut entries = HashMap::new();
        let mut tar = tar::Archive::new(&mut reader);
        for entry in tar.entries_with_seek()? {
            let entry =
                entry.map_err(|error| invalid(format!("is not a tar file, or a damaged one ({error})")))?;
            if entries.len() >= MAX_ENTRIES {
                return Err(invalid(format!("has over {MAX_ENTRIES} entries")));
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (offset, size) = (entry.raw_file_position(), entry.size());
            // Seeking goes past the end without complaint, so the end is looked after here.
            if offset.checked_add(size).is_none_or(|end| end > length) {
                return Err(invalid(format!("ends in the middle of {name:?}")));
            }
            entries.insert(name.trim_start_matches("./").to_owned(), (offset, size));
        }
        if entries.is_empty() {
            return Err(invalid("is no tar file with anything in it"));
        }
        Ok(Self { reader, entries })
    }

    fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    fn document<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ImageError> {
        let Some(&(offset, size)) = self.entries.get(name) else {
            return Err(invalid(format!("lacks {name:?}")));
        };
        if size > MAX_DOCUMENT_BYTES {
            return Err(invalid(format!("has a {name:?} of {size} bytes, over {MAX_DOCUMENT_BYTES}")));
        }
        let mut bytes = Vec::new();
        self.reader.seek(SeekFrom::Start(offset))?;
        (&mut self.reader).take(size).read_to_end(&mut bytes)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| invalid(format!("has an unreadable {name:?} ({error})")))
    }

    /// Names of the configuration and the layers, as `docker save` lays them out.
    fn saved_image(&mut self) -> Result<(String, Vec<String>), ImageError> {
        let mut images: Vec<SavedImage> = self.document("manifest.json")?;
        match (images.pop(), images.len()) {
            (Some(image), 0) => Ok((image.config, image.layers)),
            (None, _) => Err(invalid("names no image in manifest.json")),
            (Some(_), others) => Err(ImageError::Invalid {
                what: format!("the archive holds {} images, and a build is one", others + 1),
                fix: SAVE_FIX.to_owned(),
            }),
        }
    }

    /// Names of the configuration and the layers, as OCI lays them out.
    fn oci_image(&mut self) -> Result<(String, Vec<String>), ImageError> {
        let mut name = "index.json".to_owned();
        for _ in 0..=MAX_INDEX_DEPTH {
            let document: OciDocument = self.document(&name)?;
            if let Some(config) = document.config {
                let layers = document.layers.iter().map(Descriptor::path).collect::<Result<_, _>>()?;
                return Ok((config.path()?, layers));
            }
            let Some(next) = document.manifests.iter().find(|manifest| manifest.is_runnable()) else {
                return Err(invalid(format!("names no Linux image in {name:?}")));
            };
            name = next.path()?;
        }
        Err(invalid(format!("nests its indices deeper than {MAX_INDEX_DEPTH}")))
    }
}

fn refuse_compressed<R: Read + Seek>(reader: &mut R) -> Result<(), ImageError> {
    let mut magic = Vec::with_capacity(ZSTD_MAGIC.len());
    reader.take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic)?;
    reader.rewind()?;
    for (prefix, name, tool) in [(&GZIP_MAGIC[..], "gzip", "gunzip"), (&ZSTD_MAGIC[..], "zstd", "unzstd")] {
        if magic.starts_with(prefix) {
            return Err(ImageError::Invalid {
                what: format!("the archive is compressed with {name}"),
                fix: format!("unpack it with `{tool}` and push the .tar"),
            });
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SavedImage {
    config: String,
    layers: Vec<String>,
}

/// An OCI index or an OCI manifest: which it is shows in what it has.
#[derive(Deserialize)]
struct OciDocument {
    #[serde(default)]
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    platform: Option<Platform>,
}

impl Descriptor {
    fn path(&self) -> Result<String, ImageError> {
        let (algorithm, hex) = self
            .digest
            .split_once(':')
            .ok_or_else(|| invalid(format!("names the digest {:?}, which is none", self.digest)))?;
        Ok(format!("blobs/{algorithm}/{hex}"))
    }

    /// Attestations stand beside images in an index, with a platform of `unknown/unknown`.
    fn is_runnable(&self) -> bool {
        self.platform.as_ref().is_none_or(|platform| platform.os == "linux")
    }
}

#[derive(Deserialize)]
struct Platform {
    os: String,
}

#[derive(Deserialize)]
struct Config {
    os: String,
    architecture: String,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

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

    fn file(value: &Value) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn config(os: &str, layers: usize) -> Vec<u8> {
        let diff_ids = vec!["sha256:00"; layers];
        file(&json!({"os": os, "architecture": "arm64", "rootfs": {"type": "layers", "diff_ids": diff_ids}}))
    }

    fn saved() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            (
                "manifest.json",
                file(&json!([{"Config": "c.json", "RepoTags": null, "Layers": ["1/layer.tar"]}])),
            ),
            ("c.json", config("linux", 1)),
            ("1/layer.tar", vec![0; 3000]),
        ]
    }

    fn inspect_bytes(bytes: Vec<u8>) -> Result<Image, ImageError> {
        inspect(Cursor::new(bytes))
    }

    fn refusal(bytes: Vec<u8>) -> (String, String) {
        match inspect_bytes(bytes) {
            Err(ImageError::Invalid { what, fix }) => (what, fix),
            other => panic!("wanted a refusal, got {other:?}"),
        }
    }

    #[test]
    fn a_saved_image_tells_its_platform() {
        let image = inspect_bytes(tar_of(&saved())).expect("an image");
        assert_eq!(image.platform, "linux/arm64");
    }

    #[test]
    fn an_oci_image_is_found_behind_its_attestation() {
        let files = [
            ("oci-layout", file(&json!({"imageLayoutVersion": "1.0.0"}))),
            ("index.json", file(&json!({"manifests": [{"digest": "sha256:aa"}]}))),
            (
                "blobs/sha256/aa",
                file(&json!({"manifests": [
                    {"digest": "sha256:dd", "platform": {"os": "unknown", "architecture": "unknown"}},
                    {"digest": "sha256:bb", "platform": {"os": "linux", "architecture": "arm64"}},
                ]})),
            ),
            (
                "blobs/sha256/bb",
                file(&json!({"config": {"digest": "sha256:cc"}, "layers": [{"digest": "sha256:11"}]})),
            ),
            ("blobs/sha256/cc", config("linux", 1)),
            ("blobs/sha256/11", vec![1; 10]),
        ];
        assert_eq!(inspect_bytes(tar_of(&files)).expect("an image").platform, "linux/arm64");
    }

    #[test]
    fn what_is_no_image_is_told_how_to_make_one() {
        for bytes in [Vec::new(), b"hello".to_vec(), vec![7; 5000], tar_of(&[("readme", b"hi".to_vec())])] {
            assert!(refusal(bytes).1.contains("docker save"));
        }
    }

    #[test]
    fn a_compressed_archive_is_told_to_unpack() {
        let (what, fix) = refusal(vec![0x1f, 0x8b, 8, 0, 0]);
        assert!(what.contains("gzip") && fix.contains("gunzip"));
        assert!(refusal(vec![0x28, 0xb5, 0x2f, 0xfd, 0]).1.contains("unzstd"));
    }

    #[test]
    fn a_missing_part_is_named() {
        for (missing, part) in [(1, "c.json"), (2, "1/layer.tar")] {
            let mut files = saved();
            files.remove(missing);
            assert!(refusal(tar_of(&files)).0.contains(part));
        }
    }

    #[test]
    fn an_archive_cut_short_is_refused() {
        let bytes = tar_of(&saved());
        let end_of_layer = bytes.len() - 1024 - 72;
        let (what, _) = refusal(bytes[..end_of_layer - 100].to_vec());
        assert!(what.contains("ends in the middle of \"1/layer.tar\""), "{what}");
    }

    #[test]
    fn layers_and_configuration_must_agree() {
        let mut files = saved();
        files[1].1 = config("linux", 2);
        assert!(refusal(tar_of(&files)).0.contains("has 1 layers where its configuration names 2"));
    }

    #[test]
    fn windows_images_and_several_images_are_refused() {
        let mut files = saved();
        files[1].1 = config("windows", 1);
        assert!(refusal(tar_of(&files)).1.contains("--platform linux"));
        let mut files = saved();
        let image = json!({"Config": "c.json", "Layers": ["1/layer.tar"]});
        files[0].1 = file(&json!([image, image]));
        assert!(refusal(tar_of(&files)).0.contains("2 images"));
        files[0].1 = file(&json!([]));
        assert!(refusal(tar_of(&files)).0.contains("names no image"));
    }

    #[test]
    fn an_index_that_points_to_itself_ends() {
        let files = [
            ("index.json", file(&json!({"manifests": [{"digest": "sha256:aa"}]}))),
            ("blobs/sha256/aa", file(&json!({"manifests": [{"digest": "sha256:aa"}]}))),
        ];
        assert!(refusal(tar_of(&files)).0.contains("nests"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            let _ = inspect_bytes(bytes);
        }

        #[test]
        fn a_damaged_image_is_answered(at in 0usize..4000, byte in any::<u8>()) {
            let mut bytes = tar_of(&saved());
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = inspect_bytes(bytes);
        }
    }
}
