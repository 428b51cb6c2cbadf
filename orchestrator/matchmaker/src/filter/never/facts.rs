//! What comparisons say of numbers, texts and tags, put together until it excludes itself.

use std::collections::{BTreeMap, BTreeSet};

use super::super::eval;
use super::super::{Binary, Node, Part};
use super::Claim;
use super::linear::{Linear, known, name, range};
use muster_protocol::api::{MAX_TEXT_BYTES, Value};

/// How much two bounds must differ, of what they are, to exclude each other: far more than is rounded off.
const ROUNDING: f64 = 1e-9;

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Facts {
    numbers: BTreeMap<String, Interval>,
    texts: BTreeMap<String, Texts>,
    /// Comparisons that hold or do not, whatever they mean.
    plain: BTreeMap<String, bool>,
}

/// Where a number lies.
#[derive(Debug)]
struct Interval {
    low: f64,
    high: f64,
    /// Whether the bound itself is out.
    is_above: bool,
    is_below: bool,
    not: Vec<f64>,
}

/// What a text may be.
#[derive(Debug, Default)]
struct Texts {
    one_of: Option<BTreeSet<String>>,
    not: BTreeSet<String>,
}

impl Facts {
    /// What `claims` say; `None` if that excludes itself.
    pub(super) fn of(claims: &[Claim<'_>], mine: Option<&[Value]>) -> Option<Self> {
        let mut facts = Self::default();
        claims.iter().all(|(node, is_to_hold)| facts.take(node, *is_to_hold, mine)).then_some(facts)
    }

    /// Takes in that a comparison holds, or does not. Returns whether it can be.
    fn take(&mut self, node: &Node, is_to_hold: bool, mine: Option<&[Value]>) -> bool {
        let Part::Binary(operator, left, right) = &node.part else {
            return !matches!(node.part, Part::Truth(truth) if truth != is_to_hold);
        };
        if let (Some(one), Some(other)) = (known(left, mine), known(right, mine)) {
            return eval::compare(*operator, one, other) == is_to_hold;
        }
        let (operator, is_to_hold) = match operator {
            Binary::NotEqual => (Binary::Equal, !is_to_hold),
            operator => (*operator, is_to_hold),
        };
        if compares_numbers(operator, [left, right], mine) {
            let left_over = Linear::of(left, mine).minus(Linear::of(right, mine));
            return self.number(left_over, operator, is_to_hold);
        }
        let (one, other) = (name(left, mine), name(right, mine));
        if one == other && operator == Binary::Equal {
            return is_to_hold;
        }
        let plain = if operator == Binary::Equal && other < one {
            format!("{other} {operator:?} {one}")
        } else {
            format!("{one} {operator:?} {other}")
        };
        if *self.plain.entry(plain).or_insert(is_to_hold) != is_to_hold {
            return false;
        }
        match (operator, known(left, mine), known(right, mine)) {
            (Binary::Equal, Some(Value::Text(text)), None) => {
                self.text(other, [text.clone()].into(), is_to_hold)
            }
            (Binary::Equal, None, Some(Value::Text(text))) => {
                self.text(one, [text.clone()].into(), is_to_hold)
            }
            (Binary::In, None, Some(Value::Tags(texts))) => self.text(one, texts.clone(), is_to_hold),
            (Binary::In, Some(Value::Text(tag)), None) => !is_to_hold || tag.len() <= MAX_TEXT_BYTES,
            _ => true,
        }
    }

    /// Takes in how `left_over` compares with 0.
    fn number(&mut self, left_over: Linear, operator: Binary, is_to_hold: bool) -> bool {
        // `not <` is `>=`: numbers that cannot be compared come of no sum of finite ones that means anything.
        let operator = match (operator, is_to_hold) {
            (operator, true) => operator,
            (Binary::Less, _) => Binary::AtLeast,
            (Binary::AtMost, _) => Binary::Greater,
            (Binary::Greater, _) => Binary::AtMost,
            (Binary::AtLeast, _) => Binary::Less,
            _ => Binary::NotEqual,
        };
        let Some((first, count)) =
            left_over.terms.first_key_value().map(|(name, count)| (name.clone(), *count))
        else {
            return eval::compare(operator, &Value::Number(left_over.constant), &Value::Number(0.0));
        };
        // Of sums that are so many times another, one.
        let bound = -left_over.constant / count;
        let terms = left_over.terms.iter().map(|(name, of)| format!("{} {name}", of / count));
        let key = terms.collect::<Vec<_>>().join(" + ");
        let interval = self.numbers.entry(key).or_insert_with(|| {
            let alone = left_over.terms.len() == 1;
            let (low, high) = if alone { range(&first) } else { (f64::NEG_INFINITY, f64::INFINITY) };
            Interval { low, high, is_above: false, is_below: false, not: Vec::new() }
        });
        let operator = match operator {
            Binary::Less if count < 0.0 => Binary::Greater,
            Binary::AtMost if count < 0.0 => Binary::AtLeast,
            Binary::Greater if count < 0.0 => Binary::Less,
            Binary::AtLeast if count < 0.0 => Binary::AtMost,
            operator => operator,
        };
        interval.take(operator, bound);
        interval.has_any()
    }

    /// Takes in that a text is one of `texts`, or none of them.
    fn text(&mut self, of: String, mut texts: BTreeSet<String>, is_to_hold: bool) -> bool {
        let known = self.texts.entry(of).or_default();
        if is_to_hold {
            texts.retain(|text| text.len() <= MAX_TEXT_BYTES);
            let both = known.one_of.take().map(|before| before.intersection(&texts).cloned().collect());
            known.one_of = Some(both.unwrap_or(texts));
        } else {
            known.not.extend(texts);
        }
        known.one_of.as_ref().is_none_or(|texts| !texts.is_subset(&known.not))
    }
}

impl Interval {
    fn take(&mut self, operator: Binary, bound: f64) {
        if matches!(operator, Binary::Greater | Binary::AtLeast | Binary::Equal) && bound >= self.low {
            self.is_above = operator == Binary::Greater || (self.is_above && bound <= self.low);
            self.low = bound;
        }
        if matches!(operator, Binary::Less | Binary::AtMost | Binary::Equal) && bound <= self.high {
            self.is_below = operator == Binary::Less || (self.is_below && bound >= self.high);
            self.high = bound;
        }
        if operator == Binary::NotEqual {
            self.not.push(bound);
        }
    }

    /// Whether there is a number in it.
    fn has_any(&self) -> bool {
        let Self { low, high, .. } = *self;
        if low < high || !low.is_finite() || !high.is_finite() {
            return true;
        }
        let rounding = ROUNDING * low.abs().max(high.abs()).max(1.0);
        let is_out = self.is_above || self.is_below || self.not.contains(&low);
        low - high <= rounding && !(low <= high && is_out)
    }
}

/// Whether two are compared as numbers, as far as that is seen without knowing what is declared.
fn compares_numbers(operator: Binary, sides: [&Node; 2], mine: Option<&[Value]>) -> bool {
    let is_number = |node: &&Node| match node.part {
        Part::Negative(_) | Part::Binary(..) | Part::Call(..) => true,
        _ => matches!(known(node, mine), Some(Value::Number(_))),
    };
    matches!(operator, Binary::Less | Binary::AtMost | Binary::Greater | Binary::AtLeast)
        || (operator == Binary::Equal && sides.iter().any(is_number))
}
