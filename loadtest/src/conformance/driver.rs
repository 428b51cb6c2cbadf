//! The driver: a child process that hosts an SDK, told what to call and listened to, line by line.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Notify, oneshot};

/// Version of the protocol.
pub const PROTOCOL: u64 = 1;
/// Longest line, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Most events that are kept.
const MAX_EVENTS: usize = 10_000;
/// What an answer may take beyond the call's own deadline.
const GRACE: Duration = Duration::from_secs(2);
/// What starting an engine may take.
const START: Duration = Duration::from_mins(1);
/// What ending may take.
const END: Duration = Duration::from_secs(5);
/// Shortest message that can say what happened and what to do, in characters.
const MIN_MESSAGE_CHARS: usize = 20;

/// What the SDK says to a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It did it.
    Ok(Value),
    /// It could not.
    Error {
        /// Stable code.
        code: String,
        /// For the developer.
        message: String,
        /// Seconds, if it says so.
        retry_after_s: Option<u64>,
    },
}

#[derive(Default)]
struct Heard {
    pending: HashMap<u64, oneshot::Sender<Outcome>>,
    events: Vec<Value>,
    fault: Option<String>,
}

/// A running driver; killed when dropped.
pub struct Driver {
    child: tokio::sync::Mutex<Child>,
    stdin: tokio::sync::Mutex<Option<ChildStdin>>,
    heard: Arc<Mutex<Heard>>,
    news: Arc<Notify>,
    next: AtomicU64,
    features: Vec<String>,
    name: String,
}

impl Driver {
    /// Starts `command`, a line as for a shell, and asks who it is.
    ///
    /// # Errors
    /// If it does not start, or says `hello` wrongly.
    pub async fn start(command: &str) -> anyhow::Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("cannot run a shell")?;
        let stdin = child.stdin.take().context("the driver has no stdin")?;
        let stdout = child.stdout.take().context("the driver has no stdout")?;
        let (heard, news) = (Arc::new(Mutex::new(Heard::default())), Arc::new(Notify::new()));
        tokio::spawn(listen(BufReader::new(stdout), Arc::clone(&heard), Arc::clone(&news)));
        let mut driver = Self {
            child: tokio::sync::Mutex::new(child),
            stdin: tokio::sync::Mutex::new(Some(stdin)),
            heard,
            news,
            next: AtomicU64::new(1),
            features: Vec::new(),
            name: String::new(),
        };
        let hello = driver.ok("hello", START, json!({})).await.context("the driver does not say hello")?;
        let protocol = hello["protocol"].as_u64();
        ensure!(
            protocol == Some(PROTOCOL),
            "the driver speaks protocol {protocol:?}, and this tool {PROTOCOL}"
        );
        let features = hello["features"].as_array().context("hello has no features")?;
        driver.features = features.iter().filter_map(|feature| feature.as_str().map(str::to_owned)).collect();
        driver.name = format!(
            "{} {}",
            hello["sdk"].as_str().unwrap_or("an SDK"),
            hello["version"].as_str().unwrap_or("")
        );
        Ok(driver)
    }

    /// The SDK's name and version.
    pub fn name(&self) -> &str {
        self.name.trim()
    }

    /// Whether the SDK has `feature`.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|have| have == feature)
    }

    /// Calls, and waits for what comes of it.
    ///
    /// # Errors
    /// If the SDK hangs, or what it says is not of the protocol.
    pub async fn call(&self, call: &str, timeout: Duration, fields: Value) -> anyhow::Result<Outcome> {
        self.begin(call, timeout, fields).await?.await
    }

    /// Calls; the future ends with what comes of it.
    ///
    /// # Errors
    /// If the driver is gone.
    pub async fn begin(
        &self,
        call: &str,
        timeout: Duration,
        fields: Value,
    ) -> anyhow::Result<impl Future<Output = anyhow::Result<Outcome>> + use<>> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        lock(&self.heard).pending.insert(id, sender);
        let mut request = json!({"id": id, "call": call, "timeout_ms": timeout.as_millis() as u64});
        if let (Some(request), Value::Object(fields)) = (request.as_object_mut(), fields) {
            request.extend(fields);
        }
        let line = format!("{request}\n");
        let mut stdin = self.stdin.lock().await;
        let gone = || anyhow!("the driver is gone");
        stdin.as_mut().ok_or_else(gone)?.write_all(line.as_bytes()).await.map_err(|_| gone())?;
        let (call, heard) = (call.to_owned(), Arc::clone(&self.heard));
        Ok(async move {
            let answer = tokio::time::timeout(timeout + GRACE, receiver).await;
            match answer {
                Ok(Ok(outcome)) => Ok(outcome),
                Ok(Err(_)) => {
                    let fault = lock(&heard).fault.clone().unwrap_or_else(|| "it has ended".to_owned());
                    bail!("{call} was not answered: {fault}")
                }
                Err(_) => bail!("{call} hangs: no answer {} ms after its deadline", GRACE.as_millis()),
            }
        })
    }

    /// Calls, and wants it done.
    ///
    /// # Errors
    /// As [`Driver::call`], and if the SDK could not.
    pub async fn ok(&self, call: &str, timeout: Duration, fields: Value) -> anyhow::Result<Value> {
        expect_ok(self.call(call, timeout, fields).await?).with_context(|| call.to_owned())
    }

    /// Calls, and wants it to fail with `code` and a text that helps.
    ///
    /// # Errors
    /// As [`Driver::call`], and if anything else comes of it.
    pub async fn fails(
        &self,
        code: &str,
        call: &str,
        timeout: Duration,
        fields: Value,
    ) -> anyhow::Result<Outcome> {
        let outcome = self.call(call, timeout, fields).await?;
        expect_error(&outcome, &[code]).with_context(|| call.to_owned())?;
        Ok(outcome)
    }

    /// How many events there are so far: where to look for later ones.
    pub fn mark(&self) -> usize {
        lock(&self.heard).events.len()
    }

    /// The first event after `mark` that `fits`.
    ///
    /// # Errors
    /// If none comes in time.
    pub async fn event(
        &self,
        mark: usize,
        what: &str,
        deadline: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let looking = async {
            loop {
                let news = self.news.notified();
                if let Some(event) = lock(&self.heard).events.iter().skip(mark).find(|event| fits(event)) {
                    return event.clone();
                }
                news.await;
            }
        };
        tokio::time::timeout(deadline, looking).await.map_err(|_| {
            let seen: Vec<String> =
                lock(&self.heard).events.iter().skip(mark).map(Value::to_string).collect();
            anyhow!("no event told that {what}; there were [{}]", seen.join(", "))
        })
    }

    /// Says `quit`, and wants the driver to end by itself.
    ///
    /// # Errors
    /// If it does not, or with another exit code than 0.
    pub async fn quit(&self) -> anyhow::Result<()> {
        self.ok("quit", END, json!({})).await?;
        self.stdin.lock().await.take();
        let mut child = self.child.lock().await;
        let status = tokio::time::timeout(END, child.wait())
            .await
            .map_err(|_| anyhow!("the driver runs on after quit"))??;
        ensure!(status.success(), "the driver ended with {status} after quit");
        Ok(())
    }
}

/// What `outcome` brought.
///
/// # Errors
/// If it is one.
pub fn expect_ok(outcome: Outcome) -> anyhow::Result<Value> {
    match outcome {
        Outcome::Ok(value) => Ok(value),
        Outcome::Error { code, message, .. } => bail!("it failed with {code}: {message}"),
    }
}

/// An error if `outcome` is none of the errors `codes`, or says too little.
///
/// # Errors
/// As said.
pub fn expect_error(outcome: &Outcome, codes: &[&str]) -> anyhow::Result<()> {
    match outcome {
        Outcome::Ok(value) => bail!("expected {}, and it succeeded with {value}", codes.join(" or ")),
        Outcome::Error { code, message, .. } => {
            ensure!(
                codes.contains(&code.as_str()),
                "expected {}, and it failed with {code}: {message}",
                codes.join(" or ")
            );
            ensure!(
                message.chars().count() >= MIN_MESSAGE_CHARS,
                "{code} comes with the text {message:?}, which does not say what happened and what to do"
            );
            Ok(())
        }
    }
}

async fn listen(
    mut stdout: impl tokio::io::AsyncBufRead + Unpin,
    heard: Arc<Mutex<Heard>>,
    news: Arc<Notify>,
) {
    let mut line = Vec::new();
    let fault = loop {
        line.clear();
        match stdout.read_until(b'\n', &mut line).await {
            Ok(0) => break "the driver has ended".to_owned(),
            Ok(_) if line.len() > MAX_LINE_BYTES => {
                break format!("a line is longer than {MAX_LINE_BYTES} bytes");
            }
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim();
        if !text.starts_with('{') {
            if !text.is_empty() {
                eprintln!("    driver: {text}");
            }
            continue;
        }
        let Ok(value) = serde_json::from_str::<Value>(text) else { break format!("not JSON: {text}") };
        let mut heard = lock(&heard);
        if value.get("event").is_some() {
            if heard.events.len() == MAX_EVENTS {
                break format!("more than {MAX_EVENTS} events");
            }
            heard.events.push(value);
            news.notify_waiters();
            continue;
        }
        let Some(sender) = value["id"].as_u64().and_then(|id| heard.pending.remove(&id)) else {
            break format!("an answer to nothing: {value}");
        };
        // Whoever asked may have given up.
        let _ = sender.send(outcome(&value));
    };
    let mut heard = lock(&heard);
    heard.fault = Some(fault);
    heard.pending.clear();
}

fn outcome(answer: &Value) -> Outcome {
    match answer.get("error") {
        None => Outcome::Ok(answer["ok"].clone()),
        Some(error) => Outcome::Error {
            code: error["code"].as_str().unwrap_or("").to_owned(),
            message: error["message"].as_str().unwrap_or("").to_owned(),
            retry_after_s: error["retry_after_s"].as_u64(),
        },
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str =
        r#"read line; echo banner; echo '{"id":1,"ok":{"sdk":"x","protocol":1,"features":["udp"]}}'; "#;

    #[tokio::test]
    async fn a_driver_is_heard_and_one_that_ends_is_told() {
        let script = format!("sh -c '{}'", HELLO.replace('\'', "'\\''"));
        let driver = Driver::start(&script).await.expect("says hello");
        assert!(driver.has("udp") && !driver.has("ws"));
        let error =
            driver.call("regions", Duration::from_secs(1), json!({})).await.expect_err("it has ended");
        assert!(error.to_string().contains("ended") || error.to_string().contains("gone"), "{error}");
    }

    #[test]
    fn an_error_without_a_text_is_no_error_that_helps() {
        let error = |message: &str| Outcome::Error {
            code: "timeout".into(),
            message: message.into(),
            retry_after_s: None,
        };
        expect_error(&error("Nobody answered in time. Check the URL."), &["timeout"]).expect("it helps");
        expect_error(&error("timeout"), &["timeout"]).expect_err("it says too little");
        expect_error(&error("Nobody answered in time."), &["unreachable"]).expect_err("another code");
        expect_error(&Outcome::Ok(json!({})), &["timeout"]).expect_err("no error");
    }
}
