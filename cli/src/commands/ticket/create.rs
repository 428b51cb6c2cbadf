//! `muster ticket create`: what is asked for, from the command line.

use std::collections::BTreeMap;

use anyhow::bail;
use clap::Args;
use muster_protocol::api::{PartyMember, Priority, TicketRequest, Value};

#[derive(Args)]
pub(crate) struct Create {
    /// Queue
    queue: String,
    /// Player's name
    #[arg(long, default_value = "cli")]
    player: String,
    /// Round trip to a region, REGION=MILLISECONDS; may be given several times
    #[arg(long, value_name = "REGION=MS", value_parser = latency)]
    latency: Vec<(String, u32)>,
    /// What describes the player and all of the party, or with PLAYER: that one alone. The value is a number, a text, or
    /// tags with commas between and at the end; may be given several times
    #[arg(long, value_name = "[PLAYER:]NAME=VALUE", value_parser = attribute)]
    attribute: Vec<Attribute>,
    /// A player who comes along; may be given several times
    #[arg(long = "with", value_name = "PLAYER")]
    party: Vec<String>,
    /// What must be true between this ticket's players and others, as in 'abs(skill - mine.skill) < 50'
    #[arg(long, default_value = "")]
    filter: String,
    /// A player not to play with; may be given several times
    #[arg(long, value_name = "PLAYER")]
    block: Vec<String>,
    /// Who is served first among equals: low, normal or high
    #[arg(long, value_name = "PRIORITY", default_value = "normal", value_parser = priority)]
    priority: Priority,
    /// Any text that nobody guesses: the same request sent again with it is answered with the same ticket
    #[arg(long, value_name = "TEXT")]
    idempotency_key: Option<String>,
    /// Look for another match even if a seat is kept for the player in one that goes on, and give that seat up
    #[arg(long)]
    no_rejoin: bool,
    /// Token of a ticket that the players had before, to come back to its seats or to take its place; may be given
    /// several times. With a token of the API that is not of role client none is needed
    #[arg(long = "previous-token", value_name = "TOKEN")]
    previous_tokens: Vec<String>,
    /// Seconds to wait for the assignment
    #[arg(long, default_value_t = 60)]
    pub(super) wait: u64,
}

/// What describes one player, or all.
#[derive(Clone, Debug, PartialEq)]
struct Attribute {
    /// `None`: all.
    player: Option<String>,
    name: String,
    value: Value,
}

impl Create {
    /// What is asked for.
    pub(super) fn request(&self) -> anyhow::Result<TicketRequest> {
        for player in self.attribute.iter().filter_map(|attribute| attribute.player.as_ref()) {
            if *player != self.player && !self.party.contains(player) {
                bail!("--attribute is about {player:?}, who is not in this ticket; add --with {player:?}");
            }
        }
        let member = |player: &String| PartyMember { player: player.clone(), attributes: self.of(player) };
        Ok(TicketRequest {
            latencies_ms: self.latency.iter().cloned().collect(),
            party: self.party.iter().map(member).collect(),
            attributes: self.of(&self.player),
            filter: self.filter.clone(),
            blocks: self.block.clone(),
            priority: self.priority,
            idempotency_key: self.idempotency_key.clone(),
            rejoin: !self.no_rejoin,
            previous_tokens: self.previous_tokens.clone(),
            ..TicketRequest::new(&self.queue, &self.player)
        })
    }

    /// What describes `player`: what is said of all, and of them alone, which is the last word.
    fn of(&self, player: &str) -> BTreeMap<String, Value> {
        let said = |of: Option<&str>| {
            let about = self.attribute.iter().filter(move |attribute| attribute.player.as_deref() == of);
            about.map(|attribute| (attribute.name.clone(), attribute.value.clone())).collect::<Vec<_>>()
        };
        said(None).into_iter().chain(said(Some(player))).collect()
    }
}

pub(crate) fn latency(text: &str) -> Result<(String, u32), String> {
    let (region, ms) = text.split_once('=').ok_or("give REGION=MILLISECONDS")?;
    Ok((region.to_owned(), ms.parse().map_err(|_| "the milliseconds are not a number")?))
}

fn priority(text: &str) -> Result<Priority, String> {
    match text {
        "low" => Ok(Priority::Low),
        "normal" => Ok(Priority::Normal),
        "high" => Ok(Priority::High),
        _ => Err("give low, normal or high".to_owned()),
    }
}

/// `3.5` is a number, `a,` and `a,b` are tags, all else is a text. An attribute's name has no colon, a player's may.
fn attribute(text: &str) -> Result<Attribute, String> {
    let (name, value) = text.split_once('=').ok_or("give NAME=VALUE")?;
    let (player, name) = match name.rsplit_once(':') {
        Some((player, name)) => (Some(player.to_owned()), name),
        None => (None, name),
    };
    // "nan" and "inf" would be numbers, but none that a queue knows: as texts they are refused with the attribute's name.
    let value = if let Some(number) = value.parse().ok().filter(|number: &f64| number.is_finite()) {
        Value::Number(number)
    } else if value.contains(',') {
        Value::Tags(value.split(',').filter(|tag| !tag.is_empty()).map(str::to_owned).collect())
    } else {
        Value::Text(value.to_owned())
    };
    Ok(Attribute { player, name: name.to_owned(), value })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn create(args: &[&str]) -> Create {
        Line::try_parse_from([&["create", "duel"], args].concat()).expect("valid").create
    }

    #[test]
    fn attributes_are_read_as_what_they_look_like() {
        let value = |text: &str| attribute(text).expect("one").value;
        assert_eq!(value("skill=3.5"), Value::Number(3.5));
        assert_eq!(value("role=tank"), Value::Text("tank".into()));
        assert_eq!(value("skill=nan"), Value::Text("nan".into()));
        let tags = |tags: &[&str]| Value::Tags(tags.iter().map(|tag| (*tag).to_owned()).collect());
        assert_eq!(value("modes=ctf,duel"), tags(&["ctf", "duel"]));
        assert_eq!(value("modes=ctf,"), tags(&["ctf"]));
        assert!(attribute("skill").is_err());
        let of = |text: &str| attribute(text).map(|attribute| (attribute.player, attribute.name));
        assert_eq!(of("bob:skill=3"), Ok((Some("bob".into()), "skill".into())));
        assert_eq!(of("a:b:skill=x:y=z"), Ok((Some("a:b".into()), "skill".into())));
        assert_eq!(of("url=http://x"), Ok((None, "url".into())), "a value may have colons");
    }

    #[test]
    fn each_of_a_party_is_described_by_what_is_said_of_all_and_of_them() {
        let create = create(&[
            "--player",
            "ann",
            "--with",
            "bob",
            "--with",
            "cat",
            "--attribute",
            "bob:skill=7",
            "--attribute",
            "skill=3",
            "--attribute",
            "ann:role=tank",
            "--priority",
            "high",
            "--idempotency-key",
            "4711",
        ]);
        let request = create.request().expect("valid");
        let skill = |attributes: &BTreeMap<String, Value>| attributes.get("skill").cloned();
        assert_eq!(skill(&request.attributes), Some(Value::Number(3.0)));
        assert_eq!(request.attributes.get("role"), Some(&Value::Text("tank".into())));
        let of_party: Vec<_> = request.party.iter().map(|member| skill(&member.attributes)).collect();
        assert_eq!(of_party, [Some(Value::Number(7.0)), Some(Value::Number(3.0))]);
        assert_eq!((request.priority, request.idempotency_key.as_deref()), (Priority::High, Some("4711")));
        assert!(request.rejoin);
    }

    #[test]
    fn who_does_not_come_along_is_not_described() {
        let error =
            create(&["--attribute", "eve:skill=1"]).request().expect_err("she is not in it").to_string();
        assert!(error.contains("\"eve\"") && error.contains("--with"), "{error}");
        assert!(Line::try_parse_from(["create", "duel", "--priority", "urgent"]).is_err());
    }
}
