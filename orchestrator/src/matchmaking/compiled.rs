//! Definitions of queues, compiled and kept: every ticket that comes or is looked at needs its queue's, which changes
//! seldom.
//!
//! Pure but for its memory: what is kept under a definition is what compiling it gives. Not where definitions are
//! judged: those that come here were taken by the API.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use muster_matchmaker::Queue;
use muster_protocol::api::QueueSpec;

use crate::records::QueueRecord;
use crate::state::StateError;

/// Definitions kept at most; with more queues than that in use, they are compiled again now and then.
const MAX_KEPT: usize = 256;

static KEPT: LazyLock<Mutex<HashMap<String, Arc<Compiled>>>> = LazyLock::new(Mutex::default);

/// What was applied, and the queue that it defines.
pub(crate) struct Compiled {
    pub(crate) spec: QueueSpec,
    pub(crate) queue: Queue,
}

/// The queue of `record`, compiled.
///
/// # Errors
/// [`StateError::Newer`] if this version cannot read the definition.
pub(crate) fn compile(record: &QueueRecord) -> Result<Arc<Compiled>, StateError> {
    let kept = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kept().get(&record.spec_json) {
        return Ok(known.clone());
    }
    let spec = record.to_spec()?;
    let queue = Queue::compile(&spec).map_err(|error| StateError::Newer {
        what: format!("queue {}", record.name),
        reason: error.to_string(),
    })?;
    let compiled = Arc::new(Compiled { spec, queue });
    // What older versions wrote is in the record's fields, and not to be told apart by its text, which is empty.
    if !record.spec_json.is_empty() {
        let mut kept = kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(record.spec_json.clone(), compiled.clone());
    }
    Ok(compiled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(players: u32, spec_json: &str) -> QueueRecord {
        let fields =
            QueueRecord { name: "duel".into(), fleet: "arena".into(), players, ..Default::default() };
        QueueRecord { spec_json: spec_json.to_owned(), ..fields }
    }

    #[test]
    fn the_same_definition_is_compiled_once_and_another_is_another() {
        let text =
            |players| serde_json::to_string(&QueueSpec::simple("duel", "arena", players)).expect("JSON");
        let (two, same) =
            (compile(&record(2, &text(2))).expect("two"), compile(&record(2, &text(2))).expect("two"));
        assert!(Arc::ptr_eq(&two, &same));
        let three = compile(&record(3, &text(3))).expect("three");
        assert_eq!((two.queue.sizes(), three.queue.sizes()), ((2, 2), (3, 3)));
    }

    #[test]
    fn older_records_are_told_apart_although_they_have_no_text() {
        let sizes = |players| compile(&record(players, "")).expect("old").queue.sizes();
        assert_eq!((sizes(2), sizes(3)), ((2, 2), (3, 3)));
    }
}
