//! What a ticket asks of the others it plays with, in a language small enough to read aloud:
//! `mode in ["ctf", "dm"] and abs(theirs.rank - mine.rank) <= 5`.
//!
//! A filter is compiled against the attributes its queue declares, so that a mistake is told where it is made and
//! with what it is about; what it may cost is bounded then. It is asked both ways: a match in which one side
//! would not have had the other is not made.

mod eval;
mod never;
mod parse;
mod types;

use std::collections::BTreeMap;

use muster_protocol::api::{AttributeKind, MAX_FILTER_BYTES, Value};

/// Most parts (names, values, operators) of a filter.
pub const MAX_NODES: usize = 64;
/// Deepest nesting.
pub const MAX_DEPTH: usize = 16;

/// Attributes by name: their position and kind.
pub type Schema = BTreeMap<String, (usize, AttributeKind)>;

/// A filter that can be asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    root: Node,
}

/// Why a text is no filter, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {what}")]
pub struct FilterError {
    /// Byte from which it is wrong, from 0.
    pub at: usize,
    /// What is wrong and how it is mended.
    pub what: String,
}

impl FilterError {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self { at, what: what.into() }
    }
}

/// Whose attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Mine,
    Theirs,
}

/// An operator between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binary {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    Plus,
    Minus,
    Times,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    /// The distance from 0.
    Abs,
    /// How many tags two sets have in common.
    Common,
}

/// A part of a filter, and where in the text it stands.
#[derive(Clone, Debug, PartialEq)]
struct Node {
    at: usize,
    part: Part,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Literal(Value),
    Truth(bool),
    Attribute(Whose, usize),
    Not(Box<Node>),
    Negative(Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    Call(Function, Vec<Node>),
}

impl Filter {
    /// Compiles `text` against what a queue declares.
    ///
    /// # Errors
    /// [`FilterError`], which says where and what.
    pub fn compile(text: &str, schema: &Schema) -> Result<Self, FilterError> {
        if text.len() > MAX_FILTER_BYTES {
            let what =
                format!("a filter may have at most {MAX_FILTER_BYTES} bytes; this one has {}", text.len());
            return Err(FilterError::new(MAX_FILTER_BYTES, what));
        }
        let root = parse::parse(text, schema)?;
        types::check(&root, schema)?;
        Ok(Self { root })
    }

    /// Whether a player with the attributes `mine` takes one with `theirs`. Both hold a value of the declared kind
    /// for every attribute of the schema, in its order.
    pub fn accepts(&self, mine: &[Value], theirs: &[Value]) -> bool {
        eval::truth(&self.root, mine, theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn schema() -> Schema {
        [("mode", AttributeKind::Text), ("rank", AttributeKind::Number), ("maps", AttributeKind::Tags)]
            .into_iter()
            .enumerate()
            .map(|(at, (name, kind))| (name.to_owned(), (at, kind)))
            .collect()
    }

    pub(super) fn player(mode: &str, rank: f64, maps: &[&str]) -> Vec<Value> {
        let maps = maps.iter().map(|map| (*map).to_owned()).collect();
        vec![Value::Text(mode.into()), Value::Number(rank), Value::Tags(maps)]
    }

    fn accepts(text: &str, mine: &[Value], theirs: &[Value]) -> bool {
        Filter::compile(text, &schema())
            .unwrap_or_else(|error| panic!("{text}: {error}"))
            .accepts(mine, theirs)
    }

    #[test]
    fn a_filter_says_what_it_reads_like() {
        let (ann, bob) = (player("ctf", 10.0, &["ice", "mud"]), player("dm", 14.0, &["mud"]));
        for (text, expected) in [
            ("true", true),
            ("mode == \"dm\"", true),
            ("mine.mode == theirs.mode", false),
            ("mode in [\"ctf\", \"dm\"] and abs(theirs.rank - mine.rank) <= 5", true),
            ("abs(rank - mine.rank) < 4", false),
            ("\"mud\" in maps", true),
            ("\"ice\" in maps or rank > 13", true),
            ("not \"ice\" in maps", true),
            ("common(mine.maps, theirs.maps) >= 1", true),
            ("common(maps, [\"ice\", \"sand\"]) == 0", true),
            ("rank >= mine.rank * 2 - 6", true),
            ("rank == -14 + 28", true),
            ("not (mode == \"dm\" and rank == 14) or false", false),
            // `and` binds closer than `or`, a comparison closer than both.
            ("true or false and false", true),
            ("maps == mine.maps", false),
            ("mode != \"ctf\"", true),
        ] {
            assert_eq!(accepts(text, &ann, &bob), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_told_where_it_is() {
        for (text, at, part) in [
            ("", 0, "ends"),
            ("rank >", 6, "ends"),
            ("rnak > 3", 0, "no attribute rnak"),
            ("mine.rnak > 3", 5, "no attribute rnak"),
            ("rank", 0, "true or false"),
            ("rank == \"five\"", 5, "number with a text"),
            ("mode < \"x\"", 5, "numbers"),
            ("rank > 3 rank", 9, "more"),
            ("rank in maps", 5, "text in tags"),
            ("abs(mode) > 1", 4, "number"),
            ("common(maps) > 1", 0, "2"),
            ("sin(rank) > 1", 0, "no function sin"),
            ("mode == \"open", 8, "not closed"),
            ("rank > 1e999", 7, "number"),
            ("rank # 3", 5, "#"),
            ("not rank", 4, "true or false"),
            ("[1, 2] == maps", 1, "text"),
        ] {
            let error = Filter::compile(text, &schema()).expect_err(text);
            assert!(error.at == at && error.what.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn what_it_may_cost_is_bounded() {
        let compile = |text: &str| Filter::compile(text, &schema());
        let deep = format!("{}true{}", "(".repeat(17), ")".repeat(17));
        assert!(compile(&deep).expect_err("deep").what.contains("nested"));
        let wide = vec!["true"; 40].join(" and ");
        assert!(compile(&wide).expect_err("wide").what.contains("64"));
        assert!(compile(&" ".repeat(2_000)).expect_err("long").what.contains("1024"));
        assert!(compile(&vec!["true"; 30].join(" and ")).is_ok());
    }
}
