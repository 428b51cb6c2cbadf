//! A map by port number that is an array: looked up for each packet, and changed when routes are.

/// At a port that has nothing. Port 0 is none, so that no entry ever stands there.
const NOTHING: u16 = u16::MAX;
/// Numbers that a port may have.
const NUMBERS: usize = 1 << 16;

/// What ports have, by their number.
pub(crate) struct ByPort<T> {
    // By port, where in `entries`.
    at: Box<[u16]>,
    // In no order.
    entries: Vec<(u16, T)>,
}

impl<T> ByPort<T> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self { at: vec![NOTHING; NUMBERS].into(), entries: Vec::new() }
    }

    /// What `port` has.
    pub(crate) fn get(&self, port: u16) -> Option<&T> {
        self.entries.get(usize::from(self.at[usize::from(port)])).map(|(_, entry)| entry)
    }

    /// What `port` has.
    pub(crate) fn get_mut(&mut self, port: u16) -> Option<&mut T> {
        self.entries.get_mut(usize::from(self.at[usize::from(port)])).map(|(_, entry)| entry)
    }

    /// Puts `entry` in the place of what `port` has.
    pub(crate) fn insert(&mut self, port: u16, entry: T) {
        debug_assert_ne!(port, 0, "nobody can send to port 0");
        if let Some(before) = self.get_mut(port) {
            *before = entry;
            return;
        }
        self.at[usize::from(port)] = self.entries.len() as u16;
        self.entries.push((port, entry));
    }

    /// Takes out what `port` has.
    pub(crate) fn remove(&mut self, port: u16) -> Option<T> {
        let at = std::mem::replace(&mut self.at[usize::from(port)], NOTHING);
        if at == NOTHING {
            return None;
        }
        let (_, entry) = self.entries.swap_remove(usize::from(at));
        if let Some((moved, _)) = self.entries.get(usize::from(at)) {
            self.at[usize::from(*moved)] = at;
        }
        Some(entry)
    }

    /// Takes out everything.
    pub(crate) fn clear(&mut self) {
        self.at.fill(NOTHING);
        self.entries.clear();
    }

    /// All ports that have something.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &T)> {
        self.entries.iter().map(|(port, entry)| (*port, entry))
    }

    /// What each of them has.
    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// What each of them has.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_has_what_was_put_in(steps in proptest::collection::vec((0u8..4, 1u16..9, any::<u32>()), 1..200)) {
            let (mut by_port, mut model) = (ByPort::new(), BTreeMap::new());
            for (what, port, entry) in steps {
                // The least and the greatest there are among them.
                let port = if port == 8 { u16::MAX } else { port };
                match what {
                    0 => prop_assert_eq!(by_port.remove(port), model.remove(&port)),
                    1 if entry % 16 == 0 => {
                        by_port.clear();
                        model.clear();
                    }
                    _ => {
                        by_port.insert(port, entry);
                        model.insert(port, entry);
                    }
                }
                prop_assert_eq!(by_port.iter().collect::<BTreeMap<_, _>>(), model.iter().map(|(p, e)| (*p, e)).collect());
                for port in (0..10).chain([u16::MAX]) {
                    prop_assert_eq!(by_port.get(port), model.get(&port));
                    prop_assert_eq!(by_port.get_mut(port), model.get_mut(&port));
                }
            }
        }
    }
}
