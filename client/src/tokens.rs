//! Namespaces, API tokens and join tokens.

use muster_protocol::api::{ApiToken, ApiTokenRequest, JoinToken, JoinTokenRequest, Namespace, Page};
use muster_protocol::id::ApiTokenId;
use reqwest::Method;

use crate::{Client, ClientError};

impl Client {
    /// Makes an API token; the answer is the only one that holds its text.
    pub async fn create_token(&self, request: &ApiTokenRequest) -> Result<ApiToken, ClientError> {
        self.call(Method::POST, &["tokens"]).json(request).read().await
    }

    /// API tokens, from after `after` on, without their texts.
    pub async fn tokens(&self, after: Option<&str>) -> Result<Page<ApiToken>, ClientError> {
        self.call(Method::GET, &["tokens"]).query(&after.map(|after| [("after", after)])).read().await
    }

    /// Revokes an API token.
    pub async fn delete_token(&self, id: &ApiTokenId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["tokens", &id.to_string()]).done().await
    }

    /// Makes a one-time token with which an agent or an edge joins.
    pub async fn create_join_token(&self, request: &JoinTokenRequest) -> Result<JoinToken, ClientError> {
        self.call(Method::POST, &["join-tokens"]).json(request).read().await
    }

    /// Makes the namespace `game/environment`, if it is not there.
    pub async fn create_namespace(&self, game: &str, environment: &str) -> Result<Namespace, ClientError> {
        self.call(Method::PUT, &["namespaces", game, environment]).read().await
    }

    /// Namespaces, from after `after` on.
    pub async fn namespaces(&self, after: Option<&str>) -> Result<Page<Namespace>, ClientError> {
        self.call(Method::GET, &["namespaces"]).query(&after.map(|after| [("after", after)])).read().await
    }
}
