//! How a Rust source file presents itself: it opens with what it is, and its name says so too.
//! What follows in the file is for clippy and rustfmt.

use crate::Problem;

/// The file opens with a `//!` that says something, and is not called `mod.rs`.
pub fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let opening = text.lines().next().unwrap_or_default();
    if opening.strip_prefix("//!").is_none_or(|said| said.trim().is_empty()) {
        problems.push(Problem::at_line(
            path,
            1,
            "does not open with `//!`. Say in the first lines what the file is, why it exists and what it \
             is not.",
        ));
    }
    if path.rsplit('/').next() == Some("mod.rs") {
        let parent = path.trim_end_matches("/mod.rs");
        problems.push(Problem::in_file(path, format!("is a mod.rs. Name it {parent}.rs.")));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_what_it_is_passes() {
        assert_eq!(check("a/src/b.rs", "//! What b is.\nfn main() {}\n"), []);
    }

    #[test]
    fn a_silent_opening_is_a_problem() {
        for text in ["", "\n//! Late.\n", "use std::fmt;\n", "//!\nfn a() {}\n", "// Not a doc comment.\n"] {
            assert_eq!(check("a/src/b.rs", text).len(), 1, "{text:?}");
        }
    }

    #[test]
    fn mod_rs_is_a_problem() {
        let problems = check("a/src/b/mod.rs", "//! What b is.\n");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].what.contains("a/src/b.rs"), "{}", problems[0]);
    }
}
