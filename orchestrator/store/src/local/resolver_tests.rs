//! Tests of the resolver: against a model that remembers every write, and its forgetting.

use super::*;
use proptest::prelude::*;

fn key(n: u8) -> Bytes {
    Bytes::copy_from_slice(&[n])
}

fn reads(keys: &[u8], ranges: &[(u8, u8)]) -> ConflictRanges {
    let mut reads = ConflictRanges::default();
    for k in keys {
        reads.add_key(&[*k]);
    }
    for (begin, end) in ranges {
        reads.add_range(&[*begin], &[*end]);
    }
    reads
}

#[derive(Debug, Clone)]
enum Step {
    Key(u8),
    Range(u8, u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..30).prop_map(Step::Key),
        2 => (0u8..30, 1u8..10).prop_map(|(begin, width)| Step::Range(begin, begin + width)),
        1 => (0u16..900).prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn agrees_with_a_model_that_forgets_nothing(
        steps in proptest::collection::vec(step(), 1..60),
        read_key in 0u8..30, begin in 0u8..30, width in 1u8..10, back in 0u64..60,
    ) {
        let mut now = Instant::now();
        let mut resolver = Resolver::new(0);
        let mut log: Vec<(u64, u8, u8)> = Vec::new();
        let mut version = 0;
        for step in &steps {
            match step {
                Step::Wait(ms) => now += Duration::from_millis(u64::from(*ms)),
                Step::Key(k) => {
                    version += 1;
                    resolver.advance(now);
                    resolver.record(now, version, [key(*k)].iter(), std::iter::empty());
                    log.push((version, *k, *k + 1));
                }
                Step::Range(b, e) => {
                    version += 1;
                    resolver.advance(now);
                    let range = (key(*b), key(*e));
                    resolver.record(now, version, std::iter::empty(), std::iter::once((&range.0, &range.1)));
                    log.push((version, *b, *e));
                }
            }
        }
        let read_version = version.saturating_sub(back);
        for (b, e, what) in [
            (read_key, read_key + 1, reads(&[read_key], &[])),
            (begin, begin + width, reads(&[], &[(begin, begin + width)])),
        ] {
            let expected = log.iter().any(|(at, from, to)| *at > read_version && *from < e && b < *to);
            match resolver.check(read_version, &what) {
                Verdict::TooOld => prop_assert!(read_version < resolver.floor),
                Verdict::Conflict => prop_assert!(expected),
                Verdict::Commit => prop_assert!(!expected),
            }
        }
    }
}

#[test]
fn forgets_after_the_lifetime_and_says_too_old() {
    let mut now = Instant::now();
    let mut resolver = Resolver::new(0);
    resolver.advance(now);
    resolver.record(now, 1, [key(1)].iter(), std::iter::empty());
    assert_eq!(resolver.check(0, &reads(&[1], &[])), Verdict::Conflict);
    now += TRANSACTION_LIFETIME + GRACE + Duration::from_millis(1);
    resolver.advance(now);
    assert_eq!(resolver.check(0, &reads(&[2], &[])), Verdict::TooOld);
    assert_eq!(
        resolver.check(0, &reads(&[], &[])),
        Verdict::Commit,
        "a blind write has nothing to be judged"
    );
    assert_eq!(resolver.check(1, &reads(&[1], &[])), Verdict::Commit);
}

#[test]
fn a_reset_leaves_no_false_conflict() {
    let now = Instant::now();
    let mut resolver = Resolver::new(7);
    resolver.advance(now);
    resolver.record(now, 8, [key(1)].iter(), std::iter::empty());
    resolver.reset(7);
    assert_eq!(resolver.check(7, &reads(&[1], &[])), Verdict::Commit);
    assert_eq!(resolver.check(6, &reads(&[1], &[])), Verdict::TooOld);
}
