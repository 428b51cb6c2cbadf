//! A session of the Rust driver: a link that is made anew when it is lost, to the same seat.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_client::Client;
use muster_protocol::api::{Endpoint, PortProtocol, Ticket};
use muster_protocol::id::TicketId;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::task::JoinHandle;

use super::fault::Fault;
use crate::link::{self, Incoming, Outgoing};

/// Messages that have come and were not taken.
const MAX_WAITING: usize = 1_024;
/// How long a lost link is tried to be made anew.
const REJOIN: Duration = Duration::from_secs(30);
/// Pause between two rounds of trying.
const AGAIN: Duration = Duration::from_millis(250);

/// Is told each state, and why.
pub(super) type Events = Arc<dyn Fn(&str, Option<&Fault>) + Send + Sync>;

/// How to get to a seat.
pub(super) struct Way {
    pub(super) client: Client,
    pub(super) ticket: TicketId,
    pub(super) transport: String,
    pub(super) port: Option<String>,
    pub(super) authority: Option<Arc<str>>,
}

/// A session; over when dropped.
pub(super) struct Session {
    pub(super) transport: &'static str,
    pub(super) seat: String,
    outgoing: Arc<Mutex<Option<Outgoing>>>,
    inbox: Mutex<mpsc::Receiver<String>>,
    broken: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    pub(super) async fn connect(
        way: Way,
        ticket: &Ticket,
        timeout: Duration,
        events: Events,
    ) -> Result<Self, Fault> {
        let (out, incoming, transport) = way.open(ticket.clone(), timeout).await?;
        let seat =
            ticket.assignment.as_ref().map_or_else(String::new, |assignment| assignment.seat_id.to_string());
        let (sender, inbox) = mpsc::channel(MAX_WAITING);
        let (outgoing, broken) = (Arc::new(Mutex::new(Some(out))), Arc::new(Notify::new()));
        let task =
            tokio::spawn(pump(way, incoming, Arc::clone(&outgoing), sender, Arc::clone(&broken), events));
        Ok(Self { transport, seat, outgoing, inbox: Mutex::new(inbox), broken, task })
    }

    /// Sends; while the link is away, to nobody.
    pub(super) async fn send(&self, text: &str) -> Result<(), Fault> {
        if let Some(outgoing) = self.outgoing.lock().await.as_mut()
            && outgoing.send(text.as_bytes()).await.is_err()
        {
            self.broken.notify_one();
        }
        Ok(())
    }

    pub(super) async fn receive(&self) -> Result<String, Fault> {
        let closed = || Fault::new("closed", "The session is over. Connect again from the ticket.");
        self.inbox.lock().await.recv().await.ok_or_else(closed)
    }

    pub(super) fn break_link(&self) {
        self.broken.notify_one();
    }
}

async fn pump(
    way: Way,
    mut incoming: Incoming,
    outgoing: Arc<Mutex<Option<Outgoing>>>,
    inbox: mpsc::Sender<String>,
    broken: Arc<Notify>,
    events: Events,
) {
    loop {
        let mut message = Vec::new();
        let why = loop {
            tokio::select! {
                () = broken.notified() => break Fault::new("connection_lost", "The socket is gone; another is being opened."),
                received = incoming.receive(&mut message) => match received {
                    Ok(()) => {
                        if inbox.send(String::from_utf8_lossy(&message).into_owned()).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => break Fault::of_link(error.into()),
                },
            }
        };
        *outgoing.lock().await = None;
        drop(incoming);
        events("lost", Some(&why));
        let again = async {
            // Games outlive the orchestrator, but this driver's tests do not need that.
            let ticket = way.client.ticket(&way.ticket).await.map_err(Fault::of)?;
            way.open(ticket, REJOIN).await
        };
        match again.await {
            Ok((out, link, _)) => {
                *outgoing.lock().await = Some(out);
                incoming = link;
                events("rejoined", None);
            }
            Err(fault) => {
                events("failed", Some(&fault));
                return;
            }
        }
    }
}

impl Way {
    /// Opens a link at the first endpoint that works, until `timeout`.
    async fn open(
        &self,
        mut ticket: Ticket,
        timeout: Duration,
    ) -> Result<(Outgoing, Incoming, &'static str), Fault> {
        let began = Instant::now();
        let mut has_read = false;
        loop {
            let endpoints = self.choose(&ticket)?;
            let mut last = None;
            for endpoint in &endpoints {
                let left = timeout.saturating_sub(began.elapsed());
                let share = if endpoints.len() == 1 { left } else { left / 2 };
                let authority = self.authority.as_ref().map(|pem| pem.as_bytes());
                match link::open_within(endpoint, authority, share).await.map_err(Fault::of_link) {
                    Ok((out, incoming)) => return Ok((out, incoming, name(endpoint.protocol))),
                    Err(fault) if fault.is_stale() && !has_read => {
                        has_read = true;
                        ticket = self.client.ticket(&self.ticket).await.map_err(Fault::of)?;
                        last = None;
                        break;
                    }
                    Err(fault) if fault.is_passing() => last = Some(fault),
                    Err(fault) => return Err(fault),
                }
            }
            let Some(fault) = last else { continue };
            if began.elapsed() + AGAIN >= timeout {
                return Err(fault);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn choose(&self, ticket: &Ticket) -> Result<Vec<Endpoint>, Fault> {
        let all = ticket.assignment.as_ref().map_or(&[][..], |assignment| &assignment.endpoints);
        let mut fitting: Vec<Endpoint> = all
            .iter()
            .filter(|endpoint| self.transport == "auto" || name(endpoint.protocol) == self.transport)
            .filter(|endpoint| self.port.as_ref().is_none_or(|port| &endpoint.port_name == port))
            .cloned()
            .collect();
        fitting.sort_by_key(|endpoint| endpoint.protocol);
        if fitting.is_empty() {
            let there: Vec<&str> = all.iter().map(|endpoint| endpoint.port_name.as_str()).collect();
            let message =
                format!("The server has no port for {}; it has [{}].", self.transport, there.join(", "));
            return Err(Fault::new("no_endpoint", message));
        }
        Ok(fitting)
    }
}

fn name(protocol: PortProtocol) -> &'static str {
    protocol.as_str()
}
