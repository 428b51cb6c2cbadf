//! How this node's containers are: one, or all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState};
use bollard::query_parameters::ListContainersOptionsBuilder;
use muster_protocol::agent::{ServerExit, ServerSpec};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::container::{self, ENV_TOKEN, LABEL_NODE};
use super::{Engine, EngineError};
use crate::config::ContainerReach;
use crate::reconcile::{Container, Exit, Observed, ObservedStatus};

/// Exit code of a process that was killed: 128 and the signal's number.
const SIGKILLED: i64 = 137;
/// How often, and after which pause each time, it is asked again whether memory was why.
const OOM_LOOKS: u32 = 3;
const OOM_PAUSE: Duration = Duration::from_millis(150);

/// A container found on looking around.
pub(crate) struct Found {
    /// For reconciliation.
    pub(crate) observed: Observed,
    /// The SDK token in its environment.
    pub(crate) token: Option<String>,
}

impl Engine {
    /// Every container that carries this node's label.
    pub(crate) async fn look_around(&self) -> Result<Vec<Found>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("{LABEL_NODE}={}", self.node)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let mut found = Vec::new();
        for summary in self.docker.list_containers(Some(options)).await.map_err(EngineError::from)? {
            let Some(id) = summary.id else { continue };
            let Some(spec) = summary.labels.as_ref().and_then(container::spec_of) else {
                tracing::warn!(
                    container = id,
                    "a container with this node's label has no readable specification; left alone"
                );
                continue;
            };
            let inspected = match self.docker.inspect_container(&id, None).await.map_err(EngineError::from) {
                Ok(inspected) => inspected,
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            let token = token_of(&inspected);
            let (container, status) = self.describe(&id, inspected, &spec).await;
            found.push(Found { observed: Observed { spec, container, status }, token });
        }
        Ok(found)
    }

    /// One container.
    pub(super) async fn look_at(
        &self,
        id: &str,
        spec: &ServerSpec,
    ) -> Result<(Container, ObservedStatus), EngineError> {
        let inspected = self.docker.inspect_container(id, None).await.map_err(EngineError::from)?;
        Ok(self.describe(id, inspected, spec).await)
    }

    /// How the container's process ended; `None` if it has not, or the container is gone.
    pub(crate) async fn exit_of(&self, id: &str) -> Result<Option<Exit>, EngineError> {
        match self.docker.inspect_container(id, None).await.map_err(EngineError::from) {
            Ok(inspected) => Ok(self.exit(id, inspected.state.unwrap_or_default()).await),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn describe(
        &self,
        id: &str,
        inspected: ContainerInspectResponse,
        spec: &ServerSpec,
    ) -> (Container, ObservedStatus) {
        let container = Container {
            id: id.to_owned(),
            pid: inspected
                .state
                .as_ref()
                .and_then(|state| u32::try_from(state.pid?).ok())
                .filter(|&pid| pid != 0),
            ports: self.ports(&inspected, spec),
        };
        let state = inspected.state.unwrap_or_default();
        if state.running == Some(true) {
            let running_at_ms = milliseconds(state.started_at.as_deref());
            return (container, ObservedStatus::Running { running_at_ms });
        }
        let status = self.exit(id, state).await.map_or(ObservedStatus::Created, ObservedStatus::Exited);
        (container, status)
    }

    async fn exit(&self, id: &str, state: ContainerState) -> Option<Exit> {
        let at_ms = milliseconds(state.finished_at.as_deref());
        // Docker writes the year 1 until there is something to write.
        if state.running == Some(true) || at_ms == 0 {
            return None;
        }
        let exit = ServerExit {
            code: state.exit_code.unwrap_or_default(),
            out_of_memory: self.ran_out_of_memory(id, &state, at_ms).await,
            log_tail: self.log_tail(id).await,
        };
        Some(Exit { exit, at_ms })
    }

    /// Whether the kernel killed it for its memory limit. If Docker does not say so of a kill that is not ours, the
    /// kernel is asked, and Docker again: it hears of that later than of the exit.
    async fn ran_out_of_memory(&self, id: &str, state: &ContainerState, at_ms: u64) -> bool {
        let mut docker_says = state.oom_killed == Some(true);
        if docker_says || state.exit_code != Some(SIGKILLED) || self.deaths.is_ours(id) {
            return docker_says;
        }
        for _ in 0..OOM_LOOKS {
            if self.deaths.kernel_killed_at(at_ms) {
                return true;
            }
            tokio::time::sleep(OOM_PAUSE).await;
            let Ok(again) = self.docker.inspect_container(id, None).await else { break };
            docker_says = again.state.is_some_and(|state| state.oom_killed == Some(true));
            if docker_says {
                break;
            }
        }
        docker_says
    }

    fn ports(&self, inspected: &ContainerInspectResponse, spec: &ServerSpec) -> Vec<SocketAddr> {
        let unknown = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let Some(settings) = &inspected.network_settings else { return Vec::new() };
        let bridge = settings.networks.as_ref().and_then(|networks| {
            networks
                .values()
                .find(|endpoint| endpoint.network_id.as_ref() == Some(&self.network.id))
                .and_then(|endpoint| endpoint.ip_address.as_ref()?.parse::<IpAddr>().ok())
        });
        spec.ports
            .iter()
            .map(|port| match self.reach {
                ContainerReach::Published => settings
                    .ports
                    .as_ref()
                    .and_then(|ports| {
                        ports.get(&container::docker_port(port))?.as_ref()?.first()?.host_port.as_ref()
                    })
                    .and_then(|port| Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.parse().ok()?)))
                    .unwrap_or(unknown),
                ContainerReach::Auto | ContainerReach::Bridge => {
                    bridge.map_or(unknown, |address| SocketAddr::new(address, port.container_port as u16))
                }
            })
            .collect()
    }
}

fn token_of(inspected: &ContainerInspectResponse) -> Option<String> {
    let environment = inspected.config.as_ref()?.env.as_ref()?;
    environment.iter().find_map(|entry| entry.strip_prefix(ENV_TOKEN)?.strip_prefix('=')).map(str::to_owned)
}

fn milliseconds(text: Option<&str>) -> u64 {
    text.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        .and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_times_are_read() {
        assert_eq!(milliseconds(Some("2024-01-02T03:04:05.678901234Z")), 1_704_164_645_678);
        assert_eq!(milliseconds(Some("0001-01-01T00:00:00Z")), 0);
        assert_eq!(milliseconds(Some("later")), 0);
        assert_eq!(milliseconds(None), 0);
    }
}
