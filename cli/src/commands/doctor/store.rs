//! Whether the store can be opened and its records agree.

use muster_orchestrator::run::STORE_FILE;
use muster_orchestrator::{Config, Database, OpenError, OpenOptions, StoreLocation, check};

use super::Verdict;

/// Most workflows that are named.
const MAX_STUCK: usize = 20;

/// What is wrong with the store, and whether an orchestrator of this machine has it open.
pub(super) async fn check(config: &Config) -> (Verdict, bool) {
    let file = config.data_dir.join(STORE_FILE);
    if config.store.0 == StoreLocation::Embedded && !file.exists() {
        let words = format!("{} is not there yet; the orchestrator makes it", file.display());
        return (Verdict::Skipped(words), false);
    }
    let db = match Database::open_location(&config.store.0, &file, OpenOptions::default()).await {
        Ok(db) => db,
        Err(OpenError::InUse { .. }) => {
            let words = "an orchestrator has it open; what is wrong with it shows at its API".to_owned();
            return (Verdict::Ok(words), true);
        }
        Err(error) => return (Verdict::Problem(error.to_string()), false),
    };
    let checked = check::check(&db).await;
    let stuck = db.read("stuck", async |mut tx| check::stuck(&mut tx, MAX_STUCK, 0).await).await;
    db.shutdown().await;
    let verdict = match checked {
        Err(error) => Verdict::Problem(error.to_string()),
        Ok(report) => {
            let mut problems = stuck.unwrap_or_else(|error| vec![error.to_string()]);
            if !report.findings.is_empty() {
                problems.push(format!(
                    "{} rows do not agree; see which with `muster store check`, keep a copy of the store and report it",
                    report.findings.len()
                ));
            }
            let rows: u64 = report.rows.values().sum();
            if problems.is_empty() {
                Verdict::Ok(format!("{rows} rows, and all agree"))
            } else {
                Verdict::Problem(problems.join("\n"))
            }
        }
    };
    (verdict, false)
}
