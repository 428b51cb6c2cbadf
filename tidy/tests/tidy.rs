//! Runs every rule over the working tree: one test per rule, each listing all breaches with their fix.
//! That each rule can fail is shown beside the rule itself.

use std::path::Path;

use tidy::manifest::Crate;
use tidy::{Problem, arrows, links, machine, source, tree};

/// Checks the files whose name ends so (all for ""), and fails with every problem found.
fn hold(ending: &str, rule: impl Fn(&str, &str) -> Vec<Problem>) {
    let root = tree::root();
    let mut problems = Vec::new();
    let mut seen = 0;
    for file in
        tree::files(&root).expect("git lists the working tree").iter().filter(|file| file.ends_with(ending))
    {
        // Several people work in one tree: a file may go between listing and reading.
        let Ok(Some(text)) = tree::text(&root, file) else { continue };
        seen += 1;
        problems.extend(rule(file, &text));
    }
    assert!(
        seen > 0,
        "found no file ending in {ending:?}: is this the repository's root? {}",
        root.display()
    );
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{} problems:\n\n{}\n", list.len(), list.join("\n\n"));
}

/// Applies a rule about crates to a manifest.
fn of_crate(path: &str, text: &str, rule: impl Fn(&Crate) -> Vec<Problem>) -> Vec<Problem> {
    match Crate::parse(path, text) {
        Ok(Some(krate)) => rule(&krate),
        Ok(None) => Vec::new(),
        Err(problem) => vec![problem],
    }
}

#[test]
fn crates_import_only_what_the_arrows_allow() {
    hold("Cargo.toml", |path, text| of_crate(path, text, |krate| arrows::check(path, krate)));
}

#[test]
fn versions_are_written_in_the_workspace_table_alone() {
    hold("Cargo.toml", |path, text| of_crate(path, text, |krate| krate.check_versions(path)));
}

#[test]
fn source_files_open_with_what_they_are() {
    hold(".rs", source::check);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    hold("", machine::check);
}

#[test]
fn links_between_files_lead_somewhere() {
    let root = tree::root();
    hold(".md", |path, text| links::check(path, text, |target| Path::new(&root).join(target).exists()));
}
