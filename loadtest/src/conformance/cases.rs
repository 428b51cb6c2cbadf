//! What a case is, and running many: each by name, those that need what the SDK has not are told as skipped.

use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;

use super::driver::Driver;

/// One thing that is checked, in a world `W`.
pub struct Case<W> {
    /// Its name, by which it is chosen.
    pub name: &'static str,
    /// What it checks, in words.
    pub checks: &'static str,
    /// Features without which it is skipped; `a|b`: one of them is enough.
    pub needs: &'static [&'static str],
    /// Checks it.
    pub run: for<'a> fn(&'a W) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// Makes a list of cases: name, what is checked, features, function.
macro_rules! cases {
    ($($name:literal, $checks:literal, [$($need:literal),*], $run:expr;)*) => {
        vec![$($crate::conformance::cases::Case {
            name: $name, checks: $checks, needs: &[$($need),*], run: |world| Box::pin($run(world)),
        },)*]
    };
}
pub(crate) use cases;

/// What came of a case.
#[derive(Debug)]
pub enum Verdict {
    /// It is as it should be.
    Passed,
    /// The SDK has not what it needs: this feature.
    Skipped(&'static str),
    /// It is not.
    Failed(anyhow::Error),
}

/// What came of all.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cases passed.
    pub passed: usize,
    /// Cases skipped.
    pub skipped: usize,
    /// Names of those that failed.
    pub failed: Vec<&'static str>,
}

impl Tally {
    /// Notes and shows one.
    pub fn add(&mut self, name: &'static str, verdict: &Verdict, took: Duration) {
        let ms = took.as_millis();
        match verdict {
            Verdict::Passed => {
                self.passed += 1;
                println!("  ✓ {name:<34} {ms:>6} ms");
            }
            Verdict::Skipped(feature) => {
                self.skipped += 1;
                println!("  - {name:<34} skipped: the SDK has no {feature}");
            }
            Verdict::Failed(error) => {
                self.failed.push(name);
                println!("  ✗ {name:<34} {ms:>6} ms\n      {error:#}");
            }
        }
    }
}

/// Whether `name` is among those asked for; nothing asked for is all.
pub fn is_wanted(name: &str, wanted: &[String]) -> bool {
    wanted.is_empty() || wanted.iter().any(|prefix| name.starts_with(prefix.as_str()))
}

/// Runs one case.
pub async fn run<W>(case: &Case<W>, driver: &Driver, world: &W) -> (Verdict, Duration) {
    let missing = case.needs.iter().find(|need| !need.split('|').any(|feature| driver.has(feature)));
    if let Some(missing) = missing {
        return (Verdict::Skipped(missing), Duration::ZERO);
    }
    let began = Instant::now();
    let verdict = match (case.run)(world).await {
        Ok(()) => Verdict::Passed,
        Err(error) => Verdict::Failed(error),
    };
    (verdict, began.elapsed())
}
