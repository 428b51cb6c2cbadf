//! The installation: nodes, edges, regions, status, its CA.

use muster_protocol::api::{Edge, EdgeLimits, EdgeTraffic, Node, Page, Region, Status};
use muster_protocol::id::EdgeId;
use reqwest::Method;

use crate::builds::TRANSFER_TIMEOUT;
use crate::{ByteStream, Client, ClientError};

impl Client {
    /// Nodes, from after `after` on.
    pub async fn nodes(&self, after: Option<&str>) -> Result<Page<Node>, ClientError> {
        self.call(Method::GET, &["nodes"]).query(&after.map(|after| [("after", after)])).read().await
    }

    /// Edges, from after `after` on.
    pub async fn edges(&self, after: Option<&str>) -> Result<Page<Edge>, ClientError> {
        self.call(Method::GET, &["edges"]).query(&after.map(|after| [("after", after)])).read().await
    }

    /// What goes through an edge now. Needs an admin token.
    pub async fn edge_traffic(&self, edge: EdgeId) -> Result<EdgeTraffic, ClientError> {
        self.call(Method::GET, &["edges", &edge.to_string(), "traffic"]).read().await
    }

    /// Regions and their latency beacons.
    pub async fn regions(&self) -> Result<Page<Region>, ClientError> {
        self.call(Method::GET, &["regions"]).read().await
    }

    /// What sources may send to a region's edges. Needs an admin token, as setting it does.
    pub async fn edge_limits(&self, region: &str) -> Result<EdgeLimits, ClientError> {
        self.call(Method::GET, &["regions", region, "limits"]).read().await
    }

    /// Sets what sources may send to a region's edges.
    pub async fn set_edge_limits(
        &self,
        region: &str,
        limits: &EdgeLimits,
    ) -> Result<EdgeLimits, ClientError> {
        self.call(Method::PUT, &["regions", region, "limits"]).json(limits).read().await
    }

    /// How the installation is.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.call(Method::GET, &["status"]).read().await
    }

    /// A backup of everything, as `muster backup` keeps it. Needs an admin token.
    pub async fn backup(&self) -> Result<ByteStream, ClientError> {
        self.call(Method::GET, &["backup"]).timeout(TRANSFER_TIMEOUT).stream().await
    }

    /// The certificate (PEM) of Muster's own CA, which `wss` endpoints may be signed by. Needs no token.
    pub async fn authority_pem(&self) -> Result<String, ClientError> {
        self.call(Method::GET, &["ca.pem"]).text().await
    }
}
