//! Chance: new ids, and numbers that keep apart what would otherwise meet. From the system; in a simulation,
//! where one seed must decide everything, from that seed. Secrets are not made here.

use type_safe_id::{StaticType, TypeSafeId};

/// A new id, later than all that this process made before.
pub(crate) fn id<T: StaticType>() -> TypeSafeId<T> {
    #[cfg(test)]
    if let Some(uuid) = seeded::uuid() {
        return TypeSafeId::from_uuid(uuid);
    }
    TypeSafeId::new()
}

/// A random place to look from.
pub(crate) fn spread() -> u16 {
    #[cfg(test)]
    if let Some(spread) = seeded::spread() {
        return spread;
    }
    rand::random()
}

/// Chance from a seed, for what runs on this thread.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use uuid::Uuid;

    thread_local! {
        static SOURCE: RefCell<Option<(StdRng, u64)>> = const { RefCell::new(None) };
    }

    /// Everything on this thread is decided by `seed` from now on.
    pub(crate) fn begin(seed: u64) {
        SOURCE.set(Some((StdRng::seed_from_u64(seed), 0)));
    }

    pub(super) fn spread() -> Option<u16> {
        SOURCE.with_borrow_mut(|source| source.as_mut().map(|(random, _)| random.random()))
    }

    /// Ids in the order they are made, as those of one process are.
    pub(super) fn uuid() -> Option<Uuid> {
        SOURCE.with_borrow_mut(|source| {
            let (random, made) = source.as_mut()?;
            *made += 1;
            Some(uuid::Builder::from_unix_timestamp_millis(*made, &random.random()).into_uuid())
        })
    }
}
