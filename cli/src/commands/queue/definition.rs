//! A queue's definition as people read it: the file that would make it, without what it would be anyway.

use anyhow::Context as _;
use muster_protocol::api::QueueSpec;

/// The definition as TOML that can be applied.
pub(super) fn toml(spec: &QueueSpec) -> anyhow::Result<String> {
    let table = |spec: &QueueSpec| toml::Table::try_from(spec).context("a definition is TOML");
    let (mut whole, plain) = (table(spec)?, table(&QueueSpec::simple("", "", 0))?);
    whole.retain(|field, value| plain.get(field) != Some(value));
    Ok(toml::to_string_pretty(&whole)?.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_back_as_it_was() {
        let text = r#"
            name = "squads"
            fleet = "arena"
            regions = ["eu"]
            fill_wait_s = 15
            [attributes]
            skill = { kind = "number", default = 1000.0 }
            maps = { kind = "tags", default = ["ice"] }
            [[teams]]
            name = "squad"
            count = 2
            min = 3
            max = 5
            [[rules]]
            name = "near"
            kind = "deviation"
            attribute = "skill"
            most = 100.0
            expand = [{ after_s = 10, to = 300.0 }]
            [[rules]]
            name = "not laggy"
            kind = "latency"
            most = 80.0
        "#;
        let spec: QueueSpec = ::toml::from_str(text).expect("a queue");
        let shown = toml(&spec).expect("shown");
        assert_eq!(::toml::from_str::<QueueSpec>(&shown).expect("read"), spec, "{shown}");
        assert!(shown.contains("fill_wait_s = 15") && shown.contains("deviation"), "{shown}");
        assert!(!shown.contains("accept_s") && !shown.contains("weights"), "as it would be anyway: {shown}");
        let duel = QueueSpec::simple("duel", "arena", 2);
        assert_eq!(::toml::from_str::<QueueSpec>(&toml(&duel).expect("shown")).expect("read"), duel);
    }
}
