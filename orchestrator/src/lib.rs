//! muster-orchestrator.
