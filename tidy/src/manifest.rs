//! What a crate's manifest declares, and the rule that versions live in the workspace table alone.
//! Reads manifests only; it resolves nothing, which is cargo's work.

use crate::Problem;

/// The tables a crate can name dependencies in.
const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", TESTS, "build-dependencies"];
/// The one of them that only tests see.
const TESTS: &str = "dev-dependencies";

/// A crate's name and everything it depends on.
#[derive(Debug, PartialEq)]
pub struct Crate {
    /// The package name.
    pub name: String,
    dependencies: Vec<Dependency>,
}

/// A dependency, of whatever kind and target.
#[derive(Debug, PartialEq)]
struct Dependency {
    name: String,
    how: toml::Value,
    tests_only: bool,
}

impl Crate {
    /// Reads a manifest. `None` for one without a package, such as the workspace's.
    ///
    /// # Errors
    /// A problem if the text is not TOML.
    pub fn parse(path: &str, text: &str) -> Result<Option<Self>, Problem> {
        let manifest: toml::Table =
            text.parse().map_err(|e| Problem::in_file(path, format!("is not TOML: {e}")))?;
        let Some(name) = manifest.get("package").and_then(|p| p.get("name")).and_then(toml::Value::as_str)
        else {
            return Ok(None);
        };
        let mut dependencies = tables_of(&manifest);
        if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
            dependencies.extend(targets.values().filter_map(toml::Value::as_table).flat_map(tables_of));
        }
        Ok(Some(Self { name: name.to_owned(), dependencies }))
    }

    /// The names of the crates this one depends on, and whether only its tests do.
    pub fn imports(&self) -> impl Iterator<Item = (&str, bool)> {
        self.dependencies.iter().map(|Dependency { name, how, tests_only }| {
            // A renamed dependency carries its real name in `package`.
            (how.get("package").and_then(toml::Value::as_str).unwrap_or(name), *tests_only)
        })
    }

    /// Every dependency is taken from the workspace's table, so that each has one version here.
    pub fn check_versions(&self, path: &str) -> Vec<Problem> {
        self.dependencies
            .iter()
            .filter(|dependency| dependency.how.get("workspace") != Some(&toml::Value::Boolean(true)))
            .map(|Dependency { name, .. }| {
                Problem::in_file(
                    path,
                    format!(
                        "declares {name} by itself. Put its version into [workspace.dependencies] of the \
                         root Cargo.toml and write `{name}.workspace = true` here."
                    ),
                )
            })
            .collect()
    }
}

fn tables_of(manifest: &toml::Table) -> Vec<Dependency> {
    let mut dependencies = Vec::new();
    for table in DEPENDENCY_TABLES {
        for (name, how) in manifest.get(table).and_then(toml::Value::as_table).into_iter().flatten() {
            let (name, how) = (name.clone(), how.clone());
            dependencies.push(Dependency { name, how, tests_only: table == TESTS });
        }
    }
    dependencies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_package_is_no_crate() {
        assert_eq!(Crate::parse("Cargo.toml", "[workspace]\nmembers = []"), Ok(None));
    }

    #[test]
    fn every_kind_of_dependency_is_read() {
        let text = "[package]\nname = 'a'\n[dependencies]\nb.workspace = true\n\
                    [dev-dependencies]\nc.workspace = true\n[build-dependencies]\nd.workspace = true\n\
                    [target.'cfg(unix)'.dependencies]\ne.workspace = true\n\
                    [dependencies.f]\nworkspace = true\npackage = 'g'\n";
        let parsed = Crate::parse("a/Cargo.toml", text).unwrap().unwrap();
        let mut imports: Vec<_> = parsed.imports().collect();
        imports.sort_unstable();
        assert_eq!(imports, [("b", false), ("c", true), ("d", false), ("e", false), ("g", false)]);
        assert_eq!(parsed.check_versions("a/Cargo.toml"), []);
    }

    #[test]
    fn a_version_outside_the_workspace_table_is_a_problem() {
        for how in ["'1'", "{ version = '1' }", "{ path = '../b' }", "{ git = 'https://example.org/b' }"] {
            let text = format!("[package]\nname = 'a'\n[target.'cfg(unix)'.dev-dependencies]\nb = {how}\n");
            let parsed = Crate::parse("a/Cargo.toml", &text).unwrap().unwrap();
            let problems = parsed.check_versions("a/Cargo.toml");
            assert_eq!(problems.len(), 1, "{how}");
            assert!(problems[0].what.contains("b.workspace = true"), "{}", problems[0]);
        }
    }
}
