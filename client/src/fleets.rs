//! Fleets, and claiming servers of them.

use muster_protocol::api::{AllocateRequest, Allocated, Fleet, FleetSpec, Page};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Makes the fleet `spec.name`, or changes it to be as `spec` says.
    pub async fn apply_fleet(&self, spec: &FleetSpec) -> Result<Fleet, ClientError> {
        self.call(Method::PUT, &["fleets", &spec.name]).json(spec).read().await
    }

    /// A fleet and how it stands.
    pub async fn fleet(&self, name: &str) -> Result<Fleet, ClientError> {
        self.call(Method::GET, &["fleets", name]).read().await
    }

    /// Fleets of the namespace, from after `after` on.
    pub async fn fleets(&self, after: Option<&str>) -> Result<Page<Fleet>, ClientError> {
        self.call(Method::GET, &["fleets"]).query(&after.map(|after| [("after", after)])).read().await
    }

    /// Deletes a fleet; its servers are drained.
    pub async fn delete_fleet(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["fleets", name]).done().await
    }

    /// Claims a ready server of a fleet.
    pub async fn allocate(&self, fleet: &str, request: &AllocateRequest) -> Result<Allocated, ClientError> {
        self.call(Method::POST, &["fleets", fleet, "allocate"]).json(request).read().await
    }
}
