//! Reading the TOML specifications that are applied. Errors point at the line.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use muster_matchmaker::queue::check;
use muster_matchmaker::{DefinitionError, Queue};
use muster_protocol::api::QueueSpec;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// Reads a specification from the TOML file at `path`, or from standard input if it is `-`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    parse(path, what, &text(path)?)
}

/// As [`read`], a queue: checked and compiled as an orchestrator will, and each fault is pointed at.
pub(crate) fn read_queue(path: &Path) -> anyhow::Result<(QueueSpec, Queue)> {
    let text = text(path)?;
    let spec: QueueSpec = parse(path, "queue", &text)?;
    let faults: Vec<String> = check(&spec).iter().map(|fault| pointed(&text, fault)).collect();
    if !faults.is_empty() {
        return Err(anyhow!("{} is no queue that can be:\n{}", path.display(), faults.join("\n\n")));
    }
    let queue = Queue::compile(&spec)?;
    Ok((spec, queue))
}

fn text(path: &Path) -> anyhow::Result<String> {
    if path.as_os_str() == "-" {
        return std::io::read_to_string(std::io::stdin()).context("cannot read standard input");
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

fn parse<T: DeserializeOwned>(path: &Path, what: &str, text: &str) -> anyhow::Result<T> {
    // toml's own text quotes the line and points at the column.
    toml::from_str(text).map_err(|error| anyhow!("{} is no {what}:\n{error}", path.display()))
}

/// The error behind the line of `text` that it is about; behind the first that says anything, if it is about what is not
/// there.
fn pointed(text: &str, error: &DefinitionError) -> String {
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let number = match span(text, &error.path) {
        Some(span) => text.get(..span.start).unwrap_or_default().matches('\n').count() + 1,
        None => text.lines().position(says).unwrap_or_default() + 1,
    };
    let line = text.lines().nth(number - 1).unwrap_or_default();
    let margin = " ".repeat(number.to_string().len());
    format!("{margin} |\n{number} | {line}\n{margin} |\n{error}")
}

/// Where the value at a path such as `rules[2].attribute` stands in `text`, or the nearest around it.
fn span(text: &str, path: &str) -> Option<Range<usize>> {
    let table = DeTable::parse(text).ok()?;
    let mut steps = path.split(['.', '[']).map(|step| step.trim_end_matches(']'));
    let mut found = table.get_ref().get(steps.next()?)?;
    for step in steps {
        let next = match found.get_ref() {
            DeValue::Table(table) => table.get(step),
            DeValue::Array(array) => step.parse::<usize>().ok().and_then(|at| array.get(at)),
            _ => None,
        };
        match next {
            Some(next) => found = next,
            None => break,
        }
    }
    Some(found.span())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_cannot_be_is_pointed_at() {
        let text = "name = \"duel\"\nfleet = \"arena\"\nplayers = 2\n\n[[rules]]\nname = \"near\"\n\
                    kind = \"spread\"\nattribute = \"skil\"\nmost = 3\n";
        let error = Queue::compile(&toml::from_str(text).expect("TOML")).expect_err("no such attribute");
        let told = pointed(text, &error);
        assert!(told.contains("8 | attribute = \"skil\"") && told.contains("no attribute skil"), "{told}");
        let around = DefinitionError { path: "rules[0].expand".into(), what: "is wrong".into() };
        assert!(pointed(text, &around).contains("5 | [[rules]]"), "{}", pointed(text, &around));
        let nowhere = DefinitionError { path: "teams".into(), what: "are missing".into() };
        let told = pointed(&format!("# ours\n\n{text}"), &nowhere);
        assert!(told.contains("3 | name = \"duel\"") && told.ends_with("teams: are missing"), "{told}");
    }

    #[test]
    fn every_fault_of_a_queue_is_pointed_at() {
        let text = "name = \"Duel\"\nfleet = \"arena\"\nplayers = 2\naccept_s = 9999\nticket_ttl_s = 0\nparts = 40\n";
        let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
        std::fs::write(&path, text).expect("written");
        let told = read_queue(&path).expect_err("four faults").to_string();
        for line in ["1 | name", "4 | accept_s", "5 | ticket_ttl_s", "6 | parts"] {
            assert!(told.contains(line), "wanted {line:?} in {told}");
        }
    }

    #[test]
    fn what_is_no_shape_of_a_queue_is_pointed_at() {
        let rule = |says: &str| {
            format!("name = \"duel\"\nfleet = \"arena\"\nplayers = 2\n\n[[rules]]\nname = \"near\"\n{says}\n")
        };
        for (text, line) in [
            ("name = \"duel\"\nfleet = \"arena\"\nplayer = 2\n".to_owned(), "3 | player"),
            (rule("kind = \"spraed\"\nattribute = \"skill\"\nmost = 3"), "5 | [[rules]]"),
            (rule("kind = \"spread\"\nattribute = \"skill\""), "5 | [[rules]]"),
            (rule("kind = \"same\"\nattribute = \"mode\"\nmots = 3"), "5 | [[rules]]"),
        ] {
            let path = tempfile::NamedTempFile::new().expect("a file").into_temp_path();
            std::fs::write(&path, &text).expect("written");
            let told = read_queue(&path).expect_err(line).to_string();
            assert!(told.contains(line), "wanted {line:?} in {told}");
        }
    }
}
