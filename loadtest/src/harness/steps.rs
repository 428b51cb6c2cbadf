//! Steps a person waits for: each is shown while it runs, and how long it took is kept.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a spinner turns.
const SPIN_EVERY: Duration = Duration::from_millis(100);

/// The steps done so far.
#[derive(Debug, Default)]
pub struct Steps {
    shown: bool,
    done: Vec<(String, u64)>,
}

impl Steps {
    /// Steps that are shown on stderr.
    pub fn shown() -> Self {
        Self { shown: true, done: Vec::new() }
    }

    /// Steps that are only timed.
    pub fn silent() -> Self {
        Self::default()
    }

    /// Runs `work` as the step `name`, shown as `text`.
    pub async fn run<T>(
        &mut self,
        name: &str,
        text: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        let bar = self.spinner(text);
        let result = work.await;
        bar.finish_and_clear();
        let took = began.elapsed();
        if self.shown {
            let mark = if result.is_ok() { "✓" } else { "✗" };
            eprintln!("  {mark} {text:<58} {:>8}", seconds(took));
        }
        self.done.push((name.to_owned(), took.as_millis() as u64));
        result
    }

    /// Shows a line below the step before it.
    pub fn tell(&self, line: &str) {
        if self.shown {
            eprintln!("      {line}");
        }
    }

    /// Names and milliseconds, in the order of the steps.
    pub fn done(&self) -> &[(String, u64)] {
        &self.done
    }

    /// Names and milliseconds, as reports carry them.
    pub fn phases_ms(&self) -> BTreeMap<String, u64> {
        self.done.iter().cloned().collect()
    }

    fn spinner(&self, text: &str) -> ProgressBar {
        if !self.shown {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("  {spinner} {msg:<58} {elapsed:>8}")
            .expect("the template is a constant and valid");
        // Draws nothing where stderr is no terminal.
        let bar = ProgressBar::new_spinner().with_style(style).with_message(text.to_owned());
        bar.enable_steady_tick(SPIN_EVERY);
        bar
    }
}

/// A duration as people read it.
pub fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn steps_are_kept_in_order_failures_too() {
        let mut steps = Steps::silent();
        steps.run("one", "the first", async { Ok(()) }).await.expect("succeeds");
        let failed =
            steps.run("two", "the second", async { anyhow::bail!("no") as anyhow::Result<()> }).await;
        assert!(failed.is_err());
        assert_eq!(steps.done().iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    }
}
