//! Containers that were found, or not found, on looking around, and the one a launch has made.

use muster_protocol::agent::PortProtocol;

use super::super::{Container, Effect, Observed, ObservedStatus, Probe, ProbePort, RoutePort};
use super::{Server, State};
use crate::failure;

impl Server {
    /// Takes in how Docker has the server's container.
    pub(in crate::reconcile) fn observed(&mut self, found: Observed, now: u64, out: &mut Vec<Effect>) {
        match self.state {
            // Its own launch will answer.
            State::Fetching | State::Launching => {}
            State::Waiting => match found.status {
                // Left by a run that ended before it could start it.
                ObservedStatus::Created => out.push(Effect::Remove(found.container.id)),
                status => {
                    self.starting_at_ms = if self.starting_at_ms == 0 { now } else { self.starting_at_ms };
                    self.adopt(found.container, status, now, out);
                }
            },
            State::Starting { .. } | State::Ready | State::Stopping { .. } => {
                // One that was never started was looked at before it was.
                if self.container_id() == Some(found.container.id.as_str())
                    && found.status != ObservedStatus::Created
                {
                    self.adopt(found.container, found.status, now, out);
                }
            }
            State::Ended => {
                self.remains = matches!(found.status, ObservedStatus::Running { .. });
                if self.remains {
                    out.push(Effect::Stop {
                        server: self.id,
                        container_id: found.container.id.clone(),
                        grace_ms: self.spec.stop_grace_ms,
                    });
                }
                self.container = Some(found.container);
            }
        }
    }

    /// Docker was asked for every container of this node, and this server's was not there.
    pub(in crate::reconcile) fn not_observed(&mut self, as_of_ms: u64, now: u64, out: &mut Vec<Effect>) {
        if self.container_since_ms >= as_of_ms {
            return;
        }
        if self.is_live() {
            self.container = None;
            self.fail(failure::container_lost(), now);
            out.push(Effect::Shut(self.id));
        } else if self.is_ended() {
            self.container = None;
            self.remains = false;
        }
    }

    /// The container is this server's; how it stands decides where the server is.
    pub(super) fn adopt(
        &mut self,
        container: Container,
        status: ObservedStatus,
        now: u64,
        out: &mut Vec<Effect>,
    ) {
        let routes = self
            .spec
            .ports
            .iter()
            .zip(&container.ports)
            .map(|(port, &address)| RoutePort { protocol: port.protocol(), address })
            .collect();
        let container_id = container.id.clone();
        if self.container_id() != Some(container_id.as_str()) {
            self.container_since_ms = now;
        }
        self.container = Some(container.clone());
        match status {
            ObservedStatus::Running { running_at_ms } => {
                self.running_at_ms = running_at_ms;
                out.push(Effect::Open(self.id, routes));
                match self.state {
                    State::Ready => {}
                    State::Stopping { .. } => self.stop(out),
                    _ if self.said_ready => self.become_ready(now),
                    State::Starting { .. } => out.push(Effect::Probe(self.id, self.probe(&container))),
                    _ => {
                        self.state = State::Starting { since_ms: now };
                        out.push(Effect::Probe(self.id, self.probe(&container)));
                    }
                }
            }
            ObservedStatus::Exited(exit) => {
                if !self.is_live() {
                    self.state = State::Starting { since_ms: now };
                }
                self.exited(&container_id, exit, out);
            }
            ObservedStatus::Created => {
                self.fail(failure::container_start_failed("it was created and never ran"), now);
                out.push(Effect::Shut(self.id));
            }
        }
    }

    fn probe(&self, container: &Container) -> Probe {
        let ports = self.spec.ports.iter().zip(&container.ports);
        Probe {
            pid: container.pid,
            ports: ports
                .map(|(port, &address)| ProbePort {
                    udp: port.protocol() == PortProtocol::Udp,
                    container_port: port.container_port as u16,
                    address,
                })
                .collect(),
        }
    }
}
