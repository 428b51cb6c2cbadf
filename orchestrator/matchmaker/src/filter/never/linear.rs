//! Numbers of a filter as sums of what is not known, each so many times, and a constant: so that `rank - mine.rank > 3`
//! and `mine.rank < rank - 5` are seen to speak of the same.

use std::collections::BTreeMap;

use super::super::{Binary, Function, Node, Part, Whose};
use muster_protocol::api::{MAX_TAGS, Value};

/// A sum. What is not known goes by its text.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Linear {
    pub(super) terms: BTreeMap<String, f64>,
    pub(super) constant: f64,
}

impl Linear {
    fn constant(constant: f64) -> Self {
        Self { terms: BTreeMap::new(), constant }
    }

    fn unknown(name: String) -> Self {
        Self { terms: BTreeMap::from([(name, 1.0)]), constant: 0.0 }
    }

    fn times(mut self, factor: f64) -> Self {
        self.constant *= factor;
        self.terms.values_mut().for_each(|count| *count *= factor);
        self.terms.retain(|_, count| *count != 0.0);
        self
    }

    fn plus(mut self, other: Self) -> Self {
        self.constant += other.constant;
        for (name, count) in other.terms {
            *self.terms.entry(name).or_default() += count;
        }
        self.terms.retain(|_, count| *count != 0.0);
        self
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(other.times(-1.0))
    }

    /// What `node` is, which is a number.
    pub(super) fn of(node: &Node, mine: Option<&[Value]>) -> Self {
        match &node.part {
            Part::Negative(inner) => Self::of(inner, mine).times(-1.0),
            Part::Binary(Binary::Plus, left, right) => Self::of(left, mine).plus(Self::of(right, mine)),
            Part::Binary(Binary::Minus, left, right) => Self::of(left, mine).minus(Self::of(right, mine)),
            Part::Binary(Binary::Times, left, right) => {
                let (one, other) = (Self::of(left, mine), Self::of(right, mine));
                match (one.terms.is_empty(), other.terms.is_empty()) {
                    (true, _) => other.times(one.constant),
                    (_, true) => one.times(other.constant),
                    _ => Self::unknown(name(node, mine)),
                }
            }
            Part::Call(Function::Abs, arguments) => {
                let inside = arguments.first().map(|inner| Self::of(inner, mine)).unwrap_or_default();
                if inside.terms.is_empty() {
                    Self::constant(inside.constant.abs())
                } else {
                    Self::unknown(name(node, mine))
                }
            }
            Part::Call(Function::Common, arguments) => match arguments.as_slice() {
                [one, other] => match (known(one, mine), known(other, mine)) {
                    (Some(Value::Tags(one)), Some(Value::Tags(other))) => {
                        Self::constant(one.intersection(other).count() as f64)
                    }
                    _ => Self::unknown(name(node, mine)),
                },
                _ => Self::default(),
            },
            _ => match known(node, mine) {
                Some(Value::Number(number)) => Self::constant(*number),
                _ => Self::unknown(name(node, mine)),
            },
        }
    }
}

/// The value of a part, if it is known.
pub(super) fn known<'a>(node: &'a Node, mine: Option<&'a [Value]>) -> Option<&'a Value> {
    match &node.part {
        Part::Literal(value) => Some(value),
        Part::Attribute(Whose::Mine, at) => mine?.get(*at),
        _ => None,
    }
}

/// The least and the most that a number can be which is not known.
pub(super) fn range(name: &str) -> (f64, f64) {
    if name.starts_with("abs") {
        (0.0, f64::INFINITY)
    } else if let Some(most) = name.strip_prefix("common ") {
        let most = most.split_once(' ').and_then(|(most, _)| most.parse().ok());
        (0.0, most.unwrap_or(MAX_TAGS as f64))
    } else {
        (f64::NEG_INFINITY, f64::INFINITY)
    }
}

/// A text by which a part is told from others: the same for those that are always equal, as far as that is seen.
pub(super) fn name(node: &Node, mine: Option<&[Value]>) -> String {
    if let Some(value) = known(node, mine) {
        return format!("{value:?}");
    }
    match &node.part {
        Part::Attribute(whose, at) => format!("{whose:?}{at}"),
        Part::Call(Function::Abs, arguments) => {
            let inside = arguments.first().map(|inner| Linear::of(inner, mine)).unwrap_or_default();
            format!("abs({inside:?})")
        }
        Part::Call(Function::Common, arguments) => {
            let tags = |node: &Node| match known(node, mine) {
                Some(Value::Tags(tags)) => tags.len().min(MAX_TAGS),
                _ => MAX_TAGS,
            };
            let most = arguments.iter().map(tags).min().unwrap_or(MAX_TAGS);
            let mut names: Vec<String> = arguments.iter().map(|node| name(node, mine)).collect();
            names.sort_unstable();
            format!("common {most} {}", names.join(" "))
        }
        Part::Binary(operator, left, right) => {
            let (mut left, mut right) = (name(left, mine), name(right, mine));
            let is_symmetric =
                matches!(operator, Binary::Equal | Binary::NotEqual | Binary::Times | Binary::Plus);
            if is_symmetric && right < left {
                std::mem::swap(&mut left, &mut right);
            }
            format!("({left} {operator:?} {right})")
        }
        Part::Negative(inner) => format!("-{}", name(inner, mine)),
        Part::Not(inner) => format!("not {}", name(inner, mine)),
        Part::Truth(truth) => truth.to_string(),
        Part::Literal(value) => format!("{value:?}"),
    }
}
