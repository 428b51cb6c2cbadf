//! What a definition is compiled to, what contradicts itself, and what is refused at the door besides.

use muster_protocol::api::QueueSpec;

use super::*;

const GOOD: &str = r#"
    name = "squads"
    fleet = "arena"
    [attributes]
    skill = { kind = "number", default = 1000 }
    mode = { kind = "text", default = "any" }
    maps = { kind = "tags", default = [] }
    [[teams]]
    name = "squad"
    count = 2
    min = 3
    max = 5
    roles = [{ attribute = "mode", is = "tank", min = 1 }]
    [[rules]]
    name = "skill"
    kind = "spread"
    attribute = "skill"
    most = 100
    expand = [{ after_s = 10, to = 300 }]
"#;

/// The only fault.
fn fault(text: &str) -> DefinitionError {
    let mut faults = check(&toml::from_str(text).expect("TOML"));
    assert_eq!(faults.len(), 1, "{faults:?} of {text}");
    faults.remove(0)
}

fn compile(text: &str) -> Result<Queue, DefinitionError> {
    Queue::compile(&toml::from_str(text).expect("TOML"))
}

#[test]
fn a_definition_is_read_whole() {
    let queue = compile(GOOD).expect("good");
    assert_eq!(queue.sizes, [10, 9, 8, 7, 6]);
    assert_eq!((queue.team_name(0), queue.team_name(1)), ("squad 1", "squad 2"));
    assert_eq!(queue.largest_party(), 5);
    assert_eq!((queue.next_relaxation(0), queue.next_relaxation(10_000)), (Some(10_000), None));
    let even = compile(&format!("count_multiple = 2\n{GOOD}")).expect("good");
    assert_eq!(even.sizes, [10, 8, 6]);
}

#[test]
fn what_contradicts_itself_is_told_with_its_place() {
    for (from, to, path, what) in [
        ("min = 3", "min = 6", "teams[0]", "at least min"),
        ("count = 2", "count = 0", "teams[0]", "count"),
        ("max = 5", "max = 600", "teams", "1000 players, not 1200"),
        ("\"tank\", min = 1", "\"tank\", min = 6", "teams[0].roles", "more players"),
        (
            "kind = \"spread\"\n    attribute = \"skill\"",
            "kind = \"spread\"\n    attribute = \"mode\"",
            "rules[0].attribute",
            "text",
        ),
        (
            "kind = \"spread\"\n    attribute = \"skill\"",
            "kind = \"spread\"\n    attribute = \"rank\"",
            "rules[0].attribute",
            "no attribute rank",
        ),
        ("to = 300", "to = 50", "rules[0].expand", "does not relax"),
        ("most = 100", "most = inf", "rules[0].most", "limit"),
        ("most = 100", "most = nan", "rules[0].most", "limit"),
        ("default = 1000", "default = \"x\"", "attributes.skill.default", "number"),
        ("default = 1000", "default = nan", "attributes.skill.default", "finite"),
        (
            "skill = {",
            "theirs = { kind = \"number\", default = 1 }\n    skill = {",
            "attributes.theirs",
            "name",
        ),
        ("name = \"skill\"", "name = \"\"", "rules[0].name", "name"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        let error = compile(&GOOD.replacen(from, to, 1)).expect_err(to);
        assert!(error.path == path && error.what.contains(what), "{to}: {error}");
    }
    let multiple = compile(&format!("count_multiple = 11\n{GOOD}")).expect_err("no multiple");
    assert_eq!(multiple.path, "count_multiple");
    let same = GOOD.replace(
        "kind = \"spread\"\n    attribute = \"skill\"\n    most = 100",
        "kind = \"same\"\n        attribute = \"mode\"",
    );
    assert!(compile(&same).expect_err("nothing relaxes").what.contains("no number"));
}

#[test]
fn what_can_never_be_is_refused() {
    let rules = |rule: &str| GOOD[..GOOD.find("[[rules]]").expect("there")].to_owned() + "[[rules]]\n" + rule;
    let tags = "name = \"maps\"\nkind = \"common\"\nattribute = \"maps\"\nat_least = 50\n";
    let mode = "name = \"mode\"\nkind = \"same\"\nattribute = \"mode\"\n";
    let gap = "name = \"gap\"\nkind = \"gap\"\nattribute = \"skill\"\nmost = 5\n";
    let common = "name = \"maps\"\nkind = \"common\"\nattribute = \"maps\"\n";
    let apart = "name = \"others\"\nkind = \"apart\"\nattribute = \"maps\"\n";
    let inside = "name = \"inside\"\nkind = \"spread\"\nattribute = \"skill\"\nmost = 5\n";
    let one_role = "[{ attribute = \"mode\", is = \"tank\", min = 1 }]";
    let two_roles = "[{ attribute = \"mode\", is = \"tank\", min = 1 }, { attribute = \"mode\", is = \"healer\", min = 1 }]";
    for (text, path, what) in [
        (rules(&format!("{tags}expand = [{{ after_s = 5, to = 40 }}]")), "rules[0].at_least", "32 tags"),
        (rules(mode).replace(one_role, two_roles), "rules[0].attribute", "healer and tank"),
        (rules(gap).replace("count = 2", "count = 1"), "rules[0].kind", "no gap"),
        (rules(&format!("{common}at_least = 1\n[[rules]]\n{apart}")), "rules[0].attribute", "\"others\""),
        (
            rules(&format!("{inside}within = \"party\"\n"))
                .replace("min = 3\n    max = 5", "min = 1\n    max = 1"),
            "rules[0].within",
            "never fails",
        ),
        (rules(&format!("{inside}within = \"party\"\nparty = \"max\"\n")), "rules[0].party", "leave"),
        (
            GOOD.replace("expand = [{ after_s = 10", "expand = [{ after_s = 300"),
            "rules[0].expand[0].after_s",
            "expire after 300 s",
        ),
        (
            format!("max_players = 6\n{}", GOOD.replace("\"tank\", min = 1", "\"tank\", min = 4")),
            "teams",
            "8 players",
        ),
        (GOOD.replace("\"tank\"", &format!("\"{}\"", "x".repeat(65))), "teams[0].roles[0].is", "64 bytes"),
        (format!("fill_wait_s = 30\nticket_ttl_s = 30\n{GOOD}"), "fill_wait_s", "expire after 30 s"),
        (format!("min_players = 11\n{GOOD}"), "min_players", "room for 10"),
        (format!("max_players = 5\n{GOOD}"), "max_players", "at least 6"),
        (format!("min_players = 9\nmax_players = 8\n{GOOD}"), "max_players", "at least 9"),
        (format!("min_players = 7\nmax_players = 7\ncount_multiple = 2\n{GOOD}"), "count_multiple", "7 to 7"),
    ] {
        let error = fault(&text);
        assert!(error.path == path && error.what.contains(what), "{path}: {error}");
    }
    assert!(
        compile(&rules(&format!("{tags}expand = [{{ after_s = 5, to = 4 }}]"))).is_ok(),
        "holds in the end"
    );
    assert!(compile(&rules(mode)).is_ok(), "one role");
    let totals = compile(&format!("min_players = 7\nmax_players = 9\n{GOOD}")).expect("good");
    assert_eq!(totals.sizes, [9, 8, 7]);
    let duel = QueueSpec { min_players: 2, ..QueueSpec::simple("duel", "arena", 2) };
    assert_eq!(Queue::compile(&duel).expect_err("both").path, "min_players");
}

#[test]
fn short_forms_say_what_they_are_short_for() {
    let short = QueueSpec { max_latency_ms: 80, ..QueueSpec::simple("duel", "arena", 2) };
    let queue = Queue::compile(&short).expect("short");
    assert_eq!((queue.sizes.as_slice(), queue.team_name(0)), ([2].as_slice(), "players"));
    assert_eq!(queue.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["max_latency_ms"]);
    let both = compile(&format!("players = 2\n{GOOD}")).expect_err("both");
    assert!(both.path == "players" && both.what.contains("either"), "{both}");
    let caps = format!(
        "max_latency_ms = 9\n{}",
        GOOD.replace("spread", "latency").replace("attribute = \"skill\"", "")
    );
    assert_eq!(compile(&caps).expect_err("two caps").path, "max_latency_ms");
    assert!(compile("name = \"n\"\nfleet = \"f\"").expect_err("nobody").what.contains("players = N"));
}

#[test]
fn every_field_has_its_bounds() {
    assert_eq!(check(&QueueSpec::simple("duel", "arena", 2)), []);
    let spec = QueueSpec {
        regions: vec!["eu".into(), "eu".into(), "Süd".into()],
        max_latency_ms: 70_000,
        ticket_ttl_s: 0,
        accept_s: 601,
        parts: 17,
        ..QueueSpec::simple("-", "", 1_001)
    };
    let faults = check(&spec);
    let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "name",
            "fleet",
            "players",
            "max_latency_ms",
            "parts",
            "accept_s",
            "ticket_ttl_s",
            "regions[1]",
            "regions[2]",
            "teams"
        ]
    );
}

#[test]
fn what_was_applied_before_a_check_was_made_is_still_read() {
    let text = format!("fill_wait_s = 400\n{GOOD}");
    assert!(compile(&text).is_ok());
    assert_eq!(fault(&text).path, "fill_wait_s");
}
