//! What a person or a program reads: tables, JSON, errors. Prints; decides nothing.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use comfy_table::{ContentArrangement, Table, presets};
use muster_client::ClientError;
use serde::Serialize;

/// Prints rows under headers, or `json` as JSON if asked.
pub(crate) fn table<T: Serialize>(
    as_json: bool,
    json: &T,
    headers: &[&str],
    rows: Vec<Vec<String>>,
    empty: &str,
) -> anyhow::Result<()> {
    if as_json {
        return self::json(json);
    }
    if rows.is_empty() {
        return line(empty);
    }
    line(&text(headers, rows, std::io::stdout().is_terminal()))
}

/// Rows under headers; with `fit` no wider than the terminal.
pub(crate) fn text(headers: &[&str], rows: Vec<Vec<String>>, fit: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if fit {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    }
    table.set_header(headers.iter().map(|header| header.to_uppercase()));
    table.add_rows(rows);
    // Columns are padded to their width; what follows the last word is of no use.
    let text = table.to_string();
    text.lines().map(|row| row.trim_end().trim_start_matches(' ')).collect::<Vec<_>>().join("\n")
}

/// Prints what was done: in words, or as `{"id", "done"}` if JSON is asked.
pub(crate) fn done(as_json: bool, id: &impl Display, what: &str) -> anyhow::Result<()> {
    if as_json {
        return json(&serde_json::json!({ "id": id.to_string(), "done": what }));
    }
    line(&format!("{id} {what}"))
}

/// Prints `value` as JSON, one document.
pub(crate) fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Prints names and values under each other, or `json` as JSON if asked.
pub(crate) fn details<T: Serialize>(
    as_json: bool,
    value: &T,
    lines: &[(&str, String)],
) -> anyhow::Result<()> {
    if as_json {
        return json(value);
    }
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    lines
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .try_for_each(|(name, text)| line(&format!("{name:width$}  {}", text.replace('\n', "\n    "))))
}

/// Prints one line. A closed pipe (`| head`) is the reader's choice and no error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Prints what went wrong, cause by cause, on standard error: as JSON if asked, and then as the problem
/// document if the orchestrator sent one.
pub(crate) fn error(as_json: bool, error: &anyhow::Error) {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // A cause that its wrapper has already printed adds nothing.
        if !text.contains(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
    }
    if as_json {
        let problem = match error.downcast_ref::<ClientError>() {
            Some(ClientError::Problem(problem)) => serde_json::to_value(problem).ok(),
            _ => None,
        };
        eprintln!("{}", problem.unwrap_or_else(|| serde_json::json!({ "error": text })));
    } else {
        eprintln!("muster: {text}");
    }
}

/// How long ago `then_ms` (Unix milliseconds) was, in the largest unit that tells enough.
pub(crate) fn ago(then_ms: u64) -> String {
    if then_ms == 0 { "never".to_owned() } else { span(now_ms().saturating_sub(then_ms)) }
}

/// The time left until `then_ms`, in words.
pub(crate) fn until(then_ms: u64) -> String {
    span(then_ms.saturating_sub(now_ms()))
}

/// A duration in milliseconds, in words of one unit.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..86_400_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// A size in bytes, in the unit that keeps it short.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A list in one cell.
pub(crate) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_read_well() {
        assert_eq!(span(12), "12 ms");
        assert_eq!(span(1_500), "1.5 s");
        assert_eq!(span(3_599_999), "59 min");
        assert_eq!(span(90_000_000), "1 d");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1_572_864), "1.5 MiB");
    }
}
