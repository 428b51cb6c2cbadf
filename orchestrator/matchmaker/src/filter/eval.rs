//! Asking a filter. What does not go together was refused when it was compiled; if it were met all the same, the
//! answer is no.

use std::borrow::Cow;

use super::{Binary, Function, Node, Part, Whose};
use muster_protocol::api::Value;

/// Whether `node` holds between a player and another.
pub(super) fn truth(node: &Node, mine: &[Value], theirs: &[Value]) -> bool {
    match &node.part {
        Part::Truth(truth) => *truth,
        Part::Not(inner) => !truth(inner, mine, theirs),
        Part::Binary(Binary::And, left, right) => truth(left, mine, theirs) && truth(right, mine, theirs),
        Part::Binary(Binary::Or, left, right) => truth(left, mine, theirs) || truth(right, mine, theirs),
        Part::Binary(operator, left, right) => {
            let (Some(one), Some(other)) = (value(left, mine, theirs), value(right, mine, theirs)) else {
                return false;
            };
            compare(*operator, &one, &other)
        }
        _ => false,
    }
}

pub(super) fn compare(operator: Binary, one: &Value, other: &Value) -> bool {
    match (operator, one, other) {
        (Binary::Equal, one, other) => one == other,
        (Binary::NotEqual, one, other) => one != other,
        (Binary::In, Value::Text(text), Value::Tags(tags)) => tags.contains(text),
        (_, Value::Number(one), Value::Number(other)) => match operator {
            Binary::Less => one < other,
            Binary::AtMost => one <= other,
            Binary::Greater => one > other,
            Binary::AtLeast => one >= other,
            _ => false,
        },
        _ => false,
    }
}

fn value<'a>(node: &'a Node, mine: &'a [Value], theirs: &'a [Value]) -> Option<Cow<'a, Value>> {
    match &node.part {
        Part::Literal(literal) => Some(Cow::Borrowed(literal)),
        Part::Attribute(Whose::Mine, at) => mine.get(*at).map(Cow::Borrowed),
        Part::Attribute(Whose::Theirs, at) => theirs.get(*at).map(Cow::Borrowed),
        _ => number(node, mine, theirs).map(|number| Cow::Owned(Value::Number(number))),
    }
}

fn number(node: &Node, mine: &[Value], theirs: &[Value]) -> Option<f64> {
    match &node.part {
        Part::Negative(inner) => Some(-number(inner, mine, theirs)?),
        Part::Binary(operator, left, right) => {
            let (one, other) = (number(left, mine, theirs)?, number(right, mine, theirs)?);
            match operator {
                Binary::Plus => Some(one + other),
                Binary::Minus => Some(one - other),
                Binary::Times => Some(one * other),
                _ => None,
            }
        }
        Part::Call(Function::Abs, arguments) => Some(number(arguments.first()?, mine, theirs)?.abs()),
        Part::Call(Function::Common, arguments) => {
            let [one, other] = arguments.as_slice() else { return None };
            match (&*value(one, mine, theirs)?, &*value(other, mine, theirs)?) {
                (Value::Tags(one), Value::Tags(other)) => Some(one.intersection(other).count() as f64),
                _ => None,
            }
        }
        Part::Literal(_) | Part::Attribute(..) => match &*value(node, mine, theirs)? {
            Value::Number(number) => Some(*number),
            _ => None,
        },
        Part::Truth(_) | Part::Not(_) => None,
    }
}
