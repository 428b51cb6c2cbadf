//! Who plays in the benchmark of matchmaking, and by which rules.

use std::collections::BTreeMap;

use muster_matchmaker::Offer;
use muster_protocol::api::{PartyMember, QueueSpec, TicketRequest, Value};
use rand::RngExt;
use rand::rngs::StdRng;

/// 5 against 5, near in skill and not far away, both more loosely after a wait.
const RULES: &str = r#"
    name = ""
    fleet = ""
    ticket_ttl_s = 3600
    [attributes]
    skill = { kind = "number", default = 1500 }
    [[teams]]
    name = "side"
    count = 2
    min = 5
    max = 5
    [[rules]]
    name = "near in skill"
    kind = "spread"
    attribute = "skill"
    most = 100
    expand = [{ after_s = 10, to = 200 }, { after_s = 30, to = 400 }]
    [[rules]]
    name = "fair"
    kind = "gap"
    attribute = "skill"
    most = 50
    [[rules]]
    name = "not laggy"
    kind = "latency"
    most = 80
    expand = [{ after_s = 15, to = 150 }]
"#;
/// Regions, in a row: neighbours are nearer than others.
pub(super) const REGIONS: [&str; 4] = ["eu", "us-east", "us-west", "asia"];

/// Room for everybody in each of them.
pub(super) fn offers() -> [Offer; REGIONS.len()] {
    REGIONS.map(|region| Offer { region: region.to_owned(), warm: u32::MAX, capacity: u32::MAX })
}

/// The queue.
pub(super) fn queue(name: &str, fleet: &str) -> QueueSpec {
    let rules: QueueSpec = toml::from_str(RULES).expect("a constant that is a queue");
    QueueSpec { name: name.to_owned(), fleet: fleet.to_owned(), ..rules }
}

/// The same, with limits so wide that any ten players make a match: what is waited for is the tenth.
pub(super) fn open_queue(name: &str, fleet: &str) -> QueueSpec {
    let mut spec = queue(name, fleet);
    for rule in &mut spec.rules {
        rule.expand.clear();
        match &mut rule.rule {
            muster_protocol::api::RuleKind::Spread { most, .. }
            | muster_protocol::api::RuleKind::Gap { most, .. }
            | muster_protocol::api::RuleKind::Latency { most } => *most = 10_000.0,
            _ => {}
        }
    }
    spec
}

/// A party: seven of ten are alone, and its members are near to each other in skill.
pub(super) fn request(queue: &str, number: u64, random: &mut StdRng) -> TicketRequest {
    let size = match random.random_range(0..100) {
        0..70 => 1,
        70..90 => 2,
        90..97 => 3,
        _ => 5,
    };
    let skill: f64 = (0..6).map(|_| random.random_range(0.0..500.0)).sum();
    let mut members = (0..size).map(|member| PartyMember {
        player: format!("p{number}-{member}"),
        attributes: BTreeMap::from([(
            "skill".to_owned(),
            Value::Number(skill + random.random_range(-20.0..20.0)),
        )]),
    });
    let PartyMember { player, attributes } = members.next().expect("a party has somebody");
    let party = members.collect();
    let home = random.random_range(0..REGIONS.len());
    let latency = |at: usize, random: &mut StdRng| match at.abs_diff(home) {
        0 => random.random_range(10..60),
        1 => random.random_range(50..140),
        _ => random.random_range(120..260),
    };
    let latencies_ms =
        REGIONS.iter().enumerate().map(|(at, region)| ((*region).to_owned(), latency(at, random))).collect();
    TicketRequest { attributes, party, latencies_ms, ..TicketRequest::new(queue, player) }
}
