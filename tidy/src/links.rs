//! Links between this repository's own files: each leads to a file that exists. Links to the web are
//! not followed, since a test must not depend on somebody else's server.

use pulldown_cmark::{Event, Options, Parser, Tag};

use crate::Problem;

/// Every relative link or image of a Markdown file points at something `exists` knows. `exists` gets
/// paths relative to the repository's root, without `.` and `..`.
pub fn check(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Problem> {
    let directory: Vec<&str> = path.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect();
    Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES)
        .into_offset_iter()
        .filter_map(|(event, range)| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some((dest_url.into_string(), range.start))
            }
            _ => None,
        })
        .filter_map(|(target, at)| {
            let file = target.split(['#', '?']).next().unwrap_or_default();
            if file.is_empty() || has_scheme(file) {
                return None;
            }
            let line = text[..at].matches('\n').count() + 1;
            let what = match resolve(&directory, file) {
                Some(resolved) if exists(&resolved) => return None,
                Some(resolved) => format!("links to {target}, but there is no {resolved}. Correct the link."),
                None => format!(
                    "links to {target}, which lies outside the repository. Link to a file in it, or to the web."
                ),
            };
            Some(Problem::at_line(path, line, what))
        })
        .collect()
}

/// `https:`, `mailto:` and the like.
fn has_scheme(target: &str) -> bool {
    target.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// The target as a path from the root; `None` if it climbs out. A leading `/` means the root, as on
/// hosting sites.
fn resolve(directory: &[&str], target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') { Vec::new() } else { directory.to_vec() };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<Option<usize>> {
        let known = ["README.md", "docs/a.md", "docs", ""];
        check(path, text, |file| known.contains(&file)).into_iter().map(|p| p.line).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "[a](docs/a.md) [b](./docs/) [c](#here) [d](https://example.org/x) [e](mailto:a@b.c)\n\
                    [f](/docs/a.md#part) `[g](gone.md)`\n\n```\n[h](gone.md)\n```\n";
        assert_eq!(lines("README.md", text), []);
        assert_eq!(lines("docs/a.md", "[a](a.md) [b](../README.md) [c](..)\n"), []);
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        assert_eq!(lines("README.md", "one\n\n[a](gone.md)\n"), [Some(3)]);
        assert_eq!(lines("README.md", "![a](gone.png)\n"), [Some(1)]);
        assert_eq!(lines("README.md", "[a][ref]\n\n[ref]: docs/gone.md\n"), [Some(1)]);
        assert_eq!(lines("docs/a.md", "| x |\n|---|\n| [a](README.md) |\n"), [Some(3)]);
        assert_eq!(lines("README.md", "[a](../outside.md)\n"), [Some(1)]);
    }
}
