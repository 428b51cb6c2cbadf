//! Which orchestrators a machine dials, and which of them next: pure.

/// Most addresses a machine keeps.
const MAX_ADDRESSES: usize = 32;

/// The orchestrators of an installation as one machine knows them: those it is configured with, and those that
/// the one it reached last has told it of.
#[derive(Clone, Debug)]
pub struct Orchestrators {
    configured: Vec<String>,
    learned: Vec<String>,
    turn: usize,
}

impl Orchestrators {
    /// Those `configured`, and those `learned` in an earlier run. `random` decides which of them comes first, so
    /// that machines spread over all.
    pub fn new(configured: &[String], learned: &[String], random: u64) -> Self {
        let mut known = Self { configured: configured.to_vec(), learned: Vec::new(), turn: 0 };
        known.learn(learned);
        known.turn = usize::try_from(random % known.all().len().max(1) as u64).unwrap_or(0);
        known
    }

    /// Takes over where an orchestrator says there are others, in place of what was said before.
    pub fn learn(&mut self, addresses: &[String]) {
        self.learned = addresses.iter().take(MAX_ADDRESSES).cloned().collect();
    }

    /// Addresses to dial now, in this order. The next call begins with the next one, since whoever asks again
    /// has lost the one it had.
    pub fn in_turn(&mut self) -> Vec<String> {
        let mut all = self.all();
        if !all.is_empty() {
            let first = self.turn % all.len();
            all.rotate_left(first);
            self.turn = first + 1;
        }
        all
    }

    fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for address in self.configured.iter().chain(&self.learned) {
            if all.len() < MAX_ADDRESSES && !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|address| (*address).to_owned()).collect()
    }

    #[test]
    fn every_orchestrator_has_its_turn_to_be_first() {
        let mut known = Orchestrators::new(&texts(&["a:1", "b:1"]), &texts(&["b:1", "c:1"]), 1);
        assert_eq!(known.in_turn(), ["b:1", "c:1", "a:1"]);
        assert_eq!(known.in_turn(), ["c:1", "a:1", "b:1"]);
        assert_eq!(known.in_turn(), ["a:1", "b:1", "c:1"]);
        known.learn(&texts(&["d:1"]));
        assert_eq!(known.in_turn(), ["b:1", "d:1", "a:1"]);
    }

    #[test]
    fn what_is_configured_stays_whatever_is_said() {
        let many: Vec<String> = (0..100).map(|port| format!("other:{port}")).collect();
        let mut known = Orchestrators::new(&texts(&["a:1"]), &many, 0);
        assert_eq!(known.in_turn().len(), MAX_ADDRESSES);
        known.learn(&[]);
        assert_eq!(known.in_turn(), ["a:1"]);
        assert!(Orchestrators::new(&[], &[], 5).in_turn().is_empty());
    }
}
