//! How busy this machine is, and what it has.

use muster_protocol::agent::NodeCapacity;
use sysinfo::System;

use crate::config::Config;

/// Part of the machine's memory that servers are offered if nothing is configured, in tenths: the rest
/// is for the system, Docker and this agent.
const MEMORY_TENTHS: u64 = 9;

/// Measures the machine.
pub(super) struct Usage {
    /// `None` on a system that cannot be measured: then everything is 0.
    system: Option<System>,
}

impl Usage {
    pub(super) fn new() -> Self {
        let mut usage = Self { system: System::new().ok() };
        // CPU use is a difference between two looks.
        usage.now();
        usage
    }

    /// CPU in use since the last call, in thousandths of a core, and memory in use, in bytes.
    pub(super) fn now(&mut self) -> (u32, u64) {
        let Some(system) = &mut self.system else { return (0, 0) };
        system.refresh_cpu_usage();
        system.refresh_memory();
        let cores = system.cpus().len() as f32;
        ((system.global_cpu_usage() * cores * 10.0) as u32, system.used_memory())
    }
}

/// What is offered to servers: as configured, else what there is.
pub(crate) fn capacity(config: &Config) -> NodeCapacity {
    let usage = Usage::new();
    let cores = usage.system.as_ref().map_or(1, |system| system.cpus().len().max(1)) as u32;
    let memory = usage.system.as_ref().map_or(0, System::total_memory);
    NodeCapacity {
        cpu_millis: config.cpu_millis.unwrap_or(cores * 1000),
        memory_bytes: config
            .memory_mib
            .map_or(memory / 10 * MEMORY_TENTHS, |mib| mib.saturating_mul(1 << 20)),
    }
}

/// This machine's host name.
pub(crate) fn host_name() -> String {
    System::host_name().unwrap_or_else(|_| "unnamed".to_owned())
}
