//! The SDK endpoint of Muster's agent: ready, health, seats. Plain HTTP from a thread of its own.
//!
//! A thread because the HTTP client blocks, and the game must not wait for an agent that restarts.
//! What has to be said is kept until it is said: an agent that was away hears it when it is back.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::config::SdkConfig;

/// Time between two health calls.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
/// Pause before something that could not be said is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a seat is told again that Muster's agent has not heard of: it may have been sold a moment ago, and who has it is
/// sometimes here before the news.
const MAX_UNHEARD: u32 = 20;
/// Most things waiting to be said; the oldest go, and the seats' next change puts them right.
const MAX_WAITING: usize = 4_096;

enum Fact {
    Ready,
    Seat { id: String, connected: bool },
}

impl Fact {
    fn path(&self) -> &'static str {
        match self {
            Self::Ready => "/v1/ready",
            Self::Seat { connected: true, .. } => "/v1/seats/connected",
            Self::Seat { connected: false, .. } => "/v1/seats/disconnected",
        }
    }
}

/// A handle for saying things to Muster; without an SDK endpoint they go nowhere.
#[derive(Clone)]
pub(crate) struct Sdk(Option<SyncSender<Fact>>);

impl Sdk {
    /// Starts the thread that talks, if there is whom to talk to.
    pub(crate) fn start(config: Option<SdkConfig>) -> Self {
        let Some(config) = config else {
            println!("sdk none");
            return Self(None);
        };
        println!("sdk url={}", config.url);
        let (sender, receiver) = sync_channel(MAX_WAITING);
        std::thread::spawn(move || talk(&config, &receiver));
        Self(Some(sender))
    }

    /// Players may come.
    pub(crate) fn ready(&self) {
        self.say(Fact::Ready);
    }

    /// The player of this seat has come or gone; players without a seat are not told of.
    pub(crate) fn seat(&self, seat: Option<&str>, connected: bool) {
        if let Some(id) = seat {
            self.say(Fact::Seat { id: id.to_owned(), connected });
        }
    }

    fn say(&self, fact: Fact) {
        if let Some(sender) = &self.0
            && sender.try_send(fact).is_err()
        {
            eprintln!("sdk too much is waiting to be said; a seat's change is lost");
        }
    }
}

fn talk(config: &SdkConfig, facts: &Receiver<Fact>) {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(CALL_TIMEOUT)).proxy(None).build().into();
    let mut waiting: VecDeque<(Fact, u32)> = VecDeque::new();
    let mut next_health = Instant::now() + HEALTH_EVERY;
    loop {
        let pause = if waiting.is_empty() {
            next_health.saturating_duration_since(Instant::now())
        } else {
            RETRY_AFTER
        };
        match facts.recv_timeout(pause) {
            Ok(fact) => waiting.push_back((fact, 0)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        waiting.extend(facts.try_iter().map(|fact| (fact, 0)));
        while waiting.len() > MAX_WAITING {
            waiting.pop_front();
        }
        let mut unheard = VecDeque::new();
        while let Some((fact, times)) = waiting.front() {
            match say(&agent, config, fact) {
                Ok(()) => {
                    waiting.pop_front();
                }
                Err(ureq::Error::StatusCode(409)) if *times < MAX_UNHEARD => {
                    unheard.extend(waiting.pop_front().map(|(fact, times)| (fact, times + 1)));
                }
                // The agent understood and does not want it: the same again would help no more.
                Err(ureq::Error::StatusCode(status)) if (400..500).contains(&status) => {
                    eprintln!("sdk {} refused status={status}", fact.path());
                    waiting.pop_front();
                }
                Err(error) => {
                    eprintln!("sdk {} failed, will be repeated: {error}", fact.path());
                    break;
                }
            }
        }
        waiting.append(&mut unheard);
        if Instant::now() >= next_health {
            next_health = Instant::now() + HEALTH_EVERY;
            if let Err(error) = call(&agent, config, "/v1/health").send_empty() {
                eprintln!("sdk health failed: {error}");
            }
        }
    }
}

fn say(agent: &ureq::Agent, config: &SdkConfig, fact: &Fact) -> Result<(), ureq::Error> {
    let request = call(agent, config, fact.path());
    match fact {
        Fact::Ready => request.send_empty().map(drop),
        Fact::Seat { id, .. } => request.send_json(serde_json::json!({ "seat": id })).map(drop),
    }
}

fn call(
    agent: &ureq::Agent,
    config: &SdkConfig,
    path: &str,
) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
    let url = format!("{}{path}", config.url);
    agent.post(url).header("authorization", format!("Bearer {}", config.token))
}
