//! The repository's own rules, which no compiler knows: which crate may import which, how a source
//! file opens, where versions are written, what no file may name, and that links lead somewhere.
//!
//! Each rule is a pure function from a file's path and text to the problems in it, so that it can be
//! shown to fail; `tests/tidy.rs` runs all of them over the working tree. It is not a linter for code:
//! clippy and rustfmt are.

pub mod arrows;
pub mod links;
pub mod machine;
pub mod manifest;
pub mod source;
pub mod tree;

use std::fmt;

/// One breach of a rule: where it is, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path relative to the repository's root.
    pub path: String,
    /// Line in the file, counted from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong and how to mend it, as one sentence or two.
    pub what: String,
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn in_file(path: &str, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, what: what.into() }
    }

    /// A problem at one line, counted from 1.
    pub fn at_line(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}
