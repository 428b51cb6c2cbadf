//! One bot's exchange: what it sends next, and whether an answer is its own. No sockets, no clock.
//!
//! An answer is the bot's own only if everything fits: name, sequence number, nonce, text, and a count of
//! messages that the server can have reached and has not told before. Whatever does not fit is
//! counted as mixed: somewhere on the way two sessions, or one session's packets, were confused.

use std::collections::HashSet;

use crate::latency::Latencies;
use crate::wire::{Move, State};

/// Spreads nonces of successive messages over all numbers.
const NONCE_STEP: u32 = 0x9E37_79B9;

/// What an answer turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The bot's own.
    Own,
    /// Not what the server must have answered to this bot; in words.
    Mixed(&'static str),
}

/// One bot's side of the exchange.
#[derive(Debug)]
pub struct Exchange {
    player: String,
    seat: Option<String>,
    salt: u32,
    pad: String,
    /// By sequence number less one: when it was sent, and whether it was answered.
    sent: Vec<(u64, bool)>,
    returned: u64,
    mixed: u64,
    last_mix: Option<&'static str>,
    /// Peers the server took the bot for, one after the other, and what the last was told.
    sessions: u32,
    peer: String,
    counts: HashSet<u64>,
    latencies: Latencies,
}

impl Exchange {
    /// An exchange of `player`; `salt` should differ between bots, `pad` makes messages longer.
    pub fn new(player: &str, seat: Option<String>, salt: u32, pad: String) -> Self {
        Self {
            player: player.to_owned(),
            seat,
            salt,
            pad,
            sent: Vec::new(),
            returned: 0,
            mixed: 0,
            last_mix: None,
            sessions: 0,
            peer: String::new(),
            counts: HashSet::new(),
            latencies: Latencies::default(),
        }
    }

    /// The next message, sent at `now_us`.
    pub fn next(&mut self, now_us: u64) -> Move {
        self.sent.push((now_us, false));
        let seq = self.sent.len() as u32;
        // Back and forth, so that the bot's place in the world stays bounded.
        let step = if seq.is_multiple_of(2) { [-1, 1] } else { [1, -1] };
        Move {
            player: self.player.clone(),
            seat: self.seat.clone(),
            seq,
            nonce: self.nonce(seq),
            step,
            pad: self.pad.clone(),
        }
    }

    /// Judges what came at `now_us`.
    pub fn receive(&mut self, bytes: &[u8], now_us: u64) -> Verdict {
        let verdict = match State::decode(bytes) {
            None => Verdict::Mixed("not an answer of the game"),
            Some(state) => self.judge(&state, now_us),
        };
        if let Verdict::Mixed(why) = verdict {
            self.mixed += 1;
            self.last_mix = Some(why);
        }
        verdict
    }

    fn judge(&mut self, state: &State, now_us: u64) -> Verdict {
        if state.player != self.player {
            return Verdict::Mixed("the answer is for another player");
        }
        let known = (state.seq as usize).checked_sub(1).filter(|index| *index < self.sent.len());
        let Some(index) = known else {
            return Verdict::Mixed("the answer is to a message never sent");
        };
        if state.nonce != self.nonce(state.seq) || state.pad != self.pad {
            return Verdict::Mixed("the answer carries another message's content");
        }
        if self.sent[index].1 {
            return Verdict::Mixed("the message was answered before");
        }
        if state.peer != self.peer {
            self.peer.clone_from(&state.peer);
            self.sessions += 1;
            self.counts.clear();
        }
        if state.count == 0 || state.count > self.sent.len() as u64 || !self.counts.insert(state.count) {
            return Verdict::Mixed("the server counts messages this player did not send");
        }
        self.sent[index].1 = true;
        self.returned += 1;
        self.latencies.record(now_us.saturating_sub(self.sent[index].0));
        Verdict::Own
    }

    fn nonce(&self, seq: u32) -> u32 {
        self.salt ^ seq.wrapping_mul(NONCE_STEP)
    }

    /// Messages sent.
    pub fn sent(&self) -> u64 {
        self.sent.len() as u64
    }

    /// Messages answered.
    pub fn returned(&self) -> u64 {
        self.returned
    }

    /// Messages not answered yet.
    pub fn missing(&self) -> u64 {
        self.sent() - self.returned
    }

    /// Sequence numbers of messages not answered yet, in order.
    pub fn unanswered(&self) -> impl Iterator<Item = u32> {
        self.sent.iter().zip(1..).filter_map(|((_, answered), seq)| (!answered).then_some(seq))
    }

    /// Answers that were not the bot's own.
    pub fn mixed(&self) -> u64 {
        self.mixed
    }

    /// Why the last of [`Self::mixed`] was not.
    pub fn last_mix(&self) -> Option<&'static str> {
        self.last_mix
    }

    /// How many peers the server took the bot for; 1 if its session stood all the time.
    pub fn sessions(&self) -> u32 {
        self.sessions
    }

    /// From sending to answer, of all that were answered.
    pub fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an honest server answers as `peer` with its `count`th message.
    fn answer(message: &Move, peer: &str, count: u64) -> State {
        State {
            player: message.player.clone(),
            seq: message.seq,
            nonce: message.nonce,
            tick: 7,
            count,
            peer: peer.to_owned(),
            pad: message.pad.clone(),
        }
    }

    fn bytes(state: &State) -> Vec<u8> {
        serde_json::to_vec(state).expect("plain data")
    }

    fn ann() -> Exchange {
        Exchange::new("ann", None, 11, "xx".to_owned())
    }

    #[test]
    fn own_answers_are_counted_and_timed_in_any_order() {
        let mut exchange = ann();
        let (first, second) = (exchange.next(100), exchange.next(200));
        assert_eq!(exchange.receive(&bytes(&answer(&second, "p", 1)), 250), Verdict::Own);
        assert_eq!(exchange.missing(), 1);
        assert_eq!(exchange.unanswered().collect::<Vec<_>>(), [1]);
        assert_eq!(exchange.receive(&bytes(&answer(&first, "p", 2)), 250), Verdict::Own);
        assert_eq!((exchange.sent(), exchange.returned(), exchange.missing()), (2, 2, 0));
        assert_eq!((exchange.mixed(), exchange.sessions()), (0, 1));
        assert_eq!(exchange.latencies().percentile(100.0), 150);
    }

    #[test]
    fn whatever_is_not_its_own_is_mixed() {
        let mut exchange = ann();
        let message = exchange.next(0);
        let fair = answer(&message, "p", 1);
        let others: [State; 6] = [
            State { player: "ben".into(), ..fair.clone() },
            State { nonce: fair.nonce ^ 1, ..fair.clone() },
            State { seq: 2, ..fair.clone() },
            State { seq: 0, ..fair.clone() },
            State { count: 2, ..fair.clone() },
            State { pad: "yy".into(), ..fair.clone() },
        ];
        for state in &others {
            assert!(matches!(exchange.receive(&bytes(state), 1), Verdict::Mixed(_)), "{state:?}");
        }
        assert!(matches!(exchange.receive(b"\xff\x00", 1), Verdict::Mixed(_)));
        assert_eq!((exchange.mixed(), exchange.returned()), (7, 0));
    }

    #[test]
    fn an_answer_counts_once() {
        let mut exchange = ann();
        let message = exchange.next(0);
        let state = bytes(&answer(&message, "p", 1));
        assert_eq!(exchange.receive(&state, 1), Verdict::Own);
        assert!(matches!(exchange.receive(&state, 1), Verdict::Mixed(_)));
        assert_eq!(exchange.returned(), 1);
    }

    #[test]
    fn a_count_told_twice_is_two_sessions_in_one() {
        let mut exchange = ann();
        let (first, second) = (exchange.next(0), exchange.next(0));
        assert_eq!(exchange.receive(&bytes(&answer(&first, "p", 1)), 1), Verdict::Own);
        assert!(matches!(exchange.receive(&bytes(&answer(&second, "p", 1)), 1), Verdict::Mixed(_)));
    }

    #[test]
    fn a_new_peer_is_a_new_session_and_counts_from_one() {
        let mut exchange = ann();
        let (first, second) = (exchange.next(0), exchange.next(0));
        assert_eq!(exchange.receive(&bytes(&answer(&first, "p", 1)), 1), Verdict::Own);
        assert_eq!(exchange.receive(&bytes(&answer(&second, "q", 1)), 1), Verdict::Own);
        assert_eq!(exchange.sessions(), 2);
    }

    #[test]
    fn two_bots_of_one_name_still_tell_their_answers_apart() {
        let (mut one, mut other) =
            (Exchange::new("ann", None, 1, String::new()), Exchange::new("ann", None, 2, String::new()));
        let (mine, theirs) = (one.next(0), other.next(0));
        assert_eq!(mine.seq, theirs.seq);
        assert!(matches!(one.receive(&bytes(&answer(&theirs, "p", 1)), 1), Verdict::Mixed(_)));
    }
}
