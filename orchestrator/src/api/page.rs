//! Pages of lists: what a query asks for, and how rows become an answer.

use muster_protocol::api::Page;
use serde::Deserialize;

use super::problem::{ApiProblem, ApiResult};

/// Rows of a page if the query does not say.
pub(crate) const DEFAULT_LIMIT: usize = 100;
/// Most rows of a page.
pub(crate) const MAX_LIMIT: usize = 1_000;

/// Query of every list.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// Most rows, 1 to 1,000; 100 if not given.
    pub(crate) limit: Option<usize>,
}

impl PageQuery {
    /// Rows that the page may hold.
    pub(crate) fn limit(&self) -> ApiResult<usize> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if (1..=MAX_LIMIT).contains(&limit) {
            return Ok(limit);
        }
        Err(ApiProblem::invalid_request(
            format!("limit {limit} is outside 1 to {MAX_LIMIT}"),
            "ask for fewer rows and follow `next`",
        ))
    }

    /// The page's part of `rows`, which are all there are, ordered by `key`; and the next page's `after`.
    pub(crate) fn part<T>(
        &self,
        rows: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> ApiResult<(Vec<T>, Option<String>)> {
        let rows = rows.into_iter().filter(|row| self.after.as_ref().is_none_or(|after| key(row) > *after));
        let limit = self.limit()?;
        Ok(cut(rows.take(limit + 1).collect(), limit, key))
    }
}

/// The first `limit` of `rows`, which were read with one more; and the next page's `after`, if there is
/// one.
pub(crate) fn cut<T>(mut rows: Vec<T>, limit: usize, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    if rows.len() <= limit {
        return (rows, None);
    }
    rows.truncate(limit);
    let next = rows.last().map(key);
    (rows, next)
}

/// A page of `rows`, each told by `view`.
pub(crate) fn page<T, U>((rows, next): (Vec<T>, Option<String>), view: impl FnMut(T) -> U) -> Page<U> {
    Page { items: rows.into_iter().map(view).collect(), next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_every_row_once() {
        let rows: Vec<u32> = (0..7).collect();
        let key = |row: &u32| format!("{row:03}");
        let mut query = PageQuery { after: None, limit: Some(3) };
        let mut seen = Vec::new();
        loop {
            let (part, next) = query.part(rows.clone(), key).expect("a valid limit");
            seen.extend(part);
            let Some(next) = next else { break };
            query.after = Some(next);
        }
        assert_eq!(seen, rows);
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let (part, next) = cut(vec![1, 2], 2, ToString::to_string);
        assert_eq!((part.len(), next), (2, None));
    }

    #[test]
    fn limits_are_bounded() {
        for limit in [0, MAX_LIMIT + 1] {
            assert!(PageQuery { after: None, limit: Some(limit) }.limit().is_err());
        }
    }
}
