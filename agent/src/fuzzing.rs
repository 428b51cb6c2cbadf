//! What the agent takes in from edges, as its fuzz target has it: any bytes are a story, which panics if a promise is broken.
//!
//! For `fuzz/` alone; nothing that runs calls it.

/// A story of edges, servers and time, against the flows of one agent.
pub fn agent_flows(story: &[u8]) {
    crate::tunnel::fuzz_flows(story);
}
