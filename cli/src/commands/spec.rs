//! Reading the TOML specifications that are applied. Errors point at the line.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use muster_matchmaker::{DefinitionError, Queue};
use muster_protocol::api::QueueSpec;
use serde::de::DeserializeOwned;
use toml::de::{DeTable, DeValue};

/// Reads a specification from the TOML file at `path`, or from standard input if it is `-`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    parse(path, what, &text(path)?)
}

/// As [`read`], a queue: compiled as an orchestrator will, so that a rule that contradicts itself is pointed at, too.
pub(crate) fn read_queue(path: &Path) -> anyhow::Result<(QueueSpec, Queue)> {
    let text = text(path)?;
    let spec: QueueSpec = parse(path, "queue", &text)?;
    match Queue::compile(&spec) {
        Ok(queue) => Ok((spec, queue)),
        Err(error) => Err(anyhow!("{} is no queue that can be:\n{}", path.display(), pointed(&text, &error))),
    }
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

/// The error behind the line of `text` that it is about, as far as that can be found.
fn pointed(text: &str, error: &DefinitionError) -> String {
    let Some(span) = span(text, &error.path) else { return error.to_string() };
    let before = text.get(..span.start).unwrap_or_default();
    let number = before.matches('\n').count() + 1;
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
        assert_eq!(pointed(text, &nowhere), "teams: are missing");
    }
}
