//! Whether who dials in may begin a handshake: strangers begin them at next to no cost, and from addresses that are not
//! theirs.
//!
//! It neither counts handshakes nor answers anybody; who listens does.

/// Handshakes under way from which on who dials has to show that it is at the address that it names.
const TRUSTING: usize = 64;

/// What becomes of who dials in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its handshake begins.
    Take,
    /// It is asked to show that it is at its address, by QUIC's RETRY, which costs nothing here.
    Retry,
    /// It is told that there is no room.
    Refuse,
}

impl Admission {
    /// Of who dials while `under_way` handshakes of at most `most` are under way. `has_shown` says whether it has shown
    /// that it is at its address.
    pub fn of(under_way: usize, most: usize, has_shown: bool) -> Self {
        if under_way >= TRUSTING && !has_shown {
            // It may be refused only after that.
            Self::Retry
        } else if under_way >= most {
            Self::Refuse
        } else {
            Self::Take
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 512;

    #[test]
    fn few_are_trusted_and_of_many_each_shows_its_address_first() {
        assert_eq!(Admission::of(TRUSTING - 1, MOST, false), Admission::Take);
        for under_way in [TRUSTING, MOST - 1, MOST] {
            assert_eq!(Admission::of(under_way, MOST, false), Admission::Retry, "{under_way}");
        }
        assert_eq!(Admission::of(MOST - 1, MOST, true), Admission::Take);
        assert_eq!(Admission::of(MOST, MOST, true), Admission::Refuse);
    }

    #[test]
    fn who_takes_fewer_than_are_trusted_refuses_the_others() {
        assert_eq!(Admission::of(2, 2, false), Admission::Refuse);
    }
}
