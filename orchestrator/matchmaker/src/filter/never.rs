//! Whether anybody could ever satisfy a filter, as far as that can be decided: a filter that nobody can would wait in
//! silence until it expires.
//!
//! A filter holds in one of the ways in which its `or`s can be taken. In each of them every comparison says something of a
//! number, a text or a set of tags; if what is said of one of these excludes itself in every way, the filter is false
//! whoever comes. What is not understood (a product of two attributes, more ways than the bound) may hold.

mod facts;
mod linear;

use super::{Binary, Filter, FilterError, Node, Part};
use facts::Facts;
use muster_protocol::api::Value;

/// Most ways in which a filter may hold that are looked at.
const MAX_WAYS: u32 = 256;

/// A comparison, and whether it is to hold.
type Claim<'a> = (&'a Node, bool);

impl Filter {
    /// Whether somebody can satisfy it: anybody for anybody, or for a player whose attributes are `mine`.
    ///
    /// # Errors
    /// [`FilterError`] at the part by which it is certain that nobody can.
    pub fn can_hold(&self, mine: Option<&[Value]>) -> Result<(), FilterError> {
        let mut parts = Vec::new();
        conjuncts(&self.root, &mut parts);
        for count in 1..=parts.len() {
            let mut open: Vec<Claim<'_>> = parts[..count].iter().map(|part| (*part, true)).collect();
            let mut ways = MAX_WAYS;
            if !holds_somehow(&mut open, &mut Vec::new(), mine, &mut ways) {
                let before = if count > 1 { ", with what stands before it" } else { "" };
                let whose = if mine.is_some() { " for this player" } else { "" };
                let what = format!("nobody can ever satisfy this{whose}{before}; leave it out or correct it");
                return Err(FilterError::new(parts[count - 1].at, what));
            }
        }
        Ok(())
    }
}

/// The parts that all have to hold.
fn conjuncts<'a>(node: &'a Node, parts: &mut Vec<&'a Node>) {
    match &node.part {
        Part::Binary(Binary::And, left, right) => {
            conjuncts(left, parts);
            conjuncts(right, parts);
        }
        _ => parts.push(node),
    }
}

/// Whether all of `open` can hold together with `claims`, which are comparisons. Bounded: each way takes one of `ways`, and
/// with none left it is assumed so; a filter's parts are bounded.
fn holds_somehow<'a>(
    open: &mut Vec<Claim<'a>>,
    claims: &mut Vec<Claim<'a>>,
    mine: Option<&[Value]>,
    ways: &mut u32,
) -> bool {
    let Some((node, is_to_hold)) = open.pop() else {
        *ways = ways.saturating_sub(1);
        return *ways == 0 || Facts::of(claims, mine).is_some();
    };
    let found = match &node.part {
        Part::Not(inner) => {
            open.push((inner, !is_to_hold));
            let found = holds_somehow(open, claims, mine, ways);
            open.pop();
            found
        }
        Part::Binary(operator @ (Binary::And | Binary::Or), left, right) => {
            if (*operator == Binary::And) == is_to_hold {
                let kept = open.len();
                open.extend([(&**right, is_to_hold), (&**left, is_to_hold)]);
                let found = holds_somehow(open, claims, mine, ways);
                open.truncate(kept);
                found
            } else {
                [left, right].into_iter().any(|side| {
                    let (mut open, mut claims) = (open.clone(), claims.clone());
                    open.push((side, is_to_hold));
                    holds_somehow(&mut open, &mut claims, mine, ways)
                })
            }
        }
        _ => {
            claims.push((node, is_to_hold));
            let found = holds_somehow(open, claims, mine, ways);
            claims.pop();
            found
        }
    };
    open.push((node, is_to_hold));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::filter::tests::{player, schema};

    fn compiled(text: &str) -> Filter {
        Filter::compile(text, &schema()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_nobody_can_satisfy_is_told_where_it_is() {
        let long = format!("mode == \"{}\"", "x".repeat(65));
        let many = (0..16).map(|n| format!("\"t{n}\" in maps")).collect::<Vec<_>>().join(" and ");
        assert_eq!(compiled(&many).can_hold(None), Ok(()), "a set has room for them");
        for (text, at) in [
            ("false", 0),
            ("1 > 2", 2),
            ("not true", 0),
            ("rank > 10 and rank < 5", 19),
            ("rank >= 5 and mode == \"dm\" and rank < 5", 36),
            ("rank == 5 and rank != 5", 19),
            ("5 < rank and 2 * rank + 1 <= 11", 26),
            ("rank - mine.rank > 3 and mine.rank - rank > 3", 42),
            ("abs(rank - mine.rank) < 0", 22),
            ("common(mine.maps, maps) > 32", 24),
            ("common(maps, [\"ice\", \"mud\"]) >= 3", 29),
            ("mode == \"ctf\" and mode == \"dm\"", 23),
            ("mode in [\"ctf\", \"dm\"] and mode != \"ctf\" and not mode == \"dm\"", 44),
            ("mode in []", 5),
            (&long, 5),
            ("\"ice\" in maps and not \"ice\" in maps", 18),
            ("\"ice\" in [\"mud\"]", 6),
            ("mine.rank != mine.rank", 10),
            ("(rank > 5 or rank > 7) and rank < 3", 32),
            ("not (rank > 5 or rank <= 5)", 0),
            ("maps == mine.maps and maps != mine.maps", 27),
        ] {
            let error = compiled(text).can_hold(None).expect_err(text);
            assert!(error.at == at && error.what.contains("nobody"), "{text}: {error}");
        }
    }

    #[test]
    fn what_somebody_may_satisfy_is_left() {
        for text in [
            "true",
            "rank >= 5 and rank <= 5",
            "rank > 5 and mine.rank < 5",
            "rank > 10 or rank < 5",
            "rank * rank < 0",
            "mode != \"ctf\" and mode != \"dm\"",
            "\"ice\" in maps and not \"mud\" in maps",
            "abs(rank - mine.rank) <= 0",
            "mode == \"ctf\" and mine.mode == \"dm\"",
            "not (mode == \"dm\" and rank == 14) or false",
            "rank * 0.1 <= 0.3 and rank >= 3",
        ] {
            assert_eq!(compiled(text).can_hold(None), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_player_who_can_have_nobody_is_told_so() {
        let ann = player("dm", 10.0, &["ice"]);
        for text in [
            "mine.mode == \"ctf\"",
            "rank > mine.rank and rank < 8",
            "\"mud\" in mine.maps and rank > 3",
            "common(mine.maps, maps) >= 2",
            "mode == mine.mode and mode != \"dm\"",
        ] {
            assert_eq!(compiled(text).can_hold(None), Ok(()), "{text}");
            let error = compiled(text).can_hold(Some(&ann)).expect_err(text);
            assert!(error.what.contains("for this player"), "{text}: {error}");
        }
        assert_eq!(compiled("rank > mine.rank and rank < 18").can_hold(Some(&ann)), Ok(()));
    }

    /// A filter of random comparisons.
    fn text(random: &mut StdRng, depth: u32) -> String {
        let one_of =
            |texts: &[&str], random: &mut StdRng| texts[random.random_range(0..texts.len())].to_owned();
        if depth > 0 && random.random_bool(0.6) {
            let (left, right) = (text(random, depth - 1), text(random, depth - 1));
            return match random.random_range(0..5) {
                0 | 1 => format!("({left} and {right})"),
                2 | 3 => format!("({left} or {right})"),
                _ => format!("not ({left})"),
            };
        }
        let number = |random: &mut StdRng| {
            let whole = random.random_range(0..4).to_string();
            let own = [
                "rank",
                "mine.rank",
                "2 * rank",
                "abs(rank - mine.rank)",
                "common(maps, mine.maps)",
                "-rank",
            ];
            if random.random_bool(0.5) { whole } else { one_of(&own, random) }
        };
        match random.random_range(0..4) {
            0 | 1 => {
                let (left, right) = (number(random), number(random));
                format!("{left} {} {right}", one_of(&["<", "<=", ">", ">=", "==", "!="], random))
            }
            2 => one_of(
                &[
                    "mode == \"a\"",
                    "mode != \"b\"",
                    "mode in [\"a\", \"b\"]",
                    "mode == mine.mode",
                    "mine.mode == \"b\"",
                ],
                random,
            ),
            _ => one_of(
                &[
                    "\"a\" in maps",
                    "\"b\" in maps",
                    "\"b\" in mine.maps",
                    "mode in maps",
                    "maps == mine.maps",
                ],
                random,
            ),
        }
    }

    fn anybody(random: &mut StdRng) -> Vec<Value> {
        let maps: Vec<&str> = ["a", "b"].into_iter().filter(|_| random.random_bool(0.5)).collect();
        let mode = ["a", "b", "c"][random.random_range(0..3)];
        player(mode, f64::from(random.random_range(-1..5)) / 2.0, &maps)
    }

    proptest! {
        #[test]
        fn nobody_satisfies_what_nobody_can(seed in any::<u64>()) {
            let mut random = StdRng::seed_from_u64(seed);
            let text = text(&mut random, 3);
            // One with too many parts says nothing.
            let Ok(filter) = Filter::compile(&text, &schema()) else { return Ok(()) };
            for _ in 0..200 {
                let (mine, theirs) = (anybody(&mut random), anybody(&mut random));
                if filter.accepts(&mine, &theirs) {
                    prop_assert_eq!(filter.can_hold(None), Ok(()), "{}", &text);
                    prop_assert_eq!(filter.can_hold(Some(&mine)), Ok(()), "{}: {:?}", &text, &mine);
                }
            }
        }
    }
}
