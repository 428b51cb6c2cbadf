//! Checks of uploads and of builds: digests, tags, registry references.

use muster_protocol::api::{BuildRequest, MAX_BUILD_BYTES, MAX_NAME_BYTES, UploadRequest, is_name};
use muster_protocol::problem::ProblemCode;

use super::Faults;
use crate::api::problem::ApiProblem;

/// Most tags set by one request.
pub(crate) const MAX_TAGS: usize = 32;
/// Longest registry reference, in bytes.
pub(crate) const MAX_REFERENCE_BYTES: usize = 512;

/// Where a build comes from, once its request has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildSource<'a> {
    /// An uploaded archive, by digest.
    Archive(&'a str),
    /// A registry reference.
    Reference(&'a str),
}

/// Whether `text` is `sha256:` and 64 lowercase hexadecimal digits.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// Whether `text` is a tag: a name, a colon, and 1 to [`MAX_NAME_BYTES`] of letters, digits and `._-`
/// of which the first is a letter or digit.
pub(crate) fn is_tag(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, version)| {
        is_name(name)
            && (1..=MAX_NAME_BYTES).contains(&version.len())
            && version.as_bytes()[0].is_ascii_alphanumeric()
            && version.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            // Otherwise `sha256:…` could be both.
            && !is_digest(text)
    })
}

/// Checks the announcement of an upload.
pub(crate) fn upload_request(request: &UploadRequest) -> Result<(), ApiProblem> {
    if request.size_bytes > MAX_BUILD_BYTES {
        return Err(ApiProblem::new(
            ProblemCode::TooLarge,
            format!("size_bytes: {} is over the limit of {MAX_BUILD_BYTES}", request.size_bytes),
            "make the image smaller, or push it to a registry and register its reference",
        ));
    }
    let mut faults = Faults::default();
    digest(&mut faults, &request.digest);
    faults.check(request.size_bytes > 0, "size_bytes", "0; an archive has some bytes");
    faults.into_result(ProblemCode::InvalidRequest)
}

/// Checks the registration of a build, and says where it comes from.
pub(crate) fn build_request(request: &BuildRequest) -> Result<BuildSource<'_>, ApiProblem> {
    let mut faults = Faults::default();
    let source = match (&request.digest, &request.reference) {
        (Some(archive), None) => {
            digest(&mut faults, archive);
            BuildSource::Archive(archive)
        }
        (None, Some(text)) => {
            reference(&mut faults, text);
            BuildSource::Reference(text)
        }
        (given, _) => {
            let what = if given.is_some() { "both are given" } else { "neither is given" };
            faults.add("digest and reference", format_args!("{what}; give exactly one"));
            BuildSource::Archive("")
        }
    };
    faults.check(
        request.tags.len() <= MAX_TAGS,
        "tags",
        format_args!("{} are over the limit of {MAX_TAGS}", request.tags.len()),
    );
    faults.unique("tags", request.tags.iter().map(String::as_str));
    for (index, tag) in request.tags.iter().enumerate() {
        faults.check(
            is_tag(tag),
            &format!("tags[{index}]"),
            format_args!("{tag:?} is no tag; write name:tag, such as arena:1.2.0"),
        );
    }
    faults.into_result(ProblemCode::InvalidRequest).map(|()| source)
}

fn digest(faults: &mut Faults, digest: &str) {
    faults.check(
        is_digest(digest),
        "digest",
        format_args!("{digest:?} is no digest; write sha256: and 64 lowercase hexadecimal digits"),
    );
}

fn reference(faults: &mut Faults, reference: &str) {
    let shows = reference.bytes().all(|b| b.is_ascii_graphic());
    faults.check(
        !reference.is_empty()
            && reference.len() <= MAX_REFERENCE_BYTES
            && shows
            && !reference.starts_with('-'),
        "reference",
        format_args!("{reference:?} is no image reference; write it as for `docker pull`"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_digest() -> String {
        format!("sha256:{}", "0a".repeat(32))
    }

    #[test]
    fn digests_and_tags_are_never_both() {
        assert!(is_digest(&some_digest()));
        assert!(!is_tag(&some_digest()));
        assert!(!is_digest("sha256:0A"));
        for tag in ["arena:1.2.0", "arena:Latest", "a:b", "sha256:abc"] {
            assert!(is_tag(tag), "{tag}");
        }
        for tag in ["arena", "arena:", ":1", "Arena:1", "arena:.1", "arena:a b", "a:b:c"] {
            assert!(!is_tag(tag), "{tag}");
        }
    }

    #[test]
    fn an_upload_has_a_digest_and_a_size() {
        let request = |digest: &str, size_bytes| UploadRequest { digest: digest.into(), size_bytes };
        assert!(upload_request(&request(&some_digest(), 1)).is_ok());
        assert!(upload_request(&request("md5:abc", 1)).is_err());
        assert!(upload_request(&request(&some_digest(), 0)).is_err());
        let problem = upload_request(&request(&some_digest(), MAX_BUILD_BYTES + 1)).expect_err("too large");
        assert_eq!(problem.code(), ProblemCode::TooLarge);
    }

    #[test]
    fn a_build_has_one_source() {
        let request = |digest: Option<String>, reference: Option<&str>| BuildRequest {
            digest,
            reference: reference.map(str::to_owned),
            tags: vec!["arena:1".into()],
        };
        let archive = request(Some(some_digest()), None);
        assert_eq!(build_request(&archive), Ok(BuildSource::Archive(&some_digest())));
        let pulled = request(None, Some("registry.example/arena:1"));
        assert_eq!(build_request(&pulled), Ok(BuildSource::Reference("registry.example/arena:1")));
        assert!(build_request(&request(None, None)).is_err());
        assert!(build_request(&request(Some(some_digest()), Some("x"))).is_err());
        assert!(build_request(&request(None, Some("a b"))).is_err());
        let tagged = BuildRequest { tags: vec!["x".into(), "a:1".into(), "a:1".into()], ..archive };
        let detail = build_request(&tagged).expect_err("bad tags").problem().detail.clone();
        assert!(detail.contains("tags[0]") && detail.contains("\"a:1\" is there twice"), "{detail}");
    }
}
