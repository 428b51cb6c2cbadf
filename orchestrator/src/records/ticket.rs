//! Records of tickets: who is in them, and what matchmaking sees of them.

use std::collections::BTreeMap;

use muster_protocol::api::{PartyMember, Value};
use muster_protocol::id::{MatchId, SeatId, ServerId};

use super::{
    AttributeValue, Id, SearchingTicket, TagSet, TicketMember, TicketRecord, TicketState, attribute_value,
};

impl TicketRecord {
    /// Its match, once there is one.
    pub fn match_id(&self) -> Option<MatchId> {
        self.r#match.map(Id::typed)
    }

    /// The seat of the one who asked, once matched.
    pub fn seat_id(&self) -> Option<SeatId> {
        self.seat.map(Id::typed)
    }

    /// Its server, once assigned.
    pub fn server_id(&self) -> Option<ServerId> {
        self.server.map(Id::typed)
    }

    /// Its players, the one who asked first.
    pub fn players(&self) -> Vec<TicketMember> {
        if !self.members.is_empty() {
            return self.members.clone();
        }
        vec![TicketMember { player: self.player.clone(), seat: self.seat, ..TicketMember::default() }]
    }

    /// What matchmaking sees of it, as the version that wrote it said.
    pub(crate) fn searching(&self) -> SearchingTicket {
        SearchingTicket {
            latencies_ms: self.latencies_ms.clone(),
            created_at_ms: self.created_at_ms,
            members: self.members.clone(),
            filter: self.filter.clone(),
            blocks: self.blocks.clone(),
            priority: self.priority,
            // Older versions said neither who is in it nor this.
            expires_at_ms: if self.members.is_empty() { 0 } else { self.expires_at_ms },
            matched_at_ms: 0,
        }
    }

    /// It as it is once it is over in `state`, for a stable code and words.
    #[must_use]
    pub(crate) fn ended(&self, state: TicketState, (reason, detail): (&str, &str), now_ms: u64) -> Self {
        let mut after = self.clone();
        after.set_state(state);
        after.ended_at_ms = now_ms;
        reason.clone_into(&mut after.reason);
        detail.clone_into(&mut after.detail);
        after
    }
}

impl From<&PartyMember> for TicketMember {
    fn from(member: &PartyMember) -> Self {
        let attributes = member.attributes.iter();
        Self {
            player: member.player.clone(),
            attributes: attributes.map(|(name, value)| (name.clone(), value.into())).collect(),
            seat: None,
        }
    }
}

impl TicketMember {
    /// What describes the player.
    pub fn values(&self) -> BTreeMap<String, Value> {
        let attributes = self.attributes.iter();
        attributes.filter_map(|(name, value)| Some((name.clone(), value.to_value()?))).collect()
    }
}

impl From<&Value> for AttributeValue {
    fn from(value: &Value) -> Self {
        let value = match value {
            Value::Number(number) => attribute_value::Value::Number(*number),
            Value::Text(text) => attribute_value::Value::Text(text.clone()),
            Value::Tags(tags) => {
                attribute_value::Value::Tags(TagSet { tags: tags.iter().cloned().collect() })
            }
        };
        Self { value: Some(value) }
    }
}

impl AttributeValue {
    /// The value; `None` of a kind that a newer version knows.
    fn to_value(&self) -> Option<Value> {
        Some(match self.value.as_ref()? {
            attribute_value::Value::Number(number) => Value::Number(*number),
            attribute_value::Value::Text(text) => Value::Text(text.clone()),
            attribute_value::Value::Tags(set) => Value::Tags(set.tags.iter().cloned().collect()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_the_record() {
        let tags = Value::Tags(["ctf".to_owned(), "duel".to_owned()].into());
        let attributes: BTreeMap<String, Value> = [
            ("modes".to_owned(), tags),
            ("rank".to_owned(), Value::Number(1.5)),
            ("role".to_owned(), Value::Text("tank".into())),
        ]
        .into();
        let member = PartyMember { player: "ann".into(), attributes: attributes.clone() };
        assert_eq!(TicketMember::from(&member).values(), attributes);
    }

    #[test]
    fn a_ticket_of_an_older_version_has_one_player() {
        let seat = Some(SeatId::new().into());
        let record = TicketRecord { player: "ann".into(), seat, ..TicketRecord::default() };
        let players = record.players();
        assert_eq!((players.len(), players[0].player.as_str(), players[0].seat), (1, "ann", seat));
    }
}
