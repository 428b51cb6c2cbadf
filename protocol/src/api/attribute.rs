//! What a player is described by: attributes that a queue declares, each of one kind.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Most attributes a queue declares.
pub const MAX_ATTRIBUTES: usize = 32;
/// Longest text of an attribute, in bytes.
pub const MAX_TEXT_BYTES: usize = 64;
/// Most tags of one attribute.
pub const MAX_TAGS: usize = 32;

/// What an attribute holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum AttributeKind {
    /// A finite number.
    Number,
    /// A text.
    Text,
    /// A set of texts.
    Tags,
}

impl AttributeKind {
    /// The kind's name, as in a queue's definition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "text",
            Self::Tags => "tags",
        }
    }
}

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A set of texts.
    Tags(BTreeSet<String>),
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// It is of another kind than the queue declares.
    #[error("must be a {expected}, not a {found}")]
    Kind {
        /// What the queue declares.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Infinite, or no number.
    #[error("must be a finite number")]
    NotFinite,
    /// Too long.
    #[error("a text may have at most {MAX_TEXT_BYTES} bytes")]
    TooLong,
    /// Too many tags.
    #[error("at most {MAX_TAGS} tags")]
    TooManyTags,
}

impl Value {
    /// What kind of value it is.
    pub fn kind(&self) -> AttributeKind {
        match self {
            Self::Number(_) => AttributeKind::Number,
            Self::Text(_) => AttributeKind::Text,
            Self::Tags(_) => AttributeKind::Tags,
        }
    }

    /// Whether it may be an attribute of `kind`.
    ///
    /// # Errors
    /// [`ValueError`], in words that follow the attribute's name.
    pub fn check(&self, kind: AttributeKind) -> Result<(), ValueError> {
        if self.kind() != kind {
            return Err(ValueError::Kind { expected: kind.as_str(), found: self.kind().as_str() });
        }
        match self {
            Self::Number(number) if !number.is_finite() => Err(ValueError::NotFinite),
            Self::Text(text) if text.len() > MAX_TEXT_BYTES => Err(ValueError::TooLong),
            Self::Tags(tags) if tags.len() > MAX_TAGS => Err(ValueError::TooManyTags),
            Self::Tags(tags) if tags.iter().any(|tag| tag.len() > MAX_TEXT_BYTES) => Err(ValueError::TooLong),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_compared_are_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Value::Number(number).check(AttributeKind::Number), Err(ValueError::NotFinite));
        }
        assert_eq!(Value::Number(1.5).check(AttributeKind::Number), Ok(()));
        let error = Value::Text("x".into()).check(AttributeKind::Number).expect_err("a text");
        assert_eq!(error.to_string(), "must be a number, not a text");
        assert_eq!(Value::Text("x".repeat(65)).check(AttributeKind::Text), Err(ValueError::TooLong));
        let many = Value::Tags((0..33).map(|tag| tag.to_string()).collect());
        assert_eq!(many.check(AttributeKind::Tags), Err(ValueError::TooManyTags));
    }
}
