//! What no file may name: directories of the machine somebody happened to work on, and private package
//! registries. Either works for its author only, and the second tells where they work.

use crate::Problem;

/// Fragments that give such a place away, lower case. Written in two halves so that this file passes
/// its own rule.
const FORBIDDEN: [&str; 6] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/fa", "rm/"),
    concat!("/tmp/br", "ief"),
    concat!("artif", "actory"),
    concat!("artifact-", "registry"),
];

/// Characters before a fragment that make it the tail of a longer path or of a variable, as in
/// `$cache/root/` or `docs/work/`, and so no absolute path.
fn continues_a_path(before: Option<char>) -> bool {
    before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | ')'))
}

/// No line names a place of one machine.
pub fn check(path: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let lower = line.to_lowercase();
        for fragment in FORBIDDEN {
            let named = lower.match_indices(fragment).any(|(at, _)| {
                !fragment.starts_with('/') || !continues_a_path(lower[..at].chars().next_back())
            });
            if named {
                problems.push(Problem::at_line(
                    path,
                    index + 1,
                    format!(
                        "names \"{fragment}\", a place of one machine. Use a path relative to the \
                         repository, a temporary directory, or leave the choice to the environment."
                    ),
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_one_machine_are_found() {
        for fragment in FORBIDDEN {
            let text = format!("fine\nsee \"{}x\"\n", fragment.to_uppercase());
            let problems = check("notes.md", &text);
            assert_eq!(problems.len(), 1, "{fragment}");
            assert_eq!(problems[0].line, Some(2));
        }
    }

    #[test]
    fn relative_paths_that_look_alike_pass() {
        let text = "target/work/x $cache/root/x ${dir}/root/ frame/work/ /var/lib/root.tar /workspace\n";
        assert_eq!(check("a.sh", text), []);
    }
}
