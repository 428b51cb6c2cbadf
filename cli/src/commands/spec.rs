//! Reading the TOML specifications that are applied. Errors point at the line.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use serde::de::DeserializeOwned;

/// Reads a specification from the TOML file at `path`, or from standard input if it is `-`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    // toml's own text quotes the line and points at the column.
    toml::from_str(&text).map_err(|error| anyhow!("{} is no {what}:\n{error}", path.display()))
}
