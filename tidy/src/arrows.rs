//! Which crate may import which: the arrows of ARCHITECTURE.md as a table. They keep the protocol free
//! of everything, and agent, edge and load test from knowing each other. Third-party crates are not
//! its concern.

use crate::Problem;
use crate::manifest::Crate;

/// Every crate of the workspace with the crates of the workspace it may import.
const ALLOWED: [(&str, &[&str]); 14] = [
    ("muster-protocol", &[]),
    ("muster-transport", &["muster-protocol"]),
    ("muster-client", &["muster-protocol"]),
    ("muster-store", &["muster-protocol"]),
    ("muster-engine", &["muster-store"]),
    ("muster-matchmaker", &["muster-protocol"]),
    (
        "muster-orchestrator",
        &["muster-protocol", "muster-transport", "muster-store", "muster-engine", "muster-matchmaker"],
    ),
    ("muster-edge-proxy", &["muster-protocol", "muster-transport"]),
    ("muster-agent", &["muster-protocol", "muster-transport"]),
    (
        "muster-loadtest",
        &[
            "muster-protocol",
            "muster-transport",
            "muster-client",
            "muster-store",
            "muster-engine",
            "muster-matchmaker",
            "muster-orchestrator",
            "muster-agent",
        ],
    ),
    (
        "muster-cli",
        &[
            "muster-protocol",
            "muster-transport",
            "muster-client",
            "muster-matchmaker",
            "muster-orchestrator",
            "muster-edge-proxy",
            "muster-agent",
        ],
    ),
    ("muster-fuzz", &["muster-protocol", "muster-transport", "muster-edge-proxy", "muster-agent"]),
    ("arena-server", &[]),
    ("tidy", &[]),
];

/// What tests alone may import besides: the simulation of an installation has agents that decide as agents do.
const ALLOWED_TO_TESTS: [(&str, &str); 1] = [("muster-orchestrator", "muster-agent")];

/// Every import of another crate of the workspace is one the table allows.
pub fn check(path: &str, krate: &Crate) -> Vec<Problem> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == krate.name) else {
        return vec![Problem::in_file(
            path,
            format!(
                "is of a crate ({}) without a place in the table of imports. Decide what it may import and \
                 add it to ALLOWED in tidy/src/arrows.rs.",
                krate.name
            ),
        )];
    };
    krate
        .imports()
        .filter(|(import, _)| ALLOWED.iter().any(|(name, _)| name == import) || import.starts_with("muster-"))
        .filter(|(import, _)| !allowed.contains(import))
        .filter(|(import, tests_only)| {
            !tests_only || !ALLOWED_TO_TESTS.contains(&(krate.name.as_str(), *import))
        })
        .map(|(import, _)| {
            let may = if allowed.is_empty() { "no crate of Muster".to_owned() } else { allowed.join(", ") };
            Problem::in_file(
                path,
                format!(
                    "imports {import}, and {} may import {may}. Move what both need inwards (to protocol or \
                     transport), or pass it in from the cli.",
                    krate.name
                ),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(name: &str, imports: &[&str]) -> Vec<Problem> {
        problems_in("dev-dependencies", name, imports)
    }

    fn problems_in(table: &str, name: &str, imports: &[&str]) -> Vec<Problem> {
        use std::fmt::Write as _;
        let mut text = format!("[package]\nname = '{name}'\n[{table}]\n");
        for import in imports {
            writeln!(text, "{import}.workspace = true").unwrap();
        }
        check("x/Cargo.toml", &Crate::parse("x/Cargo.toml", &text).unwrap().unwrap())
    }

    #[test]
    fn allowed_imports_pass() {
        assert_eq!(problems("muster-agent", &["muster-protocol", "muster-transport", "serde"]), []);
        assert_eq!(problems("tidy", &["toml"]), []);
    }

    #[test]
    fn forbidden_imports_are_named() {
        for (name, import) in [
            ("muster-agent", "muster-edge-proxy"),
            ("muster-edge-proxy", "muster-agent"),
            ("muster-loadtest", "muster-edge-proxy"),
            ("muster-protocol", "muster-transport"),
            ("arena-server", "muster-protocol"),
            ("muster-client", "muster-brand-new"),
            ("muster-store", "tidy"),
        ] {
            let found = problems(name, &[import]);
            assert_eq!(found.len(), 1, "{name} -> {import}");
            assert!(found[0].what.contains(import), "{}", found[0]);
        }
    }

    #[test]
    fn what_tests_may_import_the_code_may_not() {
        let (name, import) = ("muster-orchestrator", "muster-agent");
        assert_eq!(problems(name, &[import]), []);
        assert_eq!(problems_in("dependencies", name, &[import]).len(), 1);
    }

    #[test]
    fn an_unknown_crate_must_be_added() {
        assert_eq!(problems("muster-brand-new", &[]).len(), 1);
    }

    #[test]
    fn the_table_has_no_cycle() {
        // A crate may import only crates that come before it in some order: peel off what is settled.
        let mut settled: Vec<&str> = Vec::new();
        while settled.len() < ALLOWED.len() {
            let before = settled.len();
            for (name, imports) in ALLOWED {
                if !settled.contains(&name) && imports.iter().all(|i| settled.contains(i)) {
                    settled.push(name);
                }
            }
            assert!(settled.len() > before, "a cycle among what is not in {settled:?}");
        }
    }
}
