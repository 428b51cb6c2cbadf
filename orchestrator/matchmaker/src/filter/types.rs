//! Whether the parts of a filter go together, before it is ever asked.

use super::{Binary, FilterError, Function, Node, Part, Schema};
use muster_protocol::api::AttributeKind;

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Truth,
    Of(AttributeKind),
}

const NUMBER: Type = Type::Of(AttributeKind::Number);
const TEXT: Type = Type::Of(AttributeKind::Text);
const TAGS: Type = Type::Of(AttributeKind::Tags);

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Truth => "truth",
            Self::Of(kind) => kind.as_str(),
        }
    }
}

/// A whole filter is true or false, and so is every part of it that is to be.
pub(super) fn check(root: &Node, schema: &Schema) -> Result<(), FilterError> {
    let mut kinds = vec![AttributeKind::Number; schema.len()];
    for (at, kind) in schema.values() {
        kinds[*at] = *kind;
    }
    truth(root, &kinds)
}

fn truth(node: &Node, kinds: &[AttributeKind]) -> Result<(), FilterError> {
    match of(node, kinds)? {
        Type::Truth => Ok(()),
        Type::Of(kind) => {
            let what =
                format!("this is a {}, and must be true or false: compare it with something", kind.as_str());
            Err(FilterError::new(node.at, what))
        }
    }
}

fn must_be(node: &Node, kinds: &[AttributeKind], expected: Type) -> Result<(), FilterError> {
    let found = of(node, kinds)?;
    if found == expected {
        return Ok(());
    }
    Err(FilterError::new(node.at, format!("this must be a {}, not a {}", expected.name(), found.name())))
}

fn of(node: &Node, kinds: &[AttributeKind]) -> Result<Type, FilterError> {
    match &node.part {
        Part::Literal(value) => Ok(Type::Of(value.kind())),
        Part::Truth(_) => Ok(Type::Truth),
        Part::Attribute(_, at) => Ok(Type::Of(kinds[*at])),
        Part::Not(inner) => truth(inner, kinds).map(|()| Type::Truth),
        Part::Negative(inner) => must_be(inner, kinds, NUMBER).map(|()| NUMBER),
        Part::Binary(operator, left, right) => binary(node.at, *operator, (left, right), kinds),
        Part::Call(function, arguments) => call(node.at, *function, arguments, kinds),
    }
}

fn binary(
    at: usize,
    operator: Binary,
    (left, right): (&Node, &Node),
    kinds: &[AttributeKind],
) -> Result<Type, FilterError> {
    match operator {
        Binary::And | Binary::Or => {
            truth(left, kinds)?;
            truth(right, kinds)?;
            return Ok(Type::Truth);
        }
        Binary::Plus | Binary::Minus | Binary::Times => {
            must_be(left, kinds, NUMBER)?;
            must_be(right, kinds, NUMBER)?;
            return Ok(NUMBER);
        }
        _ => {}
    }
    let (one, other) = (of(left, kinds)?, of(right, kinds)?);
    let wrong = match operator {
        Binary::In if (one, other) != (TEXT, TAGS) => {
            format!("`in` asks for a text in tags, not for a {} in a {}", one.name(), other.name())
        }
        Binary::Equal | Binary::NotEqual if one != other => {
            format!("this compares a {} with a {}", one.name(), other.name())
        }
        Binary::Less | Binary::AtMost | Binary::Greater | Binary::AtLeast
            if (one, other) != (NUMBER, NUMBER) =>
        {
            "only numbers are less or more".to_owned()
        }
        _ => return Ok(Type::Truth),
    };
    Err(FilterError::new(at, wrong))
}

fn call(
    at: usize,
    function: Function,
    arguments: &[Node],
    kinds: &[AttributeKind],
) -> Result<Type, FilterError> {
    let (expected, name): (&[Type], _) = match function {
        Function::Abs => (&[NUMBER], "abs"),
        Function::Common => (&[TAGS, TAGS], "common"),
    };
    if arguments.len() != expected.len() {
        let what = format!("{name} takes {} values, not {}", expected.len(), arguments.len());
        return Err(FilterError::new(at, what));
    }
    for (argument, expected) in arguments.iter().zip(expected) {
        must_be(argument, kinds, *expected)?;
    }
    Ok(NUMBER)
}
