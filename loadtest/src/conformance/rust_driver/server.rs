//! The server's side: what a game server says to its node's agent, and what it hears, as `docs/game-servers.md` has it. A Rust
//! game calls the agent's endpoint by itself (`examples/arena-server`); this is the same with every call there is.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use muster_protocol::problem::Problem;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::fault::Fault;

/// Time between two health calls.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// Pause before something that could not be said, or a connection that broke, is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// Longest time of one call that is said again if nobody answers.
const ONE_CALL: Duration = Duration::from_secs(2);
/// Largest event, in bytes.
const MAX_EVENT_BYTES: usize = 256 * 1024;
/// What an agent says of a seat that it has not heard of yet.
const UNHEARD: u16 = 409;
/// Prefix of the variables that name ports.
const PORT: &str = "MUSTER_PORT_";

/// Where the agent is.
#[derive(Clone)]
struct Agent {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A game server; says and hears nothing any more once dropped.
pub(super) struct GameServer {
    /// `None` outside of Muster.
    agent: Option<Agent>,
    described: Value,
    events: Option<JoinHandle<()>>,
    health: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Drop for GameServer {
    fn drop(&mut self) {
        let health = self.health.get_mut().ok().and_then(Option::take);
        for task in self.events.take().into_iter().chain(health) {
            task.abort();
        }
    }
}

impl GameServer {
    /// One whose environment is `variables`; what it hears goes to `tell`.
    pub(super) fn open(
        variables: &Value,
        tell: impl Fn(Value) + Send + Sync + 'static,
    ) -> Result<Self, Fault> {
        let variable = |name: &str| variables[name].as_str().filter(|value| !value.is_empty());
        let (Some(url), Some(token)) = (variable("MUSTER_SDK_URL"), variable("MUSTER_SERVER_TOKEN")) else {
            let described = json!({"under_muster": false});
            return Ok(Self { agent: None, described, events: None, health: std::sync::Mutex::default() });
        };
        // Without one a client cannot be made, TLS or not; one that is there already stays.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
        let http = http.map_err(|error| Fault::new("unsupported", error.to_string()))?;
        let agent = Agent { http, url: url.trim_end_matches('/').to_owned(), token: token.to_owned() };
        let text = |name: &str| variable(name).unwrap_or_default();
        let described = json!({"under_muster": true, "server_id": text("MUSTER_SERVER_ID"),
            "namespace": text("MUSTER_NAMESPACE"), "region": text("MUSTER_REGION"), "ports": ports(variables)});
        let events = tokio::spawn(listen(agent.clone(), tell));
        Ok(Self { agent: Some(agent), described, events: Some(events), health: std::sync::Mutex::default() })
    }

    /// What its environment says.
    pub(super) fn described(&self) -> Value {
        self.described.clone()
    }

    /// Does the call `name`, in time.
    pub(super) async fn call(&self, name: &str, request: &Value, timeout: Duration) -> Result<Value, Fault> {
        let agent = self.agent.as_ref().ok_or_else(not_under_muster)?;
        // The call's own deadline comes first, so that what is told is why and not only that it is late.
        let by = Instant::now() + timeout.mul_f32(0.9);
        match name {
            "ready" => {
                agent.say("/v1/ready", &json!({}), by).await?;
                self.begin_health(agent);
                Ok(json!({}))
            }
            "connected" | "disconnected" | "released" => {
                let proof = ["token", "seat"].into_iter().find(|proof| request[proof].is_string());
                let proof = proof.ok_or_else(|| Fault::new("invalid_argument", "Give a seat or a token."))?;
                agent.say(&format!("/v1/seats/{name}"), &json!({proof: request[proof]}), by).await
            }
            "read" => Ok(json!({"server": agent.once(Method::GET, "/v1/server", None, by).await?})),
            "backfill" if request["open"] == true => {
                let priority = json!({"priority": request["priority"].as_str().unwrap_or("normal")});
                agent.once(Method::POST, "/v1/backfill", Some(&priority), by).await.map(drop_answer)
            }
            "backfill" => agent.once(Method::DELETE, "/v1/backfill", None, by).await.map(drop_answer),
            "lobby" => {
                agent.once(Method::PUT, "/v1/lobby", Some(&request["change"]), by).await.map(drop_answer)
            }
            "shutdown" => {
                agent.once(Method::POST, "/v1/shutdown", Some(&json!({})), by).await.map(drop_answer)
            }
            _ => Err(Fault::new("unsupported", format!("This driver has no call \"server.{name}\"."))),
        }
    }

    /// From now on the agent is told that the server is well.
    fn begin_health(&self, agent: &Agent) {
        let agent = agent.clone();
        let task = tokio::spawn(async move {
            loop {
                // A failure is no news: the next one is due soon, and the agent waits for longer.
                let _ =
                    agent.once(Method::POST, "/v1/health", Some(&json!({})), Instant::now() + ONE_CALL).await;
                tokio::time::sleep(HEALTH_EVERY).await;
            }
        });
        let before = self.health.lock().map(|mut health| health.replace(task)).ok().flatten();
        if let Some(before) = before {
            before.abort();
        }
    }
}

impl Agent {
    /// Says it until the agent has heard it.
    async fn say(&self, path: &str, body: &Value, by: Instant) -> Result<Value, Fault> {
        loop {
            let one = by.min(Instant::now() + ONE_CALL);
            let fault = match self.once(Method::POST, path, Some(body), one).await {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let is_unheard = path.starts_with("/v1/seats/") && fault.status() == Some(UNHEARD);
            if !(fault.is_passing() || is_unheard) || Instant::now() + AGAIN >= by {
                return Err(fault);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        by: Instant,
    ) -> Result<Value, Fault> {
        let left = by.saturating_duration_since(Instant::now());
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(method, &url).bearer_auth(&self.token).timeout(left);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| unanswered(&url, &error))?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(|error| unanswered(&url, &error))?;
        if status.is_success() {
            return if bytes.is_empty() {
                Ok(json!({}))
            } else {
                serde_json::from_slice(&bytes).map_err(|_| Fault::bad_answer(&url, status.as_u16()))
            };
        }
        match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Err(Fault::of_problem(&problem)),
            Err(_) => Err(Fault::bad_answer(&url, status.as_u16())),
        }
    }
}

/// Hears the agent's events; a connection that broke is made anew.
async fn listen(agent: Agent, tell: impl Fn(Value)) {
    loop {
        let url = format!("{}/v1/events", agent.url.replacen("http", "ws", 1));
        if let Ok(mut request) = url.into_client_request()
            && let Ok(token) = format!("Bearer {}", agent.token).parse()
        {
            request.headers_mut().insert("authorization", token);
            let bounds = WebSocketConfig::default().max_message_size(Some(MAX_EVENT_BYTES));
            if let Ok((mut socket, _)) = connect_async_with_config(request, Some(bounds), true).await {
                while let Some(Ok(message)) = socket.next().await {
                    // What is no event is somebody's mistake, and no reason to hear nothing more.
                    if let Ok(text) = message.to_text()
                        && let Ok(event @ Value::Object(_)) = serde_json::from_str::<Value>(text)
                    {
                        tell(event);
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn ports(variables: &Value) -> Map<String, Value> {
    let variables = variables.as_object().into_iter().flatten();
    let ports = variables.filter_map(|(name, value)| {
        let port: u16 = value.as_str()?.parse().ok()?;
        Some((name.strip_prefix(PORT)?.to_lowercase().replace('_', "-"), json!(port)))
    });
    ports.collect()
}

fn drop_answer(_: Value) -> Value {
    json!({})
}

fn not_under_muster() -> Fault {
    Fault::new(
        "not_under_muster",
        "This process does not run under Muster: MUSTER_SDK_URL and MUSTER_SERVER_TOKEN are not set.",
    )
}

fn unanswered(url: &str, error: &reqwest::Error) -> Fault {
    let code = if error.is_timeout() {
        "timeout"
    } else if error.is_connect() {
        "unreachable"
    } else {
        "connection_lost"
    };
    Fault::new(code, format!("{url}: {error}. Is this node's agent there? It is asked again."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named_as_the_fleet_names_them() {
        let variables = json!({"MUSTER_PORT_GAME_UDP": "7777", "MUSTER_PORT_ODD": "x", "MUSTER_REGION": "1", "PORT": "1"});
        assert_eq!(Value::Object(ports(&variables)), json!({"game-udp": 7777}));
    }
}
