//! Golden files: the rows that a release left in a store, one a line, key and value in hexadecimal. The engine's test
//! of them and that of a whole installation go by this; what goes on from the rows is theirs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Key and value.
pub(crate) type Row = (Vec<u8>, Vec<u8>);

/// How the files' names end.
const SUFFIX: &str = "rows";

/// The files of all releases in `directory`, of which this one is one: a version is not raised without its file.
pub(crate) fn releases(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let found: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == SUFFIX)).collect();
    let this = directory.join(concat!(env!("CARGO_PKG_VERSION"), ".rows"));
    assert!(
        found.contains(&this),
        "there is no {}; README.md beside it says how it is written",
        this.display()
    );
    found
}

/// The rows of the file at `path`.
pub(crate) fn read(path: &Path) -> Vec<Row> {
    let bytes = |hex: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
        (0..hex.len()).step_by(2).map(digit).collect()
    };
    let text = std::fs::read_to_string(path).expect("readable");
    let rows = text.lines().map(|line| line.split_once(' ').expect("a key and a value"));
    rows.map(|(key, value)| (bytes(key), bytes(value))).collect()
}

/// Writes `rows` as those of the release that `MUSTER_WRITE_GOLDEN` names, if it names one.
pub(crate) fn write_if_asked(directory: &Path, rows: &[Row]) {
    let Ok(release) = std::env::var("MUSTER_WRITE_GOLDEN") else { return };
    let lines: Vec<String> =
        rows.iter().map(|(key, value)| format!("{} {}\n", hex(key), hex(value))).collect();
    std::fs::write(directory.join(format!("{release}.{SUFFIX}")), lines.concat()).expect("written");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
