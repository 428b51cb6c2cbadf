//! The files the rules are about: everything git tracks or would track. Build output, caches and other
//! ignored files are not read.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// The repository's root, which is this crate's parent directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Every tracked or new, not ignored file, relative to the root, with `/` between its parts. Files
/// deleted from the working tree are left out.
///
/// # Errors
/// If git cannot be run here, with what it said.
pub fn files(root: &Path) -> io::Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .map_err(|e| io::Error::new(e.kind(), format!("cannot run git, which lists the files: {e}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io::Error::other(format!("git ls-files failed in {}: {said}", root.display())));
    }
    let mut files: Vec<String> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .filter(|name| root.join(name).is_file())
        .collect();
    files.sort_unstable();
    files.dedup();
    Ok(files)
}

/// A file's text; `None` for one that is not UTF-8, which no rule is about.
///
/// # Errors
/// If the file cannot be read.
pub fn text(root: &Path, file: &str) -> io::Result<Option<String>> {
    Ok(String::from_utf8(fs::read(root.join(file))?).ok())
}
