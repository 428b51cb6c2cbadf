//! From text to a tree. Whether its parts go together is decided in `types`.

use super::{Binary, FilterError, Function, MAX_DEPTH, MAX_NODES, Node, Part, Schema, Whose};
use muster_protocol::api::Value;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Number(f64),
    Text(String),
    Sign(&'static str),
    End,
}

/// Longer signs before those they begin with.
const SIGNS: [&str; 16] =
    ["==", "!=", "<=", ">=", "<", ">", "+", "-", "*", "(", ")", "[", "]", ",", ".", "="];

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, FilterError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let (length, token) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if first.is_ascii_digit() {
            number(at, rest)?
        } else if first.is_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (end, Token::Name(rest[..end].to_owned()))
        } else if first == '"' {
            let end =
                rest[1..].find('"').ok_or_else(|| FilterError::new(at, "this text is not closed with \""))?;
            (end + 2, Token::Text(rest[1..=end].to_owned()))
        } else if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            (sign.len(), Token::Sign(sign))
        } else {
            return Err(FilterError::new(at, format!("{first} means nothing here")));
        };
        tokens.push((at, token));
        at += length;
    }
    tokens.push((text.len(), Token::End));
    Ok(tokens)
}

fn number(at: usize, rest: &str) -> Result<(usize, Token), FilterError> {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(rest.len());
    match rest[..end].parse::<f64>() {
        Ok(number) if number.is_finite() => Ok((end, Token::Number(number))),
        _ => Err(FilterError::new(at, format!("{} is no number", &rest[..end]))),
    }
}

/// Reads a whole filter.
pub(super) fn parse(text: &str, schema: &Schema) -> Result<Node, FilterError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, nodes: 0, depth: 0, schema };
    let root = parser.either()?;
    match parser.peek() {
        (_, Token::End) => Ok(root),
        (at, _) => Err(FilterError::new(at, "there is more than one condition; join them with and, or")),
    }
}

struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    next: usize,
    nodes: usize,
    depth: usize,
    schema: &'a Schema,
}

impl Parser<'_> {
    fn peek(&self) -> (usize, Token) {
        // The last is the end, which is never passed.
        self.tokens[self.next.min(self.tokens.len() - 1)].clone()
    }

    fn take(&mut self) -> (usize, Token) {
        let token = self.peek();
        self.next += 1;
        token
    }

    /// Takes the next token if it is this word or sign.
    fn took(&mut self, what: &str) -> bool {
        let is = match self.peek().1 {
            Token::Name(name) => name == what,
            Token::Sign(sign) => sign == what,
            _ => false,
        };
        self.next += usize::from(is);
        is
    }

    fn node(&mut self, at: usize, part: Part) -> Result<Node, FilterError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(FilterError::new(at, format!("a filter may have at most {MAX_NODES} parts")));
        }
        Ok(Node { at, part })
    }

    fn nested<T>(
        &mut self,
        at: usize,
        inner: impl FnOnce(&mut Self) -> Result<T, FilterError>,
    ) -> Result<T, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FilterError::new(at, format!("nested deeper than {MAX_DEPTH}")));
        }
        let read = inner(self);
        self.depth -= 1;
        read
    }

    fn either(&mut self) -> Result<Node, FilterError> {
        let mut left = self.both()?;
        loop {
            let (at, _) = self.peek();
            if !self.took("or") {
                return Ok(left);
            }
            let right = self.both()?;
            left = self.node(at, Part::Binary(Binary::Or, Box::new(left), Box::new(right)))?;
        }
    }

    fn both(&mut self) -> Result<Node, FilterError> {
        let mut left = self.inverse()?;
        loop {
            let (at, _) = self.peek();
            if !self.took("and") {
                return Ok(left);
            }
            let right = self.inverse()?;
            left = self.node(at, Part::Binary(Binary::And, Box::new(left), Box::new(right)))?;
        }
    }

    fn inverse(&mut self) -> Result<Node, FilterError> {
        let (at, _) = self.peek();
        if !self.took("not") {
            return self.comparison();
        }
        let inner = self.nested(at, Self::inverse)?;
        self.node(at, Part::Not(Box::new(inner)))
    }

    fn comparison(&mut self) -> Result<Node, FilterError> {
        let left = self.sum()?;
        let (at, token) = self.peek();
        let operator = match token {
            Token::Sign("==" | "=") => Binary::Equal,
            Token::Sign("!=") => Binary::NotEqual,
            Token::Sign("<") => Binary::Less,
            Token::Sign("<=") => Binary::AtMost,
            Token::Sign(">") => Binary::Greater,
            Token::Sign(">=") => Binary::AtLeast,
            Token::Name(name) if name == "in" => Binary::In,
            _ => return Ok(left),
        };
        self.next += 1;
        let right = self.sum()?;
        self.node(at, Part::Binary(operator, Box::new(left), Box::new(right)))
    }

    fn sum(&mut self) -> Result<Node, FilterError> {
        let mut left = self.product()?;
        loop {
            let (at, token) = self.peek();
            let operator = match token {
                Token::Sign("+") => Binary::Plus,
                Token::Sign("-") => Binary::Minus,
                _ => return Ok(left),
            };
            self.next += 1;
            let right = self.product()?;
            left = self.node(at, Part::Binary(operator, Box::new(left), Box::new(right)))?;
        }
    }

    fn product(&mut self) -> Result<Node, FilterError> {
        let mut left = self.single()?;
        loop {
            let (at, _) = self.peek();
            if !self.took("*") {
                return Ok(left);
            }
            let right = self.single()?;
            left = self.node(at, Part::Binary(Binary::Times, Box::new(left), Box::new(right)))?;
        }
    }

    fn single(&mut self) -> Result<Node, FilterError> {
        let (at, token) = self.take();
        match token {
            Token::Number(number) => self.node(at, Part::Literal(Value::Number(number))),
            Token::Text(text) => self.node(at, Part::Literal(Value::Text(text))),
            Token::Sign("-") => {
                let inner = self.nested(at, Self::single)?;
                self.node(at, Part::Negative(Box::new(inner)))
            }
            Token::Sign("(") => {
                let inner = self.nested(at, Self::either)?;
                self.close(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.list(at),
            Token::Name(name) => self.named(at, &name),
            Token::Sign(sign) => Err(FilterError::new(at, format!("{sign} means nothing here"))),
            Token::End => Err(FilterError::new(at, "the filter ends where a value is expected")),
        }
    }

    fn close(&mut self, sign: &'static str) -> Result<(), FilterError> {
        if self.took(sign) {
            Ok(())
        } else {
            Err(FilterError::new(self.peek().0, format!("{sign} is missing")))
        }
    }

    /// A set of texts, after its bracket.
    fn list(&mut self, at: usize) -> Result<Node, FilterError> {
        let mut tags = std::collections::BTreeSet::new();
        while !self.took("]") {
            match self.take() {
                (_, Token::Text(text)) => tags.insert(text),
                (at, _) => return Err(FilterError::new(at, "a list holds texts, like [\"one\", \"two\"]")),
            };
            if !self.took(",") {
                self.close("]")?;
                break;
            }
        }
        self.node(at, Part::Literal(Value::Tags(tags)))
    }

    fn named(&mut self, at: usize, name: &str) -> Result<Node, FilterError> {
        match name {
            "true" => return self.node(at, Part::Truth(true)),
            "false" => return self.node(at, Part::Truth(false)),
            "mine" | "theirs" => {
                let whose = if name == "mine" { Whose::Mine } else { Whose::Theirs };
                self.close(".")?;
                return match self.take() {
                    (at, Token::Name(name)) => self.attribute(at, whose, &name),
                    (at, _) => Err(FilterError::new(at, "the name of an attribute is missing")),
                };
            }
            _ => {}
        }
        if !self.took("(") {
            // What is not said to be mine is of the other player.
            return self.attribute(at, Whose::Theirs, name);
        }
        let function = match name {
            "abs" => Function::Abs,
            "common" => Function::Common,
            _ => {
                return Err(FilterError::new(
                    at,
                    format!("there is no function {name}; there are abs, common"),
                ));
            }
        };
        let mut arguments = vec![self.nested(at, Self::sum)?];
        while self.took(",") {
            arguments.push(self.nested(at, Self::sum)?);
        }
        self.close(")")?;
        self.node(at, Part::Call(function, arguments))
    }

    fn attribute(&mut self, at: usize, whose: Whose, name: &str) -> Result<Node, FilterError> {
        let Some((position, _)) = self.schema.get(name) else {
            let known: Vec<&str> = self.schema.keys().map(String::as_str).collect();
            let what = format!("the queue declares no attribute {name}; it declares {}", known.join(", "));
            return Err(FilterError::new(at, what));
        };
        self.node(at, Part::Attribute(whose, *position))
    }
}
