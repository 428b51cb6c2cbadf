//! `GET /v1/events`: a WebSocket that tells a server what becomes of it. Its state comes first, then
//! each change; a change that came and went while nobody listened is in the state.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::auth::Caller;
use super::problem::SdkProblem;
use super::{MAX_BODY_BYTES, SdkState};
use crate::reconcile::{AllocationView, SdkCall, ServerView};

/// Pause between pings, which keep a quiet connection from being taken for a dead one.
const PING_EVERY: Duration = Duration::from_secs(20);

/// One event, as JSON with its `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    /// How the server is; the first event of every connection.
    State(ServerView),
    /// A match has claimed the server, or its seats have changed.
    Allocated(AllocationView),
    /// The server is to finish.
    Draining {
        /// When it is stopped although players may be on it, Unix milliseconds; absent: no such time.
        #[serde(skip_serializing_if = "Option::is_none")]
        deadline_ms: Option<u64>,
    },
}

/// `GET /v1/events`.
pub(super) async fn events(
    State(state): State<SdkState>,
    caller: Caller,
    upgrade: WebSocketUpgrade,
) -> Result<Response, SdkProblem> {
    caller.say(&state, SdkCall::Used).await?;
    Ok(upgrade.max_message_size(MAX_BODY_BYTES).on_upgrade(|socket| tell(socket, caller.view)))
}

async fn tell(mut socket: WebSocket, mut view: watch::Receiver<ServerView>) {
    let mut pings = interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.reset();
    let mut last = view.borrow_and_update().clone();
    let mut due = vec![Event::State(last.clone())];
    loop {
        for event in due.drain(..) {
            let Ok(text) = serde_json::to_string(&event) else { return };
            if socket.send(Message::Text(text.into())).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = view.changed() => {
                if changed.is_err() {
                    return;
                }
                let now = view.borrow_and_update().clone();
                due = changes(&last, &now);
                last = now;
            }
            received = socket.recv() => match received {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                // Nothing is asked by this way.
                Some(Ok(_)) => {}
            },
            _ = pings.tick() => {
                if socket.send(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn changes(old: &ServerView, new: &ServerView) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(allocation) = &new.allocation
        && old.allocation != new.allocation
    {
        events.push(Event::Allocated(allocation.clone()));
    }
    if new.draining && (!old.draining || old.drain_deadline_ms != new.drain_deadline_ms) {
        events.push(Event::Draining { deadline_ms: new.drain_deadline_ms });
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told_and_in_the_documented_form() {
        let warm = ServerView { state: "ready", ..ServerView::default() };
        let allocation = AllocationView { match_id: "match_1".into(), ..AllocationView::default() };
        let claimed = ServerView { allocation: Some(allocation.clone()), ..warm.clone() };
        let draining = ServerView { draining: true, drain_deadline_ms: Some(7), ..claimed.clone() };
        assert_eq!(changes(&warm, &warm), []);
        assert_eq!(changes(&warm, &claimed), [Event::Allocated(allocation)]);
        let told = changes(&claimed, &draining);
        let json = serde_json::to_value(&told[0]).expect("plain data");
        assert_eq!(json, serde_json::json!({"type": "draining", "deadline_ms": 7}));
        let state = serde_json::to_value(Event::State(warm)).expect("plain data");
        assert_eq!((&state["type"], &state["state"]), (&"state".into(), &"ready".into()));
    }
}
