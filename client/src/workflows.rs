//! Workflows: list, show, and what an operator can do to them.

use muster_protocol::api::{Page, Workflow, WorkflowAction, WorkflowDetail, WorkflowStatus};
use reqwest::Method;
use serde::Serialize;

use crate::{Client, ClientError};

/// Which workflows to list; what is left out does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WorkflowFilter {
    /// Of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// That stand so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<WorkflowStatus>,
    /// From after this one on: the previous page's `next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Client {
    /// Workflows of the namespace.
    pub async fn workflows(&self, filter: &WorkflowFilter) -> Result<Page<Workflow>, ClientError> {
        self.call(Method::GET, &["workflows"]).query(filter).read().await
    }

    /// A workflow and what it did.
    pub async fn workflow(&self, kind: &str, key: &str) -> Result<WorkflowDetail, ClientError> {
        self.call(Method::GET, &["workflows", kind, key]).read().await
    }

    /// Does `action` to a workflow. It takes effect soon after.
    pub async fn act_on_workflow(
        &self,
        kind: &str,
        key: &str,
        action: WorkflowAction,
    ) -> Result<(), ClientError> {
        self.call(Method::POST, &["workflows", kind, key, action.as_str()]).done().await
    }
}
