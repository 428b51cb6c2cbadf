//! Queues: matchmaking modes.

use muster_protocol::api::{Page, Queue, QueueSpec, QueueVersion, RecordedTicket};
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Makes the queue `spec.name`, or changes it to be as `spec` says.
    pub async fn apply_queue(&self, spec: &QueueSpec) -> Result<Queue, ClientError> {
        self.call(Method::PUT, &["queues", &spec.name]).json(spec).read().await
    }

    /// A queue and how it stands.
    pub async fn queue(&self, name: &str) -> Result<Queue, ClientError> {
        self.call(Method::GET, &["queues", name]).read().await
    }

    /// Queues of the namespace, from after `after` on.
    pub async fn queues(&self, after: Option<&str>) -> Result<Page<Queue>, ClientError> {
        self.call(Method::GET, &["queues"]).query(&after.map(|after| [("after", after)])).read().await
    }

    /// The versions of a queue's definition that are kept, the newest first.
    pub async fn queue_versions(&self, name: &str) -> Result<Page<QueueVersion>, ClientError> {
        self.call(Method::GET, &["queues", name, "versions"]).read().await
    }

    /// Has a queue take tickets and make no matches.
    pub async fn pause_queue(&self, name: &str) -> Result<Queue, ClientError> {
        self.call(Method::POST, &["queues", name, "pause"]).read().await
    }

    /// Has a queue make its last matches and take no tickets.
    pub async fn drain_queue(&self, name: &str) -> Result<Queue, ClientError> {
        self.call(Method::POST, &["queues", name, "drain"]).read().await
    }

    /// Has a queue take tickets and make matches.
    pub async fn resume_queue(&self, name: &str) -> Result<Queue, ClientError> {
        self.call(Method::POST, &["queues", name, "resume"]).read().await
    }

    /// A queue's recording, from after `after` on.
    pub async fn recording(
        &self,
        name: &str,
        after: Option<&str>,
    ) -> Result<Page<RecordedTicket>, ClientError> {
        let query = [("limit", Some("1000")), ("after", after)];
        self.call(Method::GET, &["queues", name, "recording"]).query(&query).read().await
    }

    /// Clears a queue's recording.
    pub async fn clear_recording(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["queues", name, "recording"]).done().await
    }

    /// Deletes a queue; tickets in it fail.
    pub async fn delete_queue(&self, name: &str) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["queues", name]).done().await
    }
}
