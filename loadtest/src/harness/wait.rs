//! Waiting for a condition, with a deadline and the reason why it does not hold yet.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a look at a condition showed.
#[derive(Debug)]
pub enum Look<T> {
    /// It holds.
    Holds(T),
    /// Not yet; in words, what there is instead.
    NotYet(String),
}

/// Looks until `what` holds; an error of `look` ends the waiting at once.
///
/// # Errors
/// After `deadline`, with what was seen last; and whatever `look` fails with.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Look<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match look().await? {
            Look::Holds(value) => return Ok(value),
            Look::NotYet(seen) if began.elapsed() >= deadline => {
                bail!("waited {} s for {what}, but {seen}", deadline.as_secs())
            }
            Look::NotYet(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// A look at a boolean; `seen` says what there is while it does not hold.
pub fn when(holds: bool, seen: impl FnOnce() -> String) -> Look<()> {
    if holds { Look::Holds(()) } else { Look::NotYet(seen()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_is_looked_at_until_it_holds() {
        let mut looks = 0;
        let value = until("three looks", Duration::from_secs(5), async || {
            looks += 1;
            Ok(if looks == 3 { Look::Holds(looks) } else { Look::NotYet("too few".into()) })
        })
        .await;
        assert_eq!(value.expect("holds at the third look"), 3);
    }

    #[tokio::test]
    async fn a_deadline_tells_what_was_seen_last() {
        let error =
            until::<()>("rain", Duration::ZERO, async || Ok(Look::NotYet("the sun shines".into()))).await;
        let text = error.expect_err("never holds").to_string();
        assert!(text.contains("rain") && text.contains("the sun shines"), "{text}");
    }
}
