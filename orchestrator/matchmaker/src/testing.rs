//! What several tests of the crate begin with: a queue from its text, a queue with most kinds of rules, a player.

use muster_protocol::api::Value;

use crate::{Player, Queue};

/// Two teams of two with skill that relaxes, modes that must be the same, tags in common, and a latency cap.
pub(crate) const DUELS: &str = r#"
    name = "duels"
    fleet = "arena"
    [attributes]
    skill = { kind = "number", default = 1000 }
    mode = { kind = "text", default = "ctf" }
    maps = { kind = "tags", default = ["ice", "mud"] }
    [[teams]]
    name = "side"
    count = 2
    min = 2
    max = 2
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 150
    expand = [{ after_s = 10, to = 300 }, { after_s = 30, to = 900 }]
    [[rules]]
    name = "fair"
    kind = "gap"
    attribute = "skill"
    most = 200
    [[rules]]
    name = "same mode"
    kind = "same"
    attribute = "mode"
    [[rules]]
    name = "a map for all"
    kind = "common"
    attribute = "maps"
    at_least = 1
    [[rules]]
    name = "not laggy"
    kind = "latency"
    most = 80
    expand = [{ after_s = 20, to = 160 }]
"#;

/// The queue that a definition in TOML is of.
pub(crate) fn queue(text: &str) -> Queue {
    Queue::compile(&toml::from_str(text).expect("TOML")).expect("a definition")
}

/// A player who says so much.
pub(crate) fn player(queue: &Queue, name: impl Into<String>, said: &[(&str, Value)]) -> Player {
    let said = said.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    Player { name: name.into(), attributes: queue.attributes(&said).expect("declared") }
}
